"""The decision comes from val alone, test is only measured, and both models are judged by one rule."""

import csv
import json
from dataclasses import asdict, replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline import evaluate
from pipeline.core import schemas
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.reports import Figure
from pipeline.core.schemas import MISTAKES, SPLITS
from pipeline.core.tables import write_parquet
from pipeline.evaluate import NEWEST_METRICS, SLICE_METRICS, WORST, Params, figures_of, judge
from pipeline.evaluation import attacks, behavioural_tests, curves
from pipeline.evaluation.curves import PLOT_TABLES
from pipeline.evaluation.metrics import METRICS, Predictions
from pipeline.evaluation.slices import SLICES
from pipeline.models import calibration, keras_files
from pipeline.preprocessing import params
from pipeline.preprocessing.params import SplitShares
from pipeline.preprocessing.tokenizer import fit_tokenizer
from tests.harness.small_networks import small_network
from tests.harness.small_project import MESSAGES, ROOT, set_params, stage_arguments

PARAMS = Params(lost_ham_budget=0.05, resamples=7, seed=1)


def drawn(seed, ham=61, spam=29, noise=0.2):
    """Labels, and scores that mostly tell them apart."""
    random = np.random.default_rng(seed)
    y_true = random.permutation(np.arange(ham + spam) < spam)
    score = np.clip(0.3 + 0.4 * y_true + noise * random.normal(size=ham + spam), 0.01, 0.99)
    return y_true, score.astype(np.float32)


def table(n, seed=0):
    """Messages as ingest makes them, of two sources."""
    texts = [f"message {i} see www.x.com" if i % 3 else f"£{i} won" for i in range(n)]
    ids = np.random.default_rng(seed).permutation([f"{i:016x}" for i in range(n)])
    return pd.DataFrame(
        {
            "message_id": ids,
            "text": texts,
            "label": ["ham"] * n,
            "source": ["sms" if i % 2 else "files/a.csv" for i in range(n)],
            "row": np.arange(n),
            "received_at": pd.Series([pd.NaT] * n, dtype="datetime64[us, UTC]"),
        }
    )


# ---- one rule for every model


def test_decision_is_vals_alone():
    (val, val_score), (test, test_score) = drawn(1), drawn(2, ham=43, spam=17)
    judged = judge((val, test), (val_score, test_score), 0.05)
    assert judged.decision == calibration.fit_decision(val, val_score, 0.05)
    assert judge((val, ~test), (val_score, 1 - test_score), 0.05).decision == judged.decision
    assert judge((~val, test), (val_score, test_score), 0.05).decision != judged.decision


def test_test_is_calibrated_and_cut_as_val_decided():
    (val, val_score), (test, test_score) = drawn(1), drawn(2, ham=43, spam=17)
    judged = judge((val, test), (val_score, test_score), 0.05)
    assert judged.test.y_true.tolist() == test.tolist()
    assert (
        judged.test.y_score.tolist() == calibration.calibrate(test_score, judged.decision).tolist()
    )
    assert (
        judged.test.y_pred.tolist() == (judged.test.y_score >= judged.decision.threshold).tolist()
    )


# ---- the figures


@pytest.fixture
def two_models():
    (val, val_score), (test, test_score) = drawn(1), drawn(2, ham=43, spam=17)
    worse, worse_test = (
        drawn(seed, ham, spam, noise=0.4)[1] for seed, ham, spam in ((1, 61, 29), (2, 43, 17))
    )
    return [
        judge((val, test), scores, 0.05)
        for scores in ((val_score, test_score), (worse, worse_test))
    ]


def test_figures_have_every_metric_of_ours_the_baseline_the_difference_and_each_slice(two_models):
    figures = figures_of(*two_models, table(60), PARAMS)
    slices = [*SLICES, "source_files", "source_sms"]
    assert list(figures) == [
        *METRICS,
        *(f"baseline.{name}" for name in METRICS),
        *(f"difference.{name}" for name in METRICS),
        *(f"slices.{part}.{name}" for part in slices for name in SLICE_METRICS),
        "threshold",
        "val_ham_lost",
    ]


