"""Every model is judged by the same rules, on rows that it has not seen, and the intervals are honest."""

import math
import shutil
import statistics
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from benchmarks import quality
from pipeline.core import params as params_
from pipeline.core import schemas
from pipeline.core.params import read_params, read_yaml
from pipeline.core.tables import write_parquet
from pipeline.evaluation import attacks, metrics
from pipeline.models import architectures, augmentation, calibration, training
from pipeline.preprocessing import splits
from tests.harness.small_project import MESSAGES, ROOT

ROWS = pd.read_csv(MESSAGES)
TABLE = pd.DataFrame(
    {
        "message_id": [f"{i:04d}" for i in range(90)],
        "campaign_key": [f"{i:016x}" for i in range(90)],
    }
).assign(text=ROWS["body"], label=np.where(ROWS["kind"] == 1, "spam", "ham"))
TABLE["received_at"] = pd.Series(pd.NaT, index=TABLE.index, dtype="datetime64[us, UTC]")
TRAIN, OTHER = TABLE[TABLE.index % 2 == 0], TABLE[TABLE.index % 2 == 1]
SPAM = (OTHER["label"] == "spam").to_numpy()


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """The committed params, with networks that are trained in seconds."""
    params = read_yaml(ROOT / "params.yaml")
    params["train"] |= {"epochs": 2, "units": 4, "embedding_dim": 4, "copies": 1, "stop_share": 0.3}
    monkeypatch.setattr(params_, "read_yaml", lambda *_: params)
    monkeypatch.setattr(quality, "ARTICLE", quality.ARTICLE | {"embedding_dim": 4, "units": 4})
    monkeypatch.setattr(quality, "ARTICLE_VOCABULARY", 400)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*quality.PEERS, "wide path alone", "no corruption"])
def test_every_model_gives_each_message_a_score_in_0_to_1(name):
    if name == "bogofilter" and not shutil.which("bogofilter"):
        pytest.skip("bogofilter is not installed")
    score = quality.MODELS[name](TRAIN)
    found = score(OTHER["text"].tolist())
    assert found.shape == (45,)
    assert ((found >= 0) & (found <= 1)).all()
    assert score(OTHER["text"].tolist()[::-1]).tolist() == pytest.approx(
        found[::-1].tolist(), abs=1e-5
    )
    if (
        name not in architectures.MODELS and name not in quality.ABLATIONS
    ):  # which two epochs teach little
        assert found[SPAM].mean() > found[~SPAM].mean()


def by_words(texts):
    return np.array(
        [
            min(0.95, 0.05 + 0.3 * sum(w in t.lower() for w in ("free", "win", "prize", "call")))
            for t in texts
        ]
    )


def test_figures_are_those_of_all_sides_together():
    one = quality.judged(by_words, TRAIN, OTHER, 0.2)
    both = quality.figures_of([one, quality.judged(by_words, OTHER, TRAIN, 0.2)])
    assert set(both) == set(quality.SHOWN) - {"seconds"}
    alone = quality.figures_of([one])
    truth, called = one["f1"].y_true, one["f1"].y_pred
    tp = np.sum(truth & called)
    assert alone["f1"] == pytest.approx(2 * tp / (np.sum(truth) + np.sum(called)))
    edited = attacks.attacked(OTHER["text"].tolist(), attacks.ATTACKS["good_words"], 8, 1)
    kept = np.mean((by_words(edited) >= by_words(OTHER["text"])[called].min())[truth])
    assert alone["good_words.lost"] == pytest.approx(100 * (np.mean(called[truth]) - kept))


def test_a_model_that_is_calibrated_has_slope_1_and_an_overconfident_one_less():
    random = np.random.default_rng(1)
    logit = random.normal(0, 2, 20_000)
    truth = random.random(20_000) < 1 / (1 + np.exp(-logit))
    side = quality.judged(by_words, TRAIN, OTHER, 0.2)
    for factor in (1, 2):
        score = 1 / (1 + np.exp(-factor * logit))
        scored = metrics.Scored(truth, score, score > 0.5)
        found = quality.figures_of([side | {"f1": scored, "budget": scored}])
        assert found["calibration_slope"] == pytest.approx(1 / factor, rel=0.05)


