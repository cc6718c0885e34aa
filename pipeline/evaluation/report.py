"""The figures of the evaluation report, the worst mistakes and the summary."""

from dataclasses import replace

import numpy as np
import pandas as pd

from pipeline.core.reports import Figure
from pipeline.core.schemas import MISTAKES
from pipeline.evaluation.bootstrap import measure, measure_difference
from pipeline.evaluation.metrics import Labels, Predictions
from pipeline.evaluation.slices import slice_masks

Figures = dict[str, Figure]

SLICE_METRICS = ("spam_caught_percent", "ham_blocked_percent", "average_precision")
BLOCKED_METRICS = ("spam_caught_percent", "ham_blocked_percent")
NEWEST_METRICS = ("f1", "average_precision", "spam_caught_percent", "ham_blocked_percent")
MISTAKES_KEPT = 50


def comparison_figures(
    ours: Predictions, baseline: Predictions, *, resamples: int, seed: int
) -> Figures:
    """Each of METRICS as `METRIC` (ours), `baseline.METRIC` and `difference.METRIC`."""
    difference = measure_difference(ours, baseline, resamples=resamples, seed=seed)
    return (
        measure(ours, resamples=resamples, seed=seed)
        | prefixed("baseline", measure(baseline, resamples=resamples, seed=seed))
        | prefixed("difference", difference)
    )


def slice_figures(
    predictions: Predictions, messages: pd.DataFrame, *, resamples: int, seed: int
) -> Figures:
    """SLICE_METRICS on the rows of each slice, as `slices.SLICE.METRIC`.

    Args:
        messages: columns text and source, in the rows of the predictions.
    """
    figures: Figures = {}
    for name, mask in slice_masks(messages):
        of_slice = predictions.take(mask)
        measured = measure(of_slice, SLICE_METRICS, resamples=resamples, seed=seed)
        figures |= prefixed(f"slices.{name}", measured)
    return figures


def confident_figures(
    predictions: Predictions, confident: Labels, *, resamples: int, seed: int
) -> Figures:
    """The share of confident answers, and BLOCKED_METRICS if only confident spam is blocked.

    Args:
        confident: (n,), True for rows whose label is confident.
    """
    blocked = replace(predictions, y_pred=predictions.y_pred & confident)
    measured = measure(blocked, BLOCKED_METRICS, resamples=resamples, seed=seed)
    share = Figure(100 * float(confident.mean()), n=len(confident))
    return prefixed("confident", {"percent": share} | measured)


def newest_figures(
    ours: Predictions, baseline: Predictions, *, resamples: int, seed: int
) -> Figures:
    """NEWEST_METRICS on the newest messages, of both models and their difference.

    The figures are `newest.METRIC`, `baseline.newest.METRIC` and `difference.newest.METRIC`. An
    undefined metric has the value None, and so has F1 without spam, as it would be 0 for any model.
    """
    bootstrap = {"resamples": resamples, "seed": seed}
    measured = {
        "newest": measure(ours, NEWEST_METRICS, **bootstrap),
        "baseline.newest": measure(baseline, NEWEST_METRICS, **bootstrap),
        "difference.newest": measure_difference(ours, baseline, NEWEST_METRICS, **bootstrap),
    }
    undefined = {} if ours.spam else {"f1": Figure(None, n=len(ours.y_true))}
    return {
        f"{prefix}.{name}": figure
        for prefix, figures in measured.items()
        for name, figure in (figures | undefined).items()
    }


def served_figures(
    served: Predictions, evaluated: Predictions, *, resamples: int, seed: int
) -> Figures:
    """`served_gain.average_precision`: of the network that serves, minus the evaluated one's.

    The first has learned from these rows of test. So a loss means that its training went wrong.
    """
    difference = measure_difference(
        served, evaluated, ("average_precision",), resamples=resamples, seed=seed
    )
    return prefixed("served_gain", difference)


def served_newest_figures(served: Predictions, *, resamples: int, seed: int) -> Figures:
    """`served.newest.METRIC`: BLOCKED_METRICS of the network that serves, on the newest messages.

    It has not learned from these.
    """
    measured = measure(served, BLOCKED_METRICS, resamples=resamples, seed=seed)
    return prefixed("served.newest", measured)


def prefixed(prefix: str, figures: Figures) -> Figures:
    """The figures as `PREFIX.NAME`."""
    return {f"{prefix}.{name}": figure for name, figure in figures.items()}


def worst_mistakes(messages: pd.DataFrame, predictions: Predictions) -> pd.DataFrame:
    """The MISTAKES_KEPT rows with the lowest probability of the true label, lowest first.

    Args:
        messages: a table of MESSAGES with the same rows.

    Returns: a table of MISTAKES.
    """
    y_true, y_score = predictions.y_true, predictions.y_score
    table = messages.assign(
        probability=y_score,
        wrong=predictions.y_pred != y_true,
        p_true=np.where(y_true, y_score, 1 - y_score),
    )
    return table.sort_values(["p_true", "message_id"]).head(MISTAKES_KEPT)[MISTAKES.names]


def evaluation_summary(figures: Figures) -> str:
    """One line: the main figures on test, on the newest messages, and of the baseline.

    It says so if the baseline has the higher F1 on test.
    """
    parts = [_main_figures(figures, "")]
    if newest := _main_figures(figures, "newest."):
        parts.append(f"newest {figures['newest.f1'].n:,} messages: {newest}")
    parts.append(f"linear baseline: {_main_figures(figures, 'baseline.')}")
    lead = figures["difference.f1"]
    if lead.value is not None and lead.value < 0:
        interval = f" [{lead.low:+.4f}, {lead.high:+.4f}]" if lead.low is not None else ""
        parts.append(f"the linear baseline wins on test: f1 {lead.value:+.4f}{interval}")
    return "; ".join(parts)


def _main_figures(figures: Figures, prefix: str) -> str:
    """F1, spam caught and ham lost; empty if one is undefined."""
    f1 = figures[f"{prefix}f1"].value
    caught = figures[f"{prefix}spam_caught_percent"].value
    lost = figures[f"{prefix}ham_blocked_percent"].value
    if f1 is None or caught is None or lost is None:
        return ""
    return f"f1 {f1:.3f}, spam caught {caught:.1f} %, ham lost {lost:.2f} %"
