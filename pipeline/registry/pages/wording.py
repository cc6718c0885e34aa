"""Names and numbers as people read them on a page."""

from collections.abc import Mapping
from typing import Any

from pipeline.evaluation.metrics import METRICS

FigureFields = Mapping[str, Any]  # of a report: value, low, high, n

METRIC_NAMES = {  # other metrics are named by their words
    "f1": "F1",
    "mcc": "Matthews correlation",
    "roc_auc": "ROC AUC",
    "spam_caught_percent": "spam caught, %",
    "ham_blocked_percent": "ham lost, %",
    "holds_percent": "passed, %",
    "brier": "Brier score",
}
PREFIX_NAMES = {
    "attacks": "attack",
    "behaviours": "test",
    "difference": "lead over the baseline",
    "served": "network in service,",
    "served_gain": "network in service minus the evaluated one",
}
NO_DIFFERENCE = "no clear difference"


def figure_label(name: str) -> str:
    """`attack leet 15: spam caught, %` of `attacks.leet_15.spam_caught_percent`."""
    *prefixes, metric = name.split(".")
    words = [PREFIX_NAMES.get(prefix, prefix.replace("_", " ")) for prefix in prefixes]
    label = METRIC_NAMES.get(metric, metric.replace("_", " "))
    return f"{' '.join(words)}: {label}" if words else label


def number_text(name: str, value: float | None, *, signed: bool = False) -> str:
    """A value of the figure `name`: one decimal of per cent, three of a share."""
    if value is None:
        return "not defined"
    decimals = 1 if name.endswith("percent") else 3
    text = f"{value:{'+' if signed else ''}.{decimals}f}"
    return text.replace("-", "\N{MINUS SIGN}")


def interval_text(name: str, figure: FigureFields, *, signed: bool = False) -> str:
    """`0.758 to 0.787`, the 95 % interval of a figure; empty if it has none."""
    ends = [figure.get("low"), figure.get("high")]
    if None in ends:
        return ""
    return " to ".join(number_text(name, end, signed=signed) for end in ends)


def comparison_text(metric: str, difference: FigureFields) -> str:
    """`better`, `worse` or `no clear difference`, by whether the 95 % interval includes 0."""
    low, high = difference.get("low"), difference.get("high")
    if low is None or high is None or low <= 0 <= high:
        return NO_DIFFERENCE
    return "better" if (low > 0) == METRICS[metric].greater_is_better else "worse"