def test_val_is_judged_by_fifths_and_test_is_never_read(monkeypatch):
    messages = TABLE.assign(copies=1, split="train", left_out=False)
    messages.loc[60:80, "split"], messages.loc[81:, "split"] = "val", "test"
    seen = []
    committed = messages.assign(split=np.where(messages.index % 7 == 0, "test", "train"))
    monkeypatch.setattr(
        splits,
        "assign_splits",
        lambda rows, params: (
            (messages if "choosing" in params.salt or "final" in params.salt else committed).loc[
                rows.index
            ],
            None,
        ),
    )
    monkeypatch.setitem(quality.MODELS, "spy", lambda rows: seen.append(rows) or by_words)
    monkeypatch.setattr(quality, "judged", lambda score, *rows: seen.extend(rows[:2]) or {})
    monkeypatch.setattr(quality, "figures_of", lambda sides: {})
    quality.measured("spy", messages, "val", 0)
    fitted, *sides = seen
    assert set(fitted["split"]) == {"train"}
    val, decided_by, judged = messages.index[60:81], sides[::2], sides[1::2]
    val = val[val % 7 > 0]  # what the committed run is judged on is read for nothing
    assert (fitted.index % 7 > 0).all()
    assert sorted(i for rows in judged for i in rows.index) == val.tolist()
    for others, rows in zip(decided_by, judged, strict=True):
        assert sorted([*others.index, *rows.index]) == val.tolist()
    assert len(judged) == quality.FOLDS
    seen.clear()
    quality.measured("spy", messages, "test", 0)
    assert [set(rows["split"]) for rows in seen] == [{"train"}, {"val"}, {"test"}]


@pytest.mark.parametrize("ham", [9, 199, 363, 499, 900])
def test_a_budget_that_the_ham_cannot_keep_is_the_least_that_it_can(ham):
    rows = pd.DataFrame({"label": ["ham"] * ham + ["spam"]})
    found = quality.borne(rows, 0.002)
    assert found == pytest.approx(max(0.002, 1 / (1 + ham)), abs=1e-6)
    truth = np.array([False] * ham + [True])
    assert calibration.fit(truth, np.linspace(0.1, 0.9, ham + 1), found).ham_lost == 0


def test_out_of_fold_each_message_is_scored_once_by_a_model_that_saw_no_copy_of_it(monkeypatch):
    texts = [*TABLE["text"], *(f"{message} " for message in TABLE["text"])]  # a copy each
    both = pd.concat([TABLE, TABLE], ignore_index=True).assign(
        text=texts, message_id=[f"{i:064x}" for i in range(len(texts))]
    )
    seen = []
    monkeypatch.setitem(
        quality.MODELS, "spy", lambda rows: seen.append(set(rows["text"])) or by_words
    )
    scored = [quality.folded("spy", both, n) for n in range(quality.TENTHS)]
    assert sorted(name for part in scored for name in part) == sorted(both["message_id"])
    text_of = dict(zip(both["message_id"], both["text"], strict=True))
    for part, trained_on in zip(scored, seen, strict=True):
        judged = {text_of[name].strip() for name in part}
        assert judged.isdisjoint(message.strip() for message in trained_on)
        assert len(trained_on) > len(texts) / 2


def test_recall_within_a_budget_stops_before_the_ham_that_is_one_too_many():
    spam = np.array([True, True, False, True, False, True])
    score = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4])
    assert [quality.recall_within(spam, score, budget) for budget in (0.0, 0.4, 0.5, 1.0)] == [
        50,
        50,
        75,
        100,
    ]
    assert quality.recall_within(spam, 1 - score, 0.0) == 25