def test_figures_are_the_metrics_on_test_each_with_an_interval(two_models):
    ours, baseline = two_models
    figures = figures_of(ours, baseline, table(60), PARAMS)
    for name, metric in METRICS.items():
        assert figures[name].value == pytest.approx(metric(ours.test))
        assert figures[f"baseline.{name}"].value == pytest.approx(metric(baseline.test))
        assert figures[f"difference.{name}"].value == pytest.approx(
            metric(ours.test) - metric(baseline.test)
        )
        for prefix in ("", "baseline.", "difference."):
            figure = figures[prefix + name]
            assert figure.low <= figure.high
            assert figure.n == 60


def test_slice_has_the_metrics_of_its_rows_alone(two_models):
    ours, baseline = two_models
    figures = figures_of(ours, baseline, table(60), PARAMS)
    rows = ours.test.take(np.arange(60) % 3 == 0)  # those with a currency sign
    for name in SLICE_METRICS:
        figure = figures[f"slices.has_currency_sign.{name}"]
        assert figure.value == pytest.approx(METRICS[name](rows))
        assert figure.n == 20
    assert figures["slices.long.average_precision"] == Figure(None, n=0)


def test_figures_say_what_val_decided(two_models):
    ours, baseline = two_models
    figures = figures_of(ours, baseline, table(60), PARAMS)
    assert figures["threshold"] == Figure(ours.decision.threshold)
    lost = ours.decision.ham_lost / 61
    assert figures["val_ham_lost"] == Figure(lost, high=ours.decision.lost_ham_upper, n=61)
    assert 0 < lost < ours.decision.lost_ham_upper


def test_sentence_has_the_figures_that_a_person_asks_for_first():
    ours = {"f1": 0.98765, "spam_caught_percent": 97.26, "ham_blocked_percent": 0.119}
    theirs = {"f1": 0.9, "spam_caught_percent": 90.0, "ham_blocked_percent": 1.0}
    figures = {name: Figure(value) for name, value in ours.items()}
    figures |= {f"baseline.{name}": Figure(value) for name, value in theirs.items()}
    figures |= {f"newest.{name}": Figure(None, n=3) for name in ours}
    assert evaluate.sentence(figures) == (
        "f1 0.988, spam caught 97.3 %, ham lost 0.12 %; "
        "linear baseline: f1 0.900, spam caught 90.0 %, ham lost 1.00 %"
    )
    figures |= {f"newest.{name}": Figure(value / 2, n=1234) for name, value in ours.items()}
    assert evaluate.sentence(figures) == (
        "f1 0.988, spam caught 97.3 %, ham lost 0.12 %; "
        "newest 1,234 messages: f1 0.494, spam caught 48.6 %, ham lost 0.06 %; "
        "linear baseline: f1 0.900, spam caught 90.0 %, ham lost 1.00 %"
    )


# ---- the newest span


def of_rows(y_true, y_pred):
    y_true, y_pred = (np.array(column, np.bool_) for column in (y_true, y_pred))
    return Predictions(y_true, np.where(y_pred, 0.9, 0.1), y_pred)


def test_newest_figures_are_ours_the_baselines_and_the_difference():
    ours, theirs = (
        of_rows([1, 1, 1, 0, 0], [1, 1, 0, 0, 0]),
        of_rows([1, 1, 1, 0, 0], [1, 0, 0, 1, 0]),
    )
    figures = evaluate.newest_figures(ours, theirs, PARAMS)
    prefixes = "newest", "baseline.newest", "difference.newest"
    assert list(figures) == [f"{prefix}.{name}" for prefix in prefixes for name in NEWEST_METRICS]
    assert figures["newest.f1"].value == pytest.approx(0.8)
    assert figures["newest.spam_caught_percent"].value == pytest.approx(200 / 3)
    assert figures["baseline.newest.f1"].value == pytest.approx(0.4)
    assert figures["baseline.newest.ham_blocked_percent"].value == pytest.approx(50)
    assert figures["difference.newest.f1"].value == pytest.approx(0.4)
    assert all(
        figure.low <= figure.value <= figure.high and figure.n == 5 for figure in figures.values()
    )


