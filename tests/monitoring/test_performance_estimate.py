"""Expected ham lost and recall follow from calibrated probabilities, with an interval."""

import itertools

import numpy as np
import pandas as pd
import pytest

from pipeline.core.reports import Figure
from pipeline.monitoring import performance_estimate
from pipeline.monitoring.performance_estimate import (
    expected_performance,
    logged_performance,
    performance_table,
)
from tests.harness.errors import error_of
from tests.harness.prediction_logs import NOON, write_log


def realised(labels, is_spam):
    """Ham lost and recall, once the true labels are known; NaN for no ham or no spam."""
    with np.errstate(invalid="ignore"):
        lost = np.sum(is_spam & ~labels, axis=-1) / np.sum(~labels, axis=-1)
        caught = np.sum(is_spam & labels, axis=-1) / np.sum(labels, axis=-1)
    return lost, caught


def exact_bounds(p, is_spam):
    """The 2.5 % and 97.5 % quantiles of ham lost and recall, from all 2^n draws of labels."""
    labels = np.array(list(itertools.product([False, True], repeat=len(p))))
    weights = np.where(labels, p, 1 - p).prod(axis=1)
    for values in realised(labels, is_spam):
        order = np.argsort(np.where(np.isnan(values), np.inf, values))
        order = order[: np.sum(~np.isnan(values))]
        below = np.cumsum(weights[order]) / weights[order].sum()
        yield [values[order][np.searchsorted(below, share)] for share in (0.025, 0.975)]


# ---- the estimate


def test_each_message_counts_as_its_probabilities():
    p = np.array([0.9, 0.7, 0.2, 0.1, 0.3])
    expected = expected_performance(p, [True, True, False, False, False])
    assert expected.ham_lost.value == pytest.approx(0.4 / (0.4 + 2.4))
    assert expected.recall.value == pytest.approx(1.6 / (1.6 + 0.6))


@pytest.mark.parametrize("seed", range(5))
def test_interval_is_that_of_all_draws_of_the_labels(seed):
    """Each of ten messages has a bin of its own, so that its label is drawn alone."""
    p = np.random.default_rng(seed).choice(np.arange(1, 200) / 200, 10, replace=False)
    is_spam = p > 0.6
    expected = expected_performance(p, is_spam)
    for figure, bounds in zip(vars(expected).values(), exact_bounds(p, is_spam), strict=True):
        assert [figure.low, figure.high] == pytest.approx(bounds)
        assert figure.low <= figure.value <= figure.high


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 3_000])
def test_interval_holds_the_realised_values_in_95_percent(n):
    """Most messages are surely ham, so few are expected to be lost."""
    random = np.random.default_rng(1)
    inside = []
    for _ in range(400):
        p = random.beta(0.05, 0.2, n)
        is_spam = p > 0.8
        labels = random.random(n) < p
        expected = expected_performance(p, is_spam)
        for figure, value in zip(vars(expected).values(), realised(labels, is_spam), strict=True):
            inside.append(figure.low <= value <= figure.high)
    coverage = np.mean(np.reshape(inside, (-1, 2)), axis=0)
    assert np.all(coverage > 0.93)
    assert n < 100 or np.all(coverage < 0.975)  # steps make it wider for few messages


def test_nothing_is_expected_of_no_messages():
    none = Figure(None)
    assert vars(expected_performance([], [])) == {"ham_lost": none, "recall": none}


def test_sure_labels_have_no_uncertainty():
    expected = expected_performance([1.0, 1.0, 0.0], [True, False, False])
    assert expected.recall == Figure(0.5, 0.5, 0.5)
    assert expected.ham_lost == Figure(0.0, 0.0, 0.0)


# ---- a log


def test_one_version_of_a_log_is_estimated(tmp_path):
    caught = {"probability": 0.9, "label": "spam"}
    write_log(tmp_path, [caught, {"probability": 0.3}, {"probability": 0.9, "model_version": "4"}])
    assert logged_performance(tmp_path, NOON, "3").recall.value == pytest.approx(0.75)
    assert logged_performance(tmp_path, NOON, "5").recall.value is None


def test_table_has_a_line_for_each_version_and_frequent_source():
    sources = ["sms/a.csv"] * 30 + ["sms/b.csv"] * 20 + ["rare"] * 49 + [None] * 50
    table = pd.concat([pd.DataFrame({"source": sources}).assign(model_version=v) for v in "24"])
    table["model_version"] = table["model_version"].replace("4", "10")
    table = table.assign(probability=1.0, label="spam")
    figures = ["none", "100.0% [100.0%, 100.0%]"]
    assert [list(line) for line in performance_table(table)[1:]] == [
        [version, source, count, count, *figures]
        for version in ("2", "10")
        for source, count in (("other", "49"), ("served", "50"), ("sms", "50"))
    ]


def test_names_of_sources_cannot_write_to_the_terminal():
    rows = {"model_version": "1", "source": "\x1b[2J\n", "probability": 0.5, "label": "ham"}
    assert performance_table(pd.DataFrame([rows] * 50))[1][1] == "\\x1b[2J\\n"


@pytest.mark.parametrize(("source", "name"), [("sms", "sms"), (None, "served")])
def test_command_prints_the_table(source, name, tmp_path, capsys):
    write_log(tmp_path, [{"source": source}] * 60)
    performance_estimate.main([str(tmp_path)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split() == ["version", "source", "messages", "spam", "ham", "lost", "recall"]
    assert line.split() == [*("3", name, "60", "0"), *["0.0%", "[0.0%,", "0.0%]"] * 2]


def test_command_names_a_folder_without_a_log(tmp_path):
    problem = error_of(performance_estimate.main, [str(tmp_path / "missing")])
    assert problem.startswith(f"{tmp_path / 'missing'}: no log of predictions; ")
