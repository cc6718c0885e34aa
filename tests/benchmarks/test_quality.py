"""Every model is measured by the same rules, on rows that it has not seen."""

import math
import shutil
import statistics

import numpy as np
import pandas as pd
import pytest

from benchmarks import peers, quality
from pipeline.core import params as params_module
from pipeline.core import schemas
from pipeline.core.params import read_params, read_yaml
from pipeline.core.tables import write_parquet
from pipeline.evaluation import attacks, metrics
from pipeline.models import architectures, augmentation, calibration, training
from tests.harness.small_project import MESSAGES, ROOT

BODIES = pd.read_csv(MESSAGES)
TABLE = pd.DataFrame(
    {
        "message_id": [f"{i:04d}" for i in range(90)],
        "campaign_key": [f"{i:016x}" for i in range(90)],
        "text": BODIES["body"],
        "label": np.where(BODIES["kind"] == 1, "spam", "ham"),
        "received_at": pd.Series(pd.NaT, index=range(90), dtype="datetime64[us, UTC]"),
    }
)
EVEN, ODD = TABLE[TABLE.index % 2 == 0], TABLE[TABLE.index % 2 == 1]
SMALL = {"epochs": 2, "units": 4, "embedding_dim": 4, "copies": 1, "stop_share": 0.3}


@pytest.fixture(autouse=True)
def params(monkeypatch):
    """The committed params, with networks that train in seconds."""
    params = read_yaml(ROOT / "params.yaml")
    params["train"] |= SMALL
    monkeypatch.setattr(params_module, "read_yaml", lambda *_: params)
    monkeypatch.setattr(peers, "ARTICLE_PARAMS", {"corruptions": []})
    monkeypatch.setattr(peers, "ARTICLE_VOCABULARY", 400)
    return params


NOT_NETWORKS = [name for name in peers.PEERS if name not in architectures.MODELS]


@pytest.mark.slow
@pytest.mark.parametrize("name", [peers.OURS, "dense", *NOT_NETWORKS])
def test_every_model_gives_each_message_a_score(name):
    if name == "bogofilter" and not shutil.which("bogofilter"):
        pytest.skip("bogofilter is not installed")
    score = peers.MODELS[name](EVEN)
    texts = ODD["text"].tolist()
    scores = score(texts)
    assert scores.shape == (45,)
    assert ((scores >= 0) & (scores <= 1)).all()
    assert score(texts[::-1]).tolist() == pytest.approx(scores[::-1].tolist(), abs=1e-5)
    if name in NOT_NETWORKS:  # two epochs teach a network little
        spam = metrics.is_spam(ODD)
        assert scores[spam].mean() > scores[~spam].mean()


def score_by_words(texts):
    words = ("free", "win", "prize", "call")
    found = [sum(word in text.lower() for word in words) for text in texts]
    return np.minimum(0.95, 0.05 + 0.3 * np.array(found))


def test_figures_are_those_of_all_parts_together():
    one = quality.measure_rows(score_by_words, EVEN, ODD, 0.2)
    other = quality.measure_rows(score_by_words, ODD, EVEN, 0.2)
    assert set(quality.combined_figures([one, other])) == set(quality.TITLES) - {"seconds"}
    figures = quality.combined_figures([one])
    spam, y_pred = one["f1"].y_true, one["f1"].y_pred
    f1 = 2 * np.sum(spam & y_pred) / (np.sum(spam) + np.sum(y_pred))
    assert figures["f1"] == pytest.approx(f1)
    attack = attacks.ATTACKS["good_words"]
    edited = attacks.attack_messages(ODD["text"].tolist(), attack, 8, 1)
    threshold = score_by_words(ODD["text"])[y_pred].min()
    still_caught = np.mean((score_by_words(edited) >= threshold)[spam])
    lost = 100 * (np.mean(y_pred[spam]) - still_caught)
    assert figures["good_words.lost"] == pytest.approx(lost)


