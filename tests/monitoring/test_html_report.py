"""The page shows checks and tables, and is safe to open."""

import re

from pipeline.monitoring.checks import Check, decide_alarms
from pipeline.monitoring.html_report import write_html_report


def page(tmp_path, checks, tables, title="Drift", lead="One alarm."):
    path = tmp_path / "page.html"
    write_html_report(path, title, lead, decide_alarms(checks, 0.01), tables)
    return path.read_text(encoding="utf-8")


def cells(html):
    found = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in found]


def test_the_page_shows_each_check_and_below_them_tables(tmp_path):
    checks = [
        Check("label_share", "difference", 0.117, 0.08, 0.1534567891, 1.234e-9, "spam in 24.1%"),
        Check("length", "distance", 0.117, None, None, 0.4, "longer"),
        Check("script", "difference", 0.001, 0.0008, 0.0012, 1e-9, "cyrillic", matters=False),
    ]
    tables = {"Words": (("word", "messages", "share", "p"), [("prize", 1234, 0.12345, None)])}
    html = page(tmp_path, checks, tables)
    assert cells(html) == [
        *("✗", "label_share", "spam in 24.1%", "0.117 (0.08 to 0.153) difference", "3e-09"),
        *("✓", "length", "longer", "0.117 distance", "0.4"),
        *("✓", "script", "cyrillic"),
        *("0.001 (0.0008 to 0.0012) difference, too small to matter", "3e-09"),
        *("prize", "1,234", "0.123", ""),
    ]
    assert "<h2>Words</h2>" in html
    assert re.findall("<th>(.*?)</th>", html)[-4:] == ["word", "messages", "share", "p"]


def test_messages_are_escaped_and_the_page_needs_no_network(tmp_path):
    bad = "<script>alert(1)</script>&\"'"
    checks = [Check(bad, bad, 0.1, None, None, 0.5, bad)]
    html = page(tmp_path, checks, {bad: ((bad,), [(bad,)])}, title=bad, lead=bad)
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;") == 10
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import|https?:", html)
