"""The HTML page that Data Docs and the monitoring reports share.

A page needs no network and runs no script.
"""

import jinja2

STYLE = """
:root {
  color-scheme: light dark;
  --page: #fff; --text: #1f2933; --muted: #5a6773; --line: #dde3e9; --soft: #f4f6f8;
  --link: #0b5cad; --good: #1a7f37; --bad: #b42318; --warn: #8a5d00; --alarm: #fdf1f0;
  --ours: #0b5cad; --theirs: #a84c00;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #14181d; --text: #e3e8ed; --muted: #a3afba; --line: #37414b; --soft: #20262d;
    --link: #7ab8f5; --good: #6cc987; --bad: #ff9b8f; --warn: #e3b341; --alarm: #35211f;
    --ours: #7ab8f5; --theirs: #f0a35e;
  }
}
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem max(1rem, 50% - 31rem) }
body { color: var(--text); background: var(--page); overflow-wrap: break-word }
h1 { font-size: 1.6rem; margin: .2rem 0 }
h2 { font-size: 1.15rem; margin: 1.6rem 0 .3rem }
a { color: var(--link) }
:focus-visible { outline: 2px solid var(--link); outline-offset: 2px }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; vertical-align: top; padding: .45rem .7rem }
th, td { border-bottom: 1px solid var(--line) }
th { font-size: .8rem; color: var(--muted); font-weight: 600 }
td:last-child { overflow-wrap: anywhere }
pre { overflow-x: auto }
img, svg { max-width: 100%; height: auto }
i { font-style: normal; font-weight: 700 }
.badge { color: #1f2933 }
.muted { color: var(--muted) }
.text-success { color: var(--good) }
.text-danger { color: var(--bad) }
.text-warning { color: var(--warn) }
tr:has(.text-danger, .text-warning) { background: var(--alarm) }
.scroll { overflow-x: auto }
@media (max-width: 40rem) {
  body { margin: 1rem }
  th, td { padding: .35rem .3rem }
  table:not(.scroll *) { display: block; overflow-x: auto }
  .scroll table { min-width: 30rem }
}
@media print {
  body { margin: 0; font-size: 10pt }
  tr, figure, svg { break-inside: avoid }
  h2 { break-after: avoid }
  .scroll { overflow: visible }
}
"""  # .badge is Great Expectations' own, on a light ground in either scheme
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
