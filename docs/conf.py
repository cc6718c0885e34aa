"""Sphinx settings: `make docs` builds docs/_build/html."""

project = "Spam detector"
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
exclude_patterns = ["_build"]
nitpicky = True  # a broken reference is a warning, and `make docs` turns warnings into errors
myst_heading_anchors = 3  # depth to which headings can be linked
suppress_warnings = ["myst.header"]
