"""A stream of one's own gets a threshold from labelled messages, without training."""

import csv
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline.core.files import read_json
from pipeline.retraining import calibrate
from tests.harness.errors import error_of
from tests.harness.small_project import MESSAGES, new_project, set_params

FILES = {"columns": {"text": "body", "label": "kind"}, "labels": {"spam": [1], "ham": [0]}}
FILES |= {"glob": "*", "encoding": "utf-8"}


@pytest.fixture
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ingest = {"sources": ["files"], "on_broken_file": "stop", "files": FILES}
    budgets = {"lost_ham_budget": 0.1, "source_budgets": {"chat": 0.3}}
    ruamel.yaml.YAML().dump({"ingest": ingest, "evaluate": budgets}, Path("params.yaml"))


def write(name, ham, spam):
    rows = [(f"message {n}", int(n >= ham)) for n in range(ham + spam)]
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows([("body", "kind"), *rows, rows[0]])


BUDGET = "params.yaml: evaluate.lost_ham_budget: 0.1 needs 9 ham, there are 8"


@pytest.mark.parametrize(
    ("rows", "source", "line"),
    [
        ((8, 3), "mail", f"labelled.csv: {BUDGET}; raise it to 0.1112, or bring more ham"),
        ((9, 0), "mail", "labelled.csv: has no spam; bring more labelled messages"),
        ((9, 3), "files", "--source: 'files' is not a name of its own; use small letters, digits"),
        ((9, 3), "a/b", "--source: 'a/b' is not a name of its own; use small letters, digits"),
    ],
)
@pytest.mark.usefixtures("_project")
def test_messages_that_do_not_suffice_are_refused_before_anything_runs(rows, source, line):
    write("labelled.csv", *rows)
    assert error_of(calibrate.main, ["labelled.csv", "--source", source]).startswith(line)
    assert not Path("data").exists()


@pytest.mark.usefixtures("_project")
def test_file_is_kept_for_each_retraining_and_replaces_the_one_before(monkeypatch):
    monkeypatch.setattr(calibrate, "run_repro", lambda: ["evaluate: val has no ham"])
    write("labelled.csv", 3, 1)
    calibrate.CALIBRATION_INBOX.mkdir(parents=True)
    (calibrate.CALIBRATION_INBOX / "chat.jsonl").write_text("{}")
    line = error_of(calibrate.main, ["labelled.csv", "--source", "chat"])
    target = calibrate.CALIBRATION_INBOX / "chat.csv"
    assert line == f"calibrate: {target} is there, but: evaluate: val has no ham"
    assert target.read_bytes() == Path("labelled.csv").read_bytes()
    assert list(calibrate.CALIBRATION_INBOX.iterdir()) == [target]


@pytest.mark.slow
def test_stream_gets_a_threshold_and_a_version_without_training(tmp_path):
    run = new_project(tmp_path)
    run("dvc", "repro")
    network = (tmp_path / "models" / "model.keras").read_bytes()
    (tmp_path / "chat.csv").write_bytes(MESSAGES.read_bytes())
    set_params(tmp_path, {"evaluate": {"source_budgets": {"chat": 0.1}}})
    done = run("python", "-m", "pipeline", "calibrate", "chat.csv", "--source", "chat")
    assert "Running stage 'train'" not in done.stdout
    decision = read_json(tmp_path / "models" / "decision.json")["sources"]["chat"]
    assert (decision["ham"], decision["spam"], decision["lost_ham_budget"]) == (60, 30, 0.1)
    assert "calibrate: chat: 5 of 60 ham are labelled spam" in done.stderr
    assert (tmp_path / "models" / "model.keras").read_bytes() == network
    assert "calibrate: calibrated: the champion's network, with another thr" in done.stderr
    answer = run("python", "-m", "pipeline", "score", "chat.csv", "-", "--text", "body")
    named = ("--text", "body", "--source", "chat")
    of_chat = run("python", "-m", "pipeline", "score", "chat.csv", "-", *named)
    assert f'"threshold": {decision["threshold"]}' in of_chat.stdout
    assert f'"threshold": {decision["threshold"]}' not in answer.stdout