def test_what_the_newest_rows_do_not_define_is_null():
    no_rows = of_rows([], [])
    assert set(evaluate.newest_figures(no_rows, no_rows, PARAMS).values()) == {Figure(None, n=0)}
    no_spam = of_rows([0, 0, 0, 0], [0, 0, 0, 1])
    figures = evaluate.newest_figures(no_spam, no_spam, PARAMS)
    assert figures["newest.ham_blocked_percent"].value == 25
    for name in ("f1", "average_precision", "spam_caught_percent"):
        for prefix in ("newest", "baseline.newest", "difference.newest"):
            assert figures[f"{prefix}.{name}"] == Figure(None, n=4)


# ---- the worst mistakes


def test_worst_mistakes_are_those_that_the_model_was_surest_of():
    spam = np.array([True, True, False, False, True])
    score = np.array([0.1, 0.9, 0.95, 0.2, 0.4])
    worst = evaluate.worst_mistakes(table(5), Predictions(spam, score, score >= 0.5))
    assert worst["row"].tolist() == [
        2,
        0,
        4,
        3,
        1,
    ]  # of the truth, the model said 0.05, 0.1, 0.4, 0.8, 0.9
    assert worst["probability"].tolist() == [0.95, 0.1, 0.4, 0.2, 0.9]
    assert worst["wrong"].tolist() == [True, True, True, False, False]
    assert worst["text"].tolist() == table(5)["text"][[2, 0, 4, 3, 1]].tolist()
    assert list(worst.columns) == MISTAKES.names


def test_of_many_mistakes_the_worst_fifty_are_kept():
    random = np.random.default_rng(4)
    spam, score = random.random(WORST + 30) < 0.5, random.random(WORST + 30)
    worst = evaluate.worst_mistakes(table(WORST + 30), Predictions(spam, score, score >= 0.5))
    assert len(worst) == WORST == 50
    assert sorted(np.where(spam, score, 1 - score))[:50] == pytest.approx(
        np.where(spam, score, 1 - score)[worst["row"]]
    )


def test_equal_mistakes_stand_in_one_order_whatever_the_order_of_the_rows():
    rows = table(70)
    spam = np.zeros(70, np.bool_)
    tied = Predictions(spam, np.full(70, 0.75), ~spam)
    once, again = (evaluate.worst_mistakes(t, tied) for t in (rows, rows[::-1]))
    assert (
        once["message_id"].tolist()
        == again["message_id"].tolist()
        == sorted(rows["message_id"])[:50]
    )


# ---- plots


ROWS = {
    "many": Predictions(*(column := drawn(3, ham=300, spam=200)), column[1] >= 0.5),
    "no spam": Predictions(np.zeros(4, np.bool_), np.linspace(0, 1, 4), np.arange(4) > 2),
    "no ham": Predictions(np.ones(4, np.bool_), np.linspace(0, 1, 4), np.arange(4) > 2),
}


@pytest.mark.parametrize("name", PLOT_TABLES)
@pytest.mark.parametrize("rows", ROWS)
def test_plot_is_a_table_with_a_cell_for_every_column(name, rows):
    columns, cells = PLOT_TABLES[name](ROWS[rows])
    assert len(set(columns)) == len(columns) > 1
    assert all(len(row) == len(columns) for row in cells)
    assert cells or rows != "many"


def test_confusion_has_a_row_a_message_in_the_columns_that_it_names():
    scored = Predictions(np.array([True, True, False]), np.zeros(3), np.array([False, True, False]))
    columns, rows = curves.confusion_table(scored)
    assert [dict(zip(columns, row, strict=True)) for row in rows] == [
        {"actual": "spam", "predicted": "ham"},
        {"actual": "spam", "predicted": "spam"},
        {"actual": "ham", "predicted": "ham"},
    ]


