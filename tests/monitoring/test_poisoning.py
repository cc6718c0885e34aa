"""The poisoning command finds tampered labels with a model, and writes both reports."""

import json
import random
import shutil

import numpy as np
import pandas as pd
import pytest

from benchmarks.poisoning import SOURCES, alarms_by_setting, flip_labels, table_row
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.tables import write_csv
from pipeline.monitoring import poisoning
from pipeline.monitoring.poisoning_checks import Params, check_labels
from pipeline.registry import versions
from tests.harness.small_project import ROOT

PARAMS = read_params(Params, "poisoning", ROOT / "params.yaml")
WORDS = {
    "ham": "lunch home later see you love walk dog rain bus work tea soon kids mum",
    "spam": "prize win claim cash txt free call urgent offer award code reply mobile",
}


def messages(rows, seed):
    """Messages of two sources whose words depend on the label; a fifth is spam."""
    rng = random.Random(seed)
    labels = ["spam" if i % 5 == 0 else "ham" for i in range(rows)]
    texts = [" ".join(rng.choices(WORDS[label].split(), k=7)) for label in labels]
    source = np.repeat(SOURCES, rows // 2)
    return pd.DataFrame({"text": texts, "label": labels, "source": source, "row": range(rows)})


def alarms(reference, new):
    checks = check_labels(poisoning.dispute_by_reference(reference, new), PARAMS)
    return {check.name for check in checks if check.alarm}


def test_a_model_of_the_reference_finds_flipped_labels():
    reference, new = messages(400, seed=1), messages(400, seed=2)
    assert alarms(reference, new) == set()
    tampered = flip_labels(0.15)(new, np.random.default_rng(1))
    assert {f"sources.{SOURCES[1]}", "labels.spam"} <= alarms(reference, tampered)


def test_the_champion_disputes_labels_with_its_error_on_test(tmp_path, monkeypatch):
    class Champion:
        def predict(self, table):
            labels = ["ham" if "lunch" in text else "spam" for text in table["text"]]
            return pd.DataFrame({"label": labels})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(versions, "load_champion", lambda: (Champion(), "3"))
    rows = [("ham", "spam"), ("ham", "ham")]
    write_csv(poisoning.CONFUSION_FILE, ("actual", "predicted"), rows)
    texts, labels = ["lunch", "lunch", "win"], ["ham", "spam", "spam"]
    new = pd.DataFrame({"text": texts, "label": labels, "source": "x"})
    result = poisoning.dispute_by_champion(new)
    assert result.disputed.tolist() == [False, True, False]
    assert result.known_spam.tolist() == [False, False]
    assert result.known_disputed.tolist() == [True, False]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs the command on two tables. Returns the JSON report and the page."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")

    def run(reference, new):
        reference.to_csv("reference.csv", index=False)
        new.to_csv("new.csv", index=False)
        poisoning.main(["reference.csv", "new.csv", "--output", "out"])
        report = json.loads((tmp_path / "out" / "poisoning.json").read_text())
        return report, (tmp_path / "out" / "poisoning.html").read_text()

    return run


def test_the_reports_name_the_alarm_and_only_the_page_has_messages(run, caplog):
    caplog.set_level("INFO")
    new = messages(300, seed=2)
    new.loc[new.index[1:40:2], "label"] = "spam"
    report, page = run(messages(400, seed=1), new)
    assert report["alarm"] is True
    assert "labels.spam" in report["alarms"]
    assert report["rows"] == 300
    assert caplog.messages[-1].startswith("poisoning: 300 new messages: alarm: ")
    assert new.loc[1, "text"] in page
    assert new.loc[1, "text"] not in json.dumps(report)


@pytest.mark.parametrize(
    ("new", "counts"),
    [
        (messages(50, seed=2), "50 labelled messages, 10 of one label"),
        (messages(200, seed=2).assign(label="ham"), "200 labelled messages, 0 of one label"),
    ],
)
def test_too_few_labels_are_one_line(run, new, counts):
    needed = r"but 100 \(poisoning.fewest_rows\) and 5 of each label are needed; add messages"
    with pytest.raises(PipelineError, match=f"^new.csv: {counts}, {needed}$"):
        run(messages(400, seed=1), new)


# ---- the benchmark


def test_a_row_of_the_table_counts_a_check_once_per_draw():
    row = "| flipped | 2 | 1 | 50% (1% to 99%) | labels 1 |"
    assert table_row("flipped", [["labels", "labels"], []]) == row


@pytest.mark.slow
def test_tampered_draws_of_the_default_messages_alarm(sms_messages, monkeypatch):
    monkeypatch.chdir(ROOT)
    rows = sms_messages.drop_duplicates("text", ignore_index=True)
    settings = ["nobody tampered", "10 % of a source's 500 labels flipped", "the same, 2 %"]
    clean, flipped, rival = alarms_by_setting(0, rows, settings).values()
    assert clean == []
    assert "sources" in flipped
    assert "terms" in rival