def test_tenths_are_judged_together_and_half_a_model_not_at_all():
    ids = [f"{i}" for i in range(40)]
    messages = pd.DataFrame({"message_id": ids, "label": ["spam", "ham"] * 20})
    right = {
        f"bilstm {n}": {i: 1.0 - int(i) % 2 for i in ids[n * 4 : n * 4 + 4]} for n in range(10)
    }
    wrong = {f"naive Bayes {n}": dict.fromkeys(ids[n * 4 : n * 4 + 4], 0.5) for n in range(10)}
    found = quality.pooled(
        right | wrong | {"fastText 0": right["bilstm 0"]}, list(quality.PEERS), messages
    )
    assert "| bilstm | 100.0 [100.0, 100.0] | 0.0 [0.0, 0.0] |" in found
    assert "| naive Bayes | 0.0 [0.0, 0.0] | 100.0 [100.0, 100.0] |" in found
    assert "fastText" not in found


def test_interval_is_wider_than_that_of_independent_splits():
    differences = [0.01, 0.03, 0.02, -0.01, 0.0]
    low, high = quality.corrected_interval(differences)
    deviation = statistics.stdev(differences)
    assert (low + high) / 2 == pytest.approx(0.01)
    assert (high - low) / 2 == pytest.approx(
        2.7764 * deviation * math.sqrt(1 / 5 + 0.15 / 0.7), rel=1e-4
    )
    assert all(map(math.isnan, quality.corrected_interval([0.1])))


def test_table_pairs_splits_that_both_have():
    figures = dict.fromkeys(quality.SHOWN, 0.5)
    done = {f"{quality.OURS} {n}": figures | {"f1": 0.9 + n / 100} for n in range(3)}
    done |= {f"naive Bayes {n}": figures | {"f1": 0.8} for n in (1, 2)}
    found = quality.tables(done, [quality.OURS, "naive Bayes", "fastText"], 3)
    assert "| mean ± deviation | bilstm (3) | naive Bayes (2) |" in found
    assert "| F1, threshold of largest F1 | 0.91 ± 0.01 | 0.8 ± 0 |" in found
    assert "| naive Bayes | +0.1" in found
    assert "fastText" not in found


def test_leave_one_out_drops_one_corruption_each():
    committed = replace(read_params(training.Params, "train")).corruptions
    for name in augmentation.CORRUPTIONS:
        kept = quality.ABLATIONS[f"without {name}"].keywords["corruptions"]
        assert set(committed) - set(kept) == {name}


def test_what_was_measured_is_not_measured_again_and_the_budget_starts_nothing(
    monkeypatch, tmp_path, capsys
):
    asked = []

    def measured(name, messages, on, number):
        asked.append((name, on, number))
        return dict.fromkeys(quality.SHOWN, 0.5)

    def run(*arguments):
        asked.clear()
        monkeypatch.setattr(
            sys, "argv", ["quality", "--splits", "2", "--models", "naive Bayes", *arguments]
        )
        quality.main()
        return list(asked)

    messages = tmp_path / "messages.parquet"
    write_parquet(messages, [], schemas.MESSAGES)
    monkeypatch.setattr(quality, "MESSAGES", messages)
    monkeypatch.setattr(quality, "RESULTS", tmp_path)
    monkeypatch.setattr(quality, "measured", measured)
    assert run("--on", "val", "--budget", "0") == []
    assert run("--on", "val") == [("naive Bayes", "val", 0), ("naive Bayes", "val", 1)]
    assert run("--on", "val") == []
    assert run("--final") == [("naive Bayes", "test", 0), ("naive Bayes", "test", 1)]
    assert "| F1, threshold of largest F1 | 0.5 ± 0 |" in capsys.readouterr().out
    params = read_yaml() | {"another": 1}
    monkeypatch.setattr(params_, "read_yaml", lambda *_: params)
    assert len(run("--on", "val")) == 2
