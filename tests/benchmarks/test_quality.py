"""Every model is measured by the same rules, on rows that it has not seen."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import quality
from pipeline import vectorize
from pipeline.core.params import read_params
from pipeline.models.architectures import MODELS
from tests.harness.labelled_messages import TABLE


@pytest.fixture
def trained_on(monkeypatch):
    """The rows that the model `spy` was trained on, one table for each training."""
    tables = []

    def train(rows):
        tables.append(rows)
        return lambda texts: np.zeros(len(texts))

    monkeypatch.setitem(quality.MODELS, "spy", train)
    return tables


@pytest.mark.parametrize("on", ["val", "test"])
def test_a_model_is_measured_on_rows_it_has_not_seen(on, trained_on, monkeypatch):
    pairs = []
    monkeypatch.setattr(quality, "combined_figures", lambda measured: {})
    monkeypatch.setattr(quality, "measure_rows", lambda _, *rows: pairs.append(rows[:2]) or {})
    quality.measure_split("spy", 0, TABLE, on)
    committed, _ = quality.assign_splits(TABLE, read_params(vectorize.Params, "vectorize"))
    committed_test = set(TABLE["message_id"][(committed["split"] == "test").to_numpy()])
    measured_ids = []
    for decided, measured in pairs:
        parts = [set(rows["message_id"]) for rows in (trained_on[0], decided, measured)]
        assert sum(map(len, parts)) == len(set().union(*parts))
        assert on == "test" or not committed_test & set().union(*parts)
        measured_ids += measured["message_id"].tolist()
    assert set(pairs[0][0]["split"]) == {"val"}
    assert len(measured_ids) == len(set(measured_ids)) > 5


@pytest.mark.slow
def test_attacks_may_be_left_out(monkeypatch):
    def train(rows):
        return lambda texts: np.array([("win" in text.lower()) * 0.5 + 0.25 for text in texts])

    monkeypatch.setattr(quality, "attack_figures", None)
    table = TABLE.assign(source="sms")
    for name in ("bilstm", "linear SVM"):
        monkeypatch.setitem(quality.MODELS, name, train)
        figures = quality.measure_split(name, 0, table, "val", attacks=False)
    assert figures.keys() < quality.TITLES.keys()
    assert 0 <= figures["strict_recall"] <= 100
    results = {f"{name} {n}": figures for name in ("bilstm", "linear SVM") for n in range(2)}
    tables = quality.split_tables(results, ["bilstm", "linear SVM"], 2)
    assert "| ours minus | F1" in tables
    assert "attack" not in tables


def test_out_of_fold_models_see_no_copy_of_what_they_score(trained_on):
    both = pd.concat([TABLE, TABLE.assign(text=TABLE["text"] + " ")], ignore_index=True)
    both["message_id"] = [f"{i:064x}" for i in range(180)]
    folds = [quality.score_fold("spy", number, both) for number in range(quality.FOLDS)]
    assert sorted(name for fold in folds for name in fold) == both["message_id"].tolist()
    text_of = dict(zip(both["message_id"], both["text"].str.strip(), strict=True))
    for fold, rows in zip(folds, trained_on, strict=True):
        assert {text_of[name] for name in fold}.isdisjoint(rows["text"].str.strip())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dense", *sorted(quality.PEERS.keys() - MODELS - {"bogofilter"})])
def test_a_model_is_measured_on_a_tiny_table(name):
    table = TABLE.assign(source="sms")
    even, odd = table[table.index % 2 == 0], table[table.index % 2 == 1]
    parts = [quality.measure_rows(quality.PEERS[name](even), even, odd)]
    figures = quality.combined_figures(parts) | {"seconds": 1.0}
    assert figures.keys() == quality.TITLES.keys()
    table = quality.split_tables({f"{name} 0": figures}, [name, "bilstm"], 1)
    assert f"| mean ± standard deviation | {name} (1) |" in table


@pytest.mark.parametrize(("budget", "recall"), [(0.0, 50), (0.4, 50), (0.5, 75), (1.0, 100)])
def test_recall_within_a_budget_stops_before_too_much_ham(budget, recall):
    spam = np.array([True, True, False, True, False, True])
    assert quality.recall_within(spam, np.linspace(0.9, 0.4, 6), budget) == recall


def test_corrected_interval_is_wider_than_for_independent_splits():
    interval = quality.corrected_interval(pd.Series([0.01, 0.03, 0.02, -0.01, 0.0]))
    reach = 2.776445 * np.std([1, 3, 2, -1, 0], ddof=1) / 100 * np.sqrt(1 / 5 + 0.15 / 0.7)
    assert interval == pytest.approx((0.01 - reach, 0.01 + reach), rel=1e-5)