@pytest.mark.parametrize("factor", [1, 2])
def test_calibration_slope_is_below_1_for_overconfidence(factor):
    random = np.random.default_rng(1)
    logit = random.normal(0, 2, 20_000)
    spam = random.random(20_000) < 1 / (1 + np.exp(-logit))
    score = 1 / (1 + np.exp(-factor * logit))
    predictions = metrics.Predictions(y_true=spam, y_score=score, y_pred=score > 0.5)
    part = quality.measure_rows(score_by_words, EVEN, ODD, 0.2)
    figures = quality.combined_figures([part | {"f1": predictions, "budget": predictions}])
    assert figures["calibration_slope"] == pytest.approx(1 / factor, rel=0.05)


@pytest.fixture
def spy(monkeypatch):
    """Stands for all models; the rows that it is trained on, then each pair (decides, measured)."""
    messages = TABLE.assign(split="train", left_out=False)
    messages.loc[60:80, "split"] = "val"
    messages.loc[81:, "split"] = "test"
    committed = messages.assign(split=np.where(messages.index % 7 == 0, "test", "train"))

    def assign_splits(rows, params):
        salted = params.salt.split()[0] in quality.SALTS.values()
        return (messages if salted else committed).loc[rows.index], None

    calls = []
    monkeypatch.setattr(quality, "assign_splits", assign_splits)
    monkeypatch.setitem(quality.MODELS, "spy", lambda rows: calls.append(rows) or score_by_words)
    monkeypatch.setattr(quality, "measure_rows", lambda score, *rows: calls.append(rows[:2]) or {})
    monkeypatch.setattr(quality, "combined_figures", lambda parts: {})
    return calls


def test_choosing_measures_val_in_fifths_and_reads_no_test(spy):
    quality.measure_split("spy", TABLE, "val", 0)
    trained_on, *pairs = spy
    assert set(trained_on["split"]) == {"train"}
    assert (trained_on.index % 7 > 0).all()  # the rest is test by params.yaml
    val = [i for i in range(60, 81) if i % 7 > 0]
    assert sorted(i for _, measured in pairs for i in measured.index) == val
    assert all(sorted([*a.index, *b.index]) == val for a, b in pairs)
    assert len(pairs) == quality.VAL_FOLDS


def test_final_measures_test_with_the_decision_of_val(spy):
    quality.measure_split("spy", TABLE, "test", 0)
    trained_on, (decides, measured) = spy
    splits = [set(rows["split"]) for rows in (trained_on, decides, measured)]
    assert splits == [{"train"}, {"val"}, {"test"}]


@pytest.mark.parametrize("ham", [9, 199, 363, 499, 900])
def test_smallest_budget_is_what_the_ham_can_keep(ham):
    rows = pd.DataFrame({"label": ["ham"] * ham + ["spam"]})
    budget = quality.smallest_budget(rows, 0.002)
    assert budget == pytest.approx(max(0.002, 1 / (1 + ham)), abs=1e-6)
    scores = np.linspace(0.1, 0.9, ham + 1)
    assert calibration.fit_decision(metrics.is_spam(rows), scores, budget).ham_lost == 0


def test_out_of_fold_models_see_no_copy_of_what_they_score(monkeypatch):
    copies = TABLE.assign(text=TABLE["text"] + " ")
    both = pd.concat([TABLE, copies], ignore_index=True)
    both["message_id"] = [f"{i:064x}" for i in range(180)]
    seen = []
    monkeypatch.setitem(
        quality.MODELS, "spy", lambda rows: seen.append(set(rows["text"])) or score_by_words
    )
    folds = [quality.score_fold("spy", both, number) for number in range(quality.FOLDS)]
    assert sorted(name for fold in folds for name in fold) == sorted(both["message_id"])
    text_of = dict(zip(both["message_id"], both["text"].str.strip(), strict=True))
    for fold, texts in zip(folds, seen, strict=True):
        assert {text_of[name] for name in fold}.isdisjoint(text.strip() for text in texts)
        assert len(texts) > 90


