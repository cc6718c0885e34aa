"""The HTML page that Data Docs and the monitoring reports share.

A page needs no network and runs no script.
"""

import jinja2

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1f2933; margin: 2rem max(1rem, 50% - 31rem) }
h1 { font-size: 1.6rem; margin: .2rem 0 }
h2 { font-size: 1.15rem; margin: 1.6rem 0 .3rem }
a { color: #0b5cad }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem }
th, td { border-bottom: 1px solid #dde3e9 }
th { font-size: .8rem; color: #5a6773; font-weight: 600 }
td:last-child { overflow-wrap: anywhere }
i { font-style: normal; font-weight: 700 }
.text-success { color: #1a7f37 }
.text-danger { color: #b42318 }
.text-warning { color: #9a6700 }
tr:has(.text-danger, .text-warning) { background: #fdf1f0 }
"""
PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>{{ style|safe }}</style>
</head>
<body>
{% if parent %}
<a href="index.html">{{ parent }}</a>
{% endif %}
<h1>{{ title }}</h1>
<p>{{ lead }}</p>
{{ body|safe }}
</body>
</html>
"""


def page_environment() -> jinja2.Environment:
    """Settings for every template of a page: values are escaped, missing ones are errors."""
    return jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )


def render_page(title: str, lead: str, body: str, style: str = "", parent: str = "") -> str:
    """A whole page.

    Args:
        lead: the paragraph below the title.
        body: HTML, from a template that escapes what it shows.
        style: CSS beside STYLE.
        parent: text of a link to index.html.
    """
    template = page_environment().from_string(PAGE)
    return template.render(title=title, lead=lead, body=body, style=STYLE + style, parent=parent)
