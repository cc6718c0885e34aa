"""An alarm is a significant effect that matters, and the report says which checks raise one."""

import pytest

from pipeline.monitoring.checks import Check, alarm_report, decide_alarms, holm


def check(name="label_share", p_value=0.5, **changes):
    values = {"measure": "difference", "effect": 0.117, "low": 0.08, "high": 0.1534567891}
    return Check(name=name, p_value=p_value, sentence="spam in 24.1%", n=453, **values | changes)


def alarms(*checks):
    return [one.alarm for one in decide_alarms(list(checks), 0.01)]


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),
        ([0.9, 0.5, 0.001], [1, 1, 0.003]),
        ([], []),
    ],
)
def test_holm_corrects_the_smallest_p_value_most(p_values, corrected):
    assert holm(p_values) == pytest.approx(corrected)


def test_an_alarm_is_significant_among_all_checks_and_matters():
    too_small = check("too small", 1e-9, matters=False)
    assert alarms(check("a", 0.004), check("b", 0.009), too_small) == [True, True, False]
    assert alarms(check("a", 0.004), check("b", 0.006), check("c")) == [False, False, False]


def test_the_report_has_figures_and_alarms():
    checks = [check(p_value=1.234e-9), check("length", 0.4, low=None, high=None)]
    assert alarm_report(decide_alarms(checks, 0.01), rows=500) == {
        "rows": 500,
        "figures": {
            "label_share": {"value": 0.117, "low": 0.08, "high": 0.153457, "n": 453},
            "length": {"value": 0.117, "n": 453},
        },
        "verdict": "alarm: label_share (p 2e-09): spam in 24.1%",
        "alarm": True,
        "alarms": {"label_share": 2.5e-09},
    }