@pytest.mark.parametrize(("budget", "recall"), [(0.0, 50), (0.4, 50), (0.5, 75), (1.0, 100)])
def test_recall_within_a_budget_stops_before_too_much_ham(budget, recall):
    spam = np.array([True, True, False, True, False, True])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert quality.recall_within(spam, score, budget) == recall


def test_fold_summary_leaves_out_incomplete_models():
    ids = [str(i) for i in range(40)]
    messages = pd.DataFrame({"message_id": ids, "label": ["spam", "ham"] * 20})
    parts = [ids[n * 4 : n * 4 + 4] for n in range(10)]
    scores = {f"bilstm {n}": {i: 1.0 - int(i) % 2 for i in part} for n, part in enumerate(parts)}
    scores |= {f"naive Bayes {n}": dict.fromkeys(part, 0.5) for n, part in enumerate(parts)}
    scores["fastText 0"] = scores["bilstm 0"]
    table = quality.fold_table(quality.fold_summary(scores, list(peers.PEERS), messages))
    assert "| bilstm | 100.0 [100.0, 100.0] | 0.0 [0.0, 0.0] |" in table
    assert "| naive Bayes | 0.0 [0.0, 0.0] | 100.0 [100.0, 100.0] |" in table
    assert "fastText" not in table


def test_corrected_interval_is_wider_than_for_independent_splits():
    differences = [0.01, 0.03, 0.02, -0.01, 0.0]
    low, high = quality.corrected_interval(pd.Series(differences))
    deviation = statistics.stdev(differences) * math.sqrt(1 / 5 + 0.15 / 0.7)
    assert (low + high) / 2 == pytest.approx(0.01)
    assert (high - low) / 2 == pytest.approx(2.7764 * deviation, rel=1e-4)
    assert all(map(math.isnan, quality.corrected_interval(pd.Series([0.1]))))


def test_split_tables_pair_splits_that_both_models_have():
    figures = dict.fromkeys(quality.TITLES, 0.5)
    results = {f"bilstm {n}": figures | {"f1": 0.9 + n / 25} for n in range(3)}
    results |= {f"naive Bayes {n}": figures | {"f1": 0.8} for n in (1, 2)}
    tables = quality.split_tables(results, ["bilstm", "naive Bayes", "fastText"], 3)
    assert "| mean ± standard deviation | bilstm (3) | naive Bayes (2) |" in tables
    assert "| F1 at the threshold with the largest F1 | 0.94 ± 0.04 | 0.8 ± 0 |" in tables
    assert "| naive Bayes | +0.16 [" in tables  # the mean of splits 1 and 2
    assert "fastText" not in tables


def test_ablations_leave_out_one_corruption_each():
    committed = read_params(training.Params, "train").model_dump()
    left_out = {}
    for name, trainer in peers.ABLATIONS.items():
        params = training.Params(**committed | trainer.keywords)
        left_out[name] = set(committed["corruptions"]) - set(params.corruptions)
    for name in augmentation.CORRUPTIONS:
        assert left_out[f"without {name}"] == {name}


def test_results_are_kept_until_params_change(params, monkeypatch, tmp_path, capsys):
    measured = []

    def measure_split(name, messages, on, number):
        measured.append((on, number))
        return dict.fromkeys(quality.TITLES, 0.5)

    def run(*options):
        measured.clear()
        quality.main(["--splits", "2", "--models", "naive Bayes", *options])
        return list(measured)

    write_parquet(tmp_path / "messages.parquet", [], schemas.MESSAGES)
    monkeypatch.setattr(quality, "MESSAGES", tmp_path / "messages.parquet")
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "measure_split", measure_split)
    monkeypatch.setattr(quality, "read_yaml", lambda: params)
    assert run("--on", "val") == [("val", 0), ("val", 1)]
    assert run("--on", "val") == []
    assert run("--final") == [("test", 0), ("test", 1)]
    assert "| average precision | 0.5 ± 0 |" in capsys.readouterr().out
    params["another"] = 1
    assert len(run("--on", "val")) == 2
