"""An alarm is a significant effect that matters, and the report says which checks raise one."""

import pytest

from pipeline.monitoring.checks import Check, alarm_report, alarm_verdict, decide_alarms, holm


def check(name="label_share", p_value=0.5, **changes):
    values = {
        "measure": "difference of shares",
        "effect": 0.117,
        "low": 0.08,
        "high": 0.1534567891,
        "sentence": "spam in 24.1% of the messages against 12.4%",
        "n": 4533,
    }
    return Check(name=name, p_value=p_value, **(values | changes))


CHECKED = decide_alarms([check(p_value=1.234e-9), check("length", 0.4, low=None, high=None)], 0.01)


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
def test_holm_corrects_the_smallest_p_value_most(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


def test_an_alarm_is_significant_among_all_checks_and_matters():
    too_small = check("too small", 1e-9, matters=False)
    checks = decide_alarms([check("first", 0.004), check("second", 0.009), too_small], 0.01)
    assert [one.alarm for one in checks] == [True, True, False]
    checks = decide_alarms([check("first", 0.004), check("second", 0.006), check("third")], 0.01)
    assert [one.alarm for one in checks] == [False, False, False]
    assert [one.corrected for one in checks] == pytest.approx([0.012, 0.012, 0.5])
    assert [one.p_value for one in checks] == [0.004, 0.006, 0.5]


def test_the_verdict_names_each_alarm():
    sentence = "spam in 24.1% of the messages against 12.4%"
    assert alarm_verdict(CHECKED) == f"alarm: label_share (p 2e-09): {sentence}"
    assert alarm_verdict(decide_alarms([check(), check()], 0.01)) == "no alarm from 2 checks"


def test_the_report_has_figures_and_alarms():
    assert alarm_report(CHECKED, rows=500) == {
        "rows": 500,
        "figures": {
            "label_share": {"value": 0.117, "low": 0.08, "high": 0.153457, "n": 4533},
            "length": {"value": 0.117, "n": 4533},
        },
        "verdict": alarm_verdict(CHECKED),
        "alarm": True,
        "alarms": {"label_share": 2.5e-09},
    }
    quiet = alarm_report(decide_alarms([check()], 0.01), rows=500)
    assert (quiet["alarm"], quiet["alarms"]) == (False, {})