def test_every_plot_is_written_for_ours_and_for_the_baseline(two_models, tmp_path):
    ours, baseline = (judged.test for judged in two_models)
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "of_an_earlier_run.csv").touch()
    curves.write_plots(tmp_path / "plots", ours, baseline)
    files = {path.stem for path in (tmp_path / "plots").iterdir()}
    assert files == {*PLOT_TABLES, *(f"{name}_baseline" for name in PLOT_TABLES)}
    with (tmp_path / "plots" / "roc_baseline.csv").open() as file:
        columns, first, *rest = csv.reader(file)
    assert columns == ["ham_lost", "spam_caught", "threshold"]
    assert first == ["0.0", "0.0", ""]  # above every score: an infinite threshold is an empty cell
    assert rest[-1][:2] == ["1.0", "1.0"]


# ---- the stage


def test_params_out_of_bounds_are_refused(tmp_path, monkeypatch):
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    for changes in ({"resamples": 0}, {"resamples": 10**9}, {"seed": -1, "resamples": 1}):
        set_params(tmp_path, {"evaluate": changes})
        with pytest.raises(PipelineError) as refused:
            read_params(Params, "evaluate")
        line = "params.yaml: evaluate: resamples must be 1 to 1,000,000 and seed at least 0"
        assert str(refused.value) == line


