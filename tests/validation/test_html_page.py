"""Every page has the same head and escapes what it shows."""

from pipeline.validation.html_page import STYLE, page_environment, render_page


def test_the_page_escapes_title_and_lead():
    page = render_page("<b>", "1 < 2", body="<table></table>", style="p { margin: 0 }", parent="Up")
    assert "<title>&lt;b&gt;</title>" in page
    assert "<p>1 &lt; 2</p>\n<table></table>" in page
    assert f"{STYLE}p {{ margin: 0 }}</style>" in page
    assert '<a href="index.html">Up</a>' in page
    assert page_environment().from_string("{{ text }}").render(text="<i>") == "&lt;i&gt;"
