"""`decide` tells errors in the data from all others, and what it decides by its exit code."""

import subprocess

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json, write_json
from pipeline.retraining import retrain
from pipeline.retraining.triggers import Answer, RetrainingDecision
from tests.harness.small_project import set_params


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("data/inbox/a.csv: row 91: 1 columns, not 2; correct the row", True),
        ("data/ingested/messages.parquet: label_is_known: 4 of 94 rows (4.3 %) break it", True),
        (".downloads/a1: '../data.csv': leads out of the archive", True),
        ("params.yaml: ingest.sources: unknown 'smss'; choose from files, sms", False),
        ("data/sources.lock.json: missing; `git checkout data/sources.lock.json`", False),
        ("data/ingested/messages.parquet: No space left on device; free space", False),
        ("data/inbox/a.csv: Permission denied; give permission, then run it again", False),
    ],
)
def test_errors_in_the_data_are_told_from_all_others(line, expected):
    assert retrain.is_data_error(line) is expected


@pytest.fixture
def fetched(monkeypatch):
    """Nothing is fetched; returns what sets the errors of `dvc repro validate`."""
    monkeypatch.setattr(retrain.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 0))
    return lambda errors: monkeypatch.setattr(retrain, "run_repro", lambda _: errors)


@pytest.mark.parametrize("errors", [["data/inbox/a.csv: row 91: torn"], []])
def test_errors_in_the_data_are_returned(fetched, errors):
    fetched(errors)
    assert retrain.prepare_data() == errors


def test_other_errors_stop_the_decision(fetched):
    fetched(["params.yaml: ingest: source: unknown key"])
    with pytest.raises(PipelineError, match=r"^params.yaml: .*: unknown key; nothing was decided$"):
        retrain.prepare_data()


def test_failed_fetch_stops_the_decision(monkeypatch):
    monkeypatch.setattr(retrain.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 1))
    with pytest.raises(PipelineError, match=r"^retrain: a source could not be fetched, .* decided"):
        retrain.prepare_data()


@pytest.mark.slow
def test_lines_with_error_are_what_dvc_repro_returns(repository, tmp_path):
    repository("dvc", "init", "--quiet")

    def validate(command):  # JSON is YAML
        write_json(tmp_path / "dvc.yaml", {"stages": {"validate": {"cmd": command}}})
        return retrain.run_repro("validate")

    assert validate("echo 'error: row 91 is torn' >&2; exit 1") == ["row 91 is torn"]
    assert validate("echo 'error: none' >&2") == []
    with pytest.raises(PipelineError, match=r"^retrain: `dvc repro` failed, see its output above$"):
        validate("exit 1")


def test_unpublished_commits_are_not_retrained(repository, tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    set_params(tmp_path, {"train": {"seed": 7}})
    with pytest.raises(PipelineError, match=r"^retrain: origin's main lacks commits of this clone"):
        retrain.run_retraining(dry_run=False)


@pytest.mark.parametrize(
    ("action", "code", "review"),
    [("retrain", 0, "no"), ("wait", 3, "no"), ("blocked", 4, "yes"), ("refused", 5, "yes")],
)
def test_decision_is_reported_to_people_and_programs(action, code, review, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    answers = {"new_rows": Answer(True, "300 new rows", 300), "first": Answer(False, "", 0.0)}
    retrain.report_decision(RetrainingDecision(action, "because", answers))
    report = read_json(retrain.REPORT)
    assert (report["rows"], report["verdict"]) == (300, "because")
    assert report["figures"]["exit_code"] == {"value": code}
    output = (tmp_path / "output").read_text()
    assert output == f"decision={action}\nreview={review}\nsentence=because\n"
    summary = (tmp_path / "summary").read_text()
    assert summary == "**because**\n\n| | |\n|---|---|\n| new_rows | 300 new rows |\n\n"


def test_help_of_decide_names_the_exit_codes(capsys):
    with pytest.raises(SystemExit):
        retrain.main(["decide", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert "0 retrain, 3 wait, 4 blocked, 5 refused, 1 an error" in text
