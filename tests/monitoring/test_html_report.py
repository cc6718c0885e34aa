"""The page shows checks and tables, and is safe to open."""

import re

from pipeline.monitoring.checks import Check, decide_alarms
from pipeline.monitoring.html_report import write_html_report


def check(name, p_value, **changes):
    values = {"low": 0.08, "high": 0.1534567891, "sentence": "spam in 24.1%"} | changes
    return Check(name=name, measure="difference", effect=0.117, p_value=p_value, **values)


def page(tmp_path, checks, title="Drift", lead="One alarm.", tables=None):
    path = tmp_path / "page.html"
    write_html_report(path, title, lead, decide_alarms(checks, 0.01), tables or {})
    return path.read_text(encoding="utf-8")


def cells(html):
    found = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in found]


def test_the_page_shows_each_check(tmp_path):
    shown = [check("label_share", 1.234e-9), check("length", 0.4, low=None, high=None)]
    assert cells(page(tmp_path, [*shown, check("script", 1e-9, matters=False)])) == [
        *("✗", "label_share", "spam in 24.1%", "0.117 (0.08 to 0.153) difference", "3e-09"),
        *("✓", "length", "spam in 24.1%", "0.117 difference", "0.4"),
        *("✓", "script", "spam in 24.1%"),
        *("0.117 (0.08 to 0.153) difference, too small to matter", "3e-09"),
    ]


def test_the_page_shows_tables_below_their_headings(tmp_path):
    tables = {"Words": (("word", "messages", "share", "p"), [("prize", 1234, 0.12345, None)])}
    html = page(tmp_path, [], tables=tables)
    assert "<h2>Words</h2>" in html
    assert re.findall("<th>(.*?)</th>", html)[-4:] == ["word", "messages", "share", "p"]
    assert cells(html) == ["prize", "1,234", "0.123", ""]


def test_messages_are_escaped_and_the_page_needs_no_network(tmp_path):
    bad = "<script>alert(1)</script>&\"'"
    checks = [Check(bad, bad, 0.1, None, None, 0.5, bad)]
    html = page(tmp_path, checks, title=bad, lead=bad, tables={bad: ((bad,), [(bad,)])})
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;") == 9
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import|https?:", html)
