"""An alarm is a sure effect that matters; both reports say which, and the page is safe to open."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.reports import Figure, write_report
from pipeline.monitoring import html_report
from pipeline.monitoring.checks import Check, holm, judge, verdict, write_json


def check(name="label_share", p_value=0.5, **changes):
    values = {
        "measure": "difference of shares",
        "effect": 0.117,
        "low": 0.08,
        "high": 0.1534567891,
        "sentence": "spam in 24.1% of the messages against 12.4%",
        "n": 4533,
    }
    return Check(name, p_value=p_value, **(values | changes))


JUDGED = judge([check(p_value=1.234e-9), check("length", 0.4, low=None, high=None)], 0.01)


def page(tmp_path, checks=JUDGED, **parts):
    parts = {"title": "Drift", "lead": "One alarm.", "tables": {}} | parts
    html_report.write_html(
        tmp_path / "page.html", parts["title"], parts["lead"], checks, parts["tables"]
    )
    return (tmp_path / "page.html").read_text(encoding="utf-8")


def cells(html):
    found = re.findall(r"<td>(.*?)</td>", html, re.DOTALL)
    return [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in found]


# ---- judging


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.04, 0.04], [0.08, 0.08]),
        ([0.9, 0.5, 0.001], [1, 1, 0.003]),
        ([0.2], [0.2]),
        ([], []),
    ],
)
def test_holm_corrects_the_smallest_most_and_never_reorders(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
@settings(derandomize=True, deadline=None)
def test_holm_alarms_where_bonferroni_does_and_where_no_correction_would_not_never(p_values):
    for p_value, corrected in zip(p_values, holm(p_values), strict=True):
        assert p_value <= corrected <= min(1, p_value * len(p_values))


def test_an_alarm_is_sure_among_all_checks_and_matters():
    judged = judge(
        [check("sure", 0.004), check("sure alone", 0.009), check("too small", 1e-9, matters=False)],
        0.01,
    )
    assert [(one.name, one.alarm) for one in judged] == [
        ("sure", True),
        ("sure alone", True),
        ("too small", False),
    ]
    judged = judge([check("first", 0.004), check("second", 0.006), check("third", 0.5)], 0.01)
    assert [one.alarm for one in judged] == [False, False, False]
    assert [one.corrected for one in judged] == pytest.approx([0.012, 0.012, 0.5])


def test_judging_changes_nothing_else():
    [judged] = judge([check(p_value=0.2)], 0.01)
    assert (judged.p_value, judged.corrected, judged.alarm) == (0.2, 0.2, False)
    assert (judged.effect, judged.sentence, judged.n) == (check().effect, check().sentence, 4533)


def test_the_verdict_names_each_alarm_with_what_it_found():
    assert (
        verdict(JUDGED)
        == "alarm: label_share (p 2e-09): spam in 24.1% of the messages against 12.4%"
    )
    assert verdict(judge([check(), check()], 0.01)) == "no alarm from 2 checks"


# ---- the report for programs


def test_the_json_has_the_schema_of_every_report_and_the_alarms(tmp_path):
    write_json(tmp_path / "found.json", 500, JUDGED)
    assert json.loads((tmp_path / "found.json").read_text()) == {
        "rows": 500,
        "figures": {
            "label_share": {"value": 0.117, "low": 0.08, "high": 0.153457, "n": 4533},
            "length": {"value": 0.117, "n": 4533},
        },
        "verdict": verdict(JUDGED),
        "alarm": True,
        "alarms": {"label_share": 2.5e-09},
    }


def test_the_figures_are_those_that_a_stage_would_write(tmp_path):
    write_json(tmp_path / "ours.json", 500, JUDGED)
    figures = {one.name: Figure(one.effect, one.low, one.high, one.n) for one in JUDGED}
    write_report(tmp_path / "stage.json", 500, figures, verdict(JUDGED))
    ours, theirs = (
        json.loads((tmp_path / f"{name}.json").read_text()) for name in ("ours", "stage")
    )
    assert {key: ours[key] for key in theirs} == theirs


def test_without_an_alarm_the_json_says_so(tmp_path):
    write_json(tmp_path / "found.json", 500, judge([check()], 0.01))
    report = json.loads((tmp_path / "found.json").read_text())
    assert (report["alarm"], report["alarms"]) == (False, {})


# ---- the report for a person


def test_the_page_shows_each_check_with_its_effect_interval_and_p(tmp_path):
    assert cells(page(tmp_path)) == [
        *("✗", "label_share", "spam in 24.1% of the messages against 12.4%"),
        *("0.117 (0.08 to 0.153) difference of shares", "2.47e-09"),
        *("✓", "length", "spam in 24.1% of the messages against 12.4%"),
        *("0.117 difference of shares", "0.4"),
    ]


def test_the_page_says_which_effect_is_too_small_to_matter(tmp_path):
    judged = judge([check(p_value=1e-9, matters=False)], 0.01)
    assert "difference of shares, too small to matter" in page(tmp_path, judged)


def test_the_page_shows_tables_under_their_headings(tmp_path):
    tables = {"Words": (("word", "messages", "share", "p"), [("prize", 1234, 0.12345, None)])}
    html = page(tmp_path, [], tables=tables)
    assert "<h2>Words</h2>" in html
    assert re.findall("<th>(.*?)</th>", html)[-4:] == ["word", "messages", "share", "p"]
    assert cells(html) == ["prize", "1,234", "0.123", ""]


def test_whatever_a_message_holds_is_text_on_the_page(tmp_path):
    bad = "<script>alert(1)</script>&\"'"
    judged = judge([check(name=bad, measure=bad, sentence=bad)], 0.01)
    html = page(tmp_path, judged, title=bad, lead=bad, tables={bad: ((bad,), [(bad,)])})
    assert "<script" not in html
    assert html.count("&lt;script&gt;alert(1)&lt;/script&gt;&amp;&#34;&#39;") == 9


def test_the_page_needs_no_network_and_no_script(tmp_path):
    html = page(tmp_path)
    assert not re.search(r"<script|<link|<img|src=|href=|url\(|@import|https?:", html)


def test_equal_findings_are_equal_bytes(tmp_path):
    assert page(tmp_path) == page(tmp_path)
