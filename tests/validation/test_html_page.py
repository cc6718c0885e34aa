"""Every page has the same head, escapes what it shows and needs no network."""

import re

from pipeline.validation.html_page import STYLE, page_environment, render_page


def test_the_page_escapes_title_and_lead():
    page = render_page(title="<b>", lead="1 < 2", body="<table></table>", style="p { margin: 0 }")
    assert "<title>&lt;b&gt;</title>" in page
    assert "<p>1 &lt; 2</p>\n<table></table>" in page
    assert f"{STYLE}p {{ margin: 0 }}</style>" in page
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import|https?:", page)


def test_a_page_may_link_to_its_index():
    page = render_page(title="rows", lead="", body="", parent="Data Docs")
    assert '<a href="index.html">Data Docs</a>' in page


def test_a_template_escapes_values():
    template = page_environment().from_string("{{ text }}")
    assert template.render(text="<i>") == "&lt;i&gt;"
