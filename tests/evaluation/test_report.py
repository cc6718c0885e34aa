"""The report has every figure, the mistakes are the worst, and the summary is one line."""

import numpy as np
import pytest

from pipeline.core.reports import Figure
from pipeline.core.schemas import MISTAKES
from pipeline.evaluation import report
from pipeline.evaluation.metrics import METRICS, Predictions
from pipeline.evaluation.report import NEWEST_METRICS, SLICE_METRICS
from pipeline.evaluation.slices import SLICES
from tests.harness.message_tables import message_table
from tests.harness.predictions import confusion, noisy_predictions

BOOTSTRAP = {"resamples": 7, "seed": 1}
OURS = noisy_predictions(seed=1, n=60, decimals=6)
BASELINE = Predictions(y_true=OURS.y_true, y_score=OURS.y_score**2, y_pred=OURS.y_score**2 >= 0.5)


def messages(n):
    """n messages of two sources; every third has a currency sign."""
    texts = [f"message {i}" if i % 3 else f"£{i} won" for i in range(n)]
    sources = ["sms" if i % 2 else "files/a.csv" for i in range(n)]
    return message_table(texts, ["ham"] * n).assign(source=sources)


def test_comparison_has_both_models_and_their_difference():
    figures = report.comparison_figures(OURS, BASELINE, **BOOTSTRAP)
    prefixes = ("", "baseline.", "difference.")
    assert list(figures) == [f"{prefix}{name}" for prefix in prefixes for name in METRICS]
    for name, metric in METRICS.items():
        ours, baseline = metric.function(OURS), metric.function(BASELINE)
        values = [figures[f"{prefix}{name}"].value for prefix in prefixes]
        assert values == pytest.approx([ours, baseline, ours - baseline])


def test_a_slice_has_the_metrics_of_its_rows_alone():
    figures = report.slice_figures(OURS, messages(60), **BOOTSTRAP)
    slices = [*SLICES, "source_files", "source_sms", "script_latin"]
    assert list(figures) == [f"slices.{part}.{name}" for part in slices for name in SLICE_METRICS]
    rows = OURS.take(np.arange(60) % 3 == 0)
    for name in SLICE_METRICS:
        figure = figures[f"slices.has_currency_sign.{name}"]
        assert (figure.value, figure.n) == (METRICS[name].function(rows), 20)
    assert figures["slices.long.average_precision"] == Figure(None, n=0)


def test_newest_figures_are_ours_the_baselines_and_the_difference():
    figures = report.newest_figures(OURS, BASELINE, **BOOTSTRAP)
    on_test = report.comparison_figures(OURS, BASELINE, **BOOTSTRAP)
    assert figures == {
        f"{prefix}newest.{name}": on_test[f"{prefix}{name}"]
        for prefix in ("", "baseline.", "difference.")
        for name in NEWEST_METRICS
    }


def test_newest_figures_without_spam_are_null():
    no_spam = confusion(tp=0, fp=1, fn=0, tn=3)
    figures = report.newest_figures(no_spam, no_spam, **BOOTSTRAP)
    defined = {name: figure.value for name, figure in figures.items() if figure.value is not None}
    lost = "newest.ham_blocked_percent"
    assert defined == {lost: 25, f"baseline.{lost}": 25, f"difference.{lost}": 0}


def test_worst_mistakes_are_the_most_confident_ones():
    spam = np.array([True, True, False, False, True])
    score = np.array([0.1, 0.9, 0.95, 0.2, 0.4])
    predictions = Predictions(y_true=spam, y_score=score, y_pred=score >= 0.5)
    worst = report.worst_mistakes(messages(5), predictions)
    assert list(worst.columns) == MISTAKES.names
    assert worst["row"].tolist() == [3, 1, 5, 4, 2]
    assert worst["probability"].tolist() == [0.95, 0.1, 0.4, 0.2, 0.9]
    assert worst["wrong"].tolist() == [True, True, True, False, False]


def test_fifty_mistakes_are_kept_in_one_order():
    rows = messages(70)
    wrong = np.ones(70, bool)
    tied = Predictions(y_true=~wrong, y_score=np.full(70, 0.75), y_pred=wrong)
    for order in (rows, rows[::-1]):
        kept = report.worst_mistakes(order, tied)["message_id"].tolist()
        assert kept == sorted(rows["message_id"])[:50]


def test_summary_has_the_main_figures():
    ours = {"f1": 0.98765, "spam_caught_percent": 97.26, "ham_blocked_percent": 0.119}
    theirs = {"f1": 0.9, "spam_caught_percent": 90.0, "ham_blocked_percent": 1.0}
    figures = {name: Figure(value) for name, value in ours.items()}
    figures |= {f"baseline.{name}": Figure(value) for name, value in theirs.items()}
    figures |= {f"newest.{name}": Figure(None, n=3) for name in ours}
    figures["difference.f1"] = Figure(0.08765)
    first = "f1 0.988, spam caught 97.3 %, ham lost 0.12 %; "
    last = "linear baseline: f1 0.900, spam caught 90.0 %, ham lost 1.00 %"
    assert report.evaluation_summary(figures) == first + last
    figures |= {f"newest.{name}": Figure(value / 2, n=1234) for name, value in ours.items()}
    newest = "newest 1,234 messages: f1 0.494, spam caught 48.6 %, ham lost 0.06 %; "
    assert report.evaluation_summary(figures) == first + newest + last


def test_summary_says_that_the_baseline_wins():
    blind = Predictions(y_true=OURS.y_true, y_score=OURS.y_score, y_pred=np.zeros(60, bool))
    figures = report.comparison_figures(blind, OURS, **BOOTSTRAP)
    figures |= report.newest_figures(blind, OURS, **BOOTSTRAP)
    lead = figures["difference.f1"]
    assert lead.value < 0
    interval = f"{lead.value:+.4f} [{lead.low:+.4f}, {lead.high:+.4f}]"
    summary = report.evaluation_summary(figures)
    assert summary.endswith(f"; the linear baseline wins on test: f1 {interval}")
    no_spam = confusion(tp=0, fp=1, fn=0, tn=3)
    nothing = report.comparison_figures(no_spam, no_spam, **BOOTSTRAP)
    nothing |= report.newest_figures(no_spam, no_spam, **BOOTSTRAP)
    assert "wins" not in report.evaluation_summary(nothing)
