"""The poisoning command finds tampered labels with a model, and writes both reports."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmarks.poisoning import SOURCES, alarms_by_setting, flip_labels
from pipeline.core.tables import write_csv
from pipeline.monitoring import poisoning
from pipeline.registry import versions
from tests.harness.errors import error_of
from tests.harness.message_tables import worded_messages
from tests.harness.small_project import ROOT

REFERENCE = worded_messages(400, seed=1)
NEW = worded_messages(400, seed=2).assign(source=np.repeat(SOURCES, 200))
TAMPERED = flip_labels(0.15)(NEW, np.random.default_rng(1))


def test_the_champion_disputes_labels_with_its_error_on_test(tmp_path, monkeypatch):
    class Champion:
        def predict(self, table):
            labels = ["ham" if "lunch" in text else "spam" for text in table["text"]]
            return pd.DataFrame({"label": labels})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(versions, "load_evaluated_champion", Champion)
    actual_and_predicted = [("ham", "spam"), ("ham", "ham")]
    write_csv(poisoning.CONFUSION_FILE, ("actual", "predicted"), actual_and_predicted)
    rows = [("lunch", "ham", "x"), ("lunch", "spam", "x"), ("win", "spam", "x")]
    new = pd.DataFrame(rows, columns=["text", "label", "source"])
    result = poisoning.dispute_by_champion(new)
    assert result.disputed.tolist() == [False, True, False]
    assert result.known_spam.tolist() == [False, False]
    assert result.known_disputed.tolist() == [True, False]


def test_another_encoding_of_the_same_messages_disputes_the_same_labels():
    escaped = TAMPERED["text"].map(lambda text: "".join(f"&#{ord(sign)};" for sign in text))
    plain, encoded = (
        poisoning.dispute_by_reference(REFERENCE, new).disputed.tolist()
        for new in (TAMPERED, TAMPERED.assign(text=escaped))
    )
    assert plain == encoded


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on new messages. Returns the JSON report and the page."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")

    def run(new):
        REFERENCE.to_parquet("reference.parquet")
        new.to_parquet("new.parquet")
        poisoning.main(["reference.parquet", "new.parquet", "--output", "out"])
        report = json.loads((tmp_path / "out" / "poisoning.json").read_text())
        return report, (tmp_path / "out" / "poisoning.html").read_text()

    return run


def test_the_reports_name_the_alarm_and_only_the_page_has_messages(run, caplog):
    caplog.set_level("INFO")
    honest, _ = run(NEW)
    assert honest["alarm"] is False
    report, page = run(TAMPERED)
    assert report["alarm"] is True
    assert {f"sources.{SOURCES[1]}", "labels.spam"} <= report["alarms"].keys()
    assert report["rows"] == 400
    assert caplog.messages[-1].startswith("poisoning: 400 new messages: alarm: ")
    assert [text for text in TAMPERED["text"] if text in page]
    assert not [text for text in TAMPERED["text"] if text in json.dumps(report)]


@pytest.mark.parametrize(
    ("new", "counts"),
    [
        (NEW[:50], "50 labelled messages, 10 of one label"),
        (NEW.assign(label="ham"), "400 labelled messages, 0 of one label"),
    ],
)
def test_too_few_labels_are_one_line(run, new, counts):
    needed = "but 100 (poisoning.fewest_rows) and 5 of each label are needed; add messages"
    assert error_of(run, new) == f"new.parquet: {counts}, {needed}"


# ---- the benchmark


@pytest.mark.slow
def test_tampered_draws_of_the_default_messages_alarm(sms_messages, monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = sms_messages.drop_duplicates("text", ignore_index=True)
    settings = ["nobody tampered", "10 % of a source's 500 labels flipped", "the same, 2 %"]
    clean, flipped, rival = alarms_by_setting(0, rows, settings).values()
    assert clean == []
    assert "sources" in flipped
    assert "terms" in rival
