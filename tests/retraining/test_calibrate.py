"""A stream of one's own gets a threshold from labelled messages, without training."""

import csv
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline.core.files import read_json, write_json
from pipeline.core.reports import write_report
from pipeline.retraining import calibrate
from tests.harness.errors import error_of
from tests.harness.small_project import MESSAGES, SMALL, set_params

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
        ((8, 19), "mail", f"labelled.csv: {BUDGET}; raise it to 0.1112, or bring more ham"),
        ((9, 0), "mail", "labelled.csv: has no spam; bring more labelled messages"),
        ((9, 18), "mail", "labelled.csv: has 18 spam; 19 are needed"),
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
def test_file_replaces_the_one_before_unless_the_run_fails(monkeypatch):
    monkeypatch.setattr(calibrate, "run_repro", lambda: ["evaluate: val has no ham"])
    monkeypatch.setattr(calibrate, "check_project", lambda: None)
    write("labelled.csv", 3, 19)
    inbox = calibrate.CALIBRATION_INBOX
    inbox.mkdir(parents=True)
    (inbox / "chat.jsonl").write_text("{}")
    line = error_of(calibrate.main, ["labelled.csv", "--source", "chat"])
    assert line == f"calibrate: nothing was changed in {inbox}: evaluate: val has no ham"
    assert [path.read_text() for path in inbox.iterdir()] == ["{}"]

    def repro():
        assert [path.name for path in inbox.iterdir()] == ["chat.csv"]
        assert (inbox / "chat.csv").read_bytes() == Path("labelled.csv").read_bytes()
        counts = {"ham_lost": 0, "ham": 3, "lost_ham_upper": 0.6, "spam_caught": 19, "spam": 19}
        write_json(Path("models/decision.json"), {"sources": {"chat": counts}})
        write_report(Path("reports/register.json"), 1, {}, "tie: no difference")
        return []

    monkeypatch.setattr(calibrate, "run_repro", repro)
    line = error_of(calibrate.main, ["labelled.csv", "--source", "chat"])
    assert line == "calibrate: the threshold does not serve: tie: no difference"


@pytest.mark.slow
def test_stream_gets_a_threshold_and_a_version_without_training(copied):
    folder, run = copied
    (folder / "chat.csv").write_bytes(MESSAGES.read_bytes())
    command = ("python", "-m", "pipeline", "calibrate", "chat.csv", "--source", "chat")
    epochs = SMALL["train"]["epochs"]
    set_params(folder, {"train": {"epochs": epochs + 1}})
    refused = run(*command, check=False)
    assert refused.stderr.endswith(" has work to do first; run `make repro`, then this again\n")
    set_params(folder, {"train": {"epochs": epochs}})
    network = (folder / "models" / "model.keras").read_bytes()
    done = run(*command)
    assert "Running stage 'train'" not in done.stdout
    decision = read_json(folder / "models" / "decision.json")["sources"]["chat"]
    assert (decision["ham"], decision["spam"], decision["lost_ham_budget"]) == (60, 30, 0.1)
    assert "calibrate: chat: 5 of 60 ham are labelled spam" in done.stderr
    assert (folder / "models" / "model.keras").read_bytes() == network
    assert "calibrate: calibrated: the champion's network, with another thr" in done.stderr
    answer = run("python", "-m", "pipeline", "score", "chat.csv", "-", "--text", "body")
    named = ("--text", "body", "--source", "chat")
    of_chat = run("python", "-m", "pipeline", "score", "chat.csv", "-", *named)
    assert f'"threshold": {decision["threshold"]}' in of_chat.stdout
    assert f'"threshold": {decision["threshold"]}' not in answer.stdout