class Project:
    """The inputs of the stage, on the hand-written messages, and what it makes of them."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
        set_params(folder, {"evaluate": asdict(replace(PARAMS, lost_ham_budget=0.2))})
        rows = pd.read_csv(MESSAGES)
        self.messages = table(len(rows)).assign(
            text=rows["body"], label=np.where(rows["kind"] == 1, "spam", "ham")
        )
        self.splits = pd.DataFrame(
            {
                "message_id": self.messages["message_id"],
                "split": np.array(["train", "val", "test"])[np.arange(len(rows)) % 3],
                "campaign_key": self.messages["message_id"],
                "left_out": np.arange(len(rows)) % 11 == 0,
            }
        )
        of_vectorize = params.Params(SplitShares(0.4, 0.3, 0.3), "s", 7, 365, 99, 400, 30, 10)
        tokenizer = fit_tokenizer(rows["body"], of_vectorize)
        (folder / "tokenizer.json").write_text(tokenizer.to_str(), encoding="utf-8")
        network = small_network(tokenizer.get_vocab_size(), seed=6)
        keras_files.save(network, folder / "model.keras")

    def in_test(self):
        return ((self.splits["split"] == "test") & ~self.splits["left_out"]).to_numpy()

    def run(self, name):
        """The folder with the outputs."""
        for file, rows, schema in (
            ("messages", self.messages, schemas.MESSAGES),
            ("splits", self.splits, SPLITS),
        ):
            rows = pa.Table.from_pandas(rows, schema, preserve_index=False)
            write_parquet(self.folder / f"{file}.parquet", rows.to_batches(), schema)
        inputs = ("messages.parquet", "splits.parquet", "tokenizer.json", "model.keras")
        outputs = ("decision.json", "mistakes.parquet", "evaluate.json", "metrics.json", "plots")
        paths = [self.folder / file for file in inputs]
        paths += [self.folder / name / file for file in outputs]
        evaluate.main(stage_arguments("evaluate", *paths))
        return self.folder / name


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


def test_nothing_is_chosen_on_test(project):
    before = project.run("before")
    labels = project.messages["label"].to_numpy(object)
    turned = np.where(labels == "ham", "spam", "ham")
    project.messages["label"] = np.where(project.in_test(), turned, labels)
    after = project.run("after")
    assert (after / "decision.json").read_bytes() == (before / "decision.json").read_bytes()
    assert (after / "metrics.json").read_bytes() != (before / "metrics.json").read_bytes()
    thresholds = [
        json.loads((at / "evaluate.json").read_text())["figures"]["threshold"]
        for at in (before, after)
    ]
    assert thresholds[0] == thresholds[1]


def test_stage_is_repeatable_and_its_files_agree(project):
    made, again = project.run("made"), project.run("again")
    for file in (path.relative_to(made) for path in made.rglob("*.*")):
        assert (again / file).read_bytes() == (made / file).read_bytes(), file
    report = json.loads((made / "evaluate.json").read_text())
    assert report["rows"] == project.in_test().sum()
    flat = json.loads((made / "metrics.json").read_text())
    assert list(flat) == list(METRICS)
    assert flat == {name: report["figures"][name]["value"] for name in METRICS}
    assert report["figures"]["threshold"]["value"] == pytest.approx(
        json.loads((made / "decision.json").read_text())["threshold"], abs=1e-6
    )
    mistakes = pd.read_parquet(made / "mistakes.parquet")
    assert set(mistakes["message_id"]) == set(project.messages["message_id"][project.in_test()])
    confusion = pd.read_csv(made / "plots" / "confusion.csv")
    assert (confusion["actual"] != confusion["predicted"]).sum() == mistakes["wrong"].sum()


def test_newest_figures_are_of_newest_rows_and_of_test_rows_as_late(project):
    """They cost nothing: what learns and what else is measured stays as it was."""
    prefixes = "newest", "baseline.newest", "difference.newest"
    names = [f"{prefix}.{name}" for prefix in prefixes for name in NEWEST_METRICS]
    before = json.loads((project.run("before") / "evaluate.json").read_text())["figures"]
    assert all(before[name] == {"value": None, "n": 0} for name in names)
    late = project.messages.assign(text=project.messages["text"] + " now")
    late["message_id"] = [f"{i + 90:016x}" for i in range(90)]
    days = np.where(np.arange(180) < 30, 20, 40)  # of test, the rows from the 30th on are as late
    received = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(days, "D")
    in_span = project.in_test()[30:].sum() + (~project.splits["left_out"]).sum()
    project.messages = pd.concat([project.messages, late]).assign(received_at=received)
    of_late = project.splits.assign(split="newest", message_id=late["message_id"])
    project.splits = pd.concat([project.splits, of_late])
    after = json.loads((project.run("after") / "evaluate.json").read_text())["figures"]
    assert {after[name]["n"] for name in names} == {in_span}
    assert 0 < after["newest.spam_caught_percent"]["value"] <= 100
    assert {name: after[name] for name in after if name not in names} == {
        name: before[name] for name in before if name not in names
    }
    decisions = [(project.folder / at / "decision.json").read_bytes() for at in ("before", "after")]
    assert decisions[0] == decisions[1]


# ---- under attack


def by_prize(texts):
    """A model that knows one word, as it is written."""
    return np.array([0.9 if "prize" in message else 0.1 for message in texts])


def test_under_attack_counts_spam_caught_and_ham_lost_of_edited_messages():
    texts = ["a prize"] * 8 + ["lunch prize", "lunch"] * 2
    test = pd.DataFrame({"text": texts, "label": ["spam"] * 8 + ["ham"] * 4})
    as_they_are = calibration.Decision(1.0, 0.0, 0.5, 0.1, ham=9, ham_lost=0, lost_ham_upper=0.3)
    tried = [("good_words", 8), ("homoglyphs", 30)]
    found = evaluate.under_attack(by_prize, as_they_are, test, seed=1, tried=tried)
    assert found["good_words_8.spam_caught_percent"] == Figure(100.0, n=8)
    assert found["good_words_8.ham_blocked_percent"] == Figure(50.0, n=4)
    assert found["homoglyphs_30.spam_caught_percent"].value < 100
    assert found["adaptive.spam_caught_percent"] == Figure(0.0, n=8)
    assert len(found) == 5


def test_report_holds_every_attack_and_behaviour_for_ours_and_for_the_baseline(project):
    figures = json.loads((project.run("made") / "evaluate.json").read_text())["figures"]
    for prefix in ("behaviours", "baseline.behaviours"):
        for name in behavioural_tests.BEHAVIOURAL_TESTS:
            assert f"{prefix}.{name}.holds_percent" in figures
    for prefix in ("attacks", "baseline.attacks"):
        assert f"{prefix}.adaptive.spam_caught_percent" in figures
        for name, strength in attacks.ATTACK_STRENGTHS:
            for kind in ("spam_caught_percent", "ham_blocked_percent"):
                assert 0 <= figures[f"{prefix}.{name}_{strength}.{kind}"]["value"] <= 100
