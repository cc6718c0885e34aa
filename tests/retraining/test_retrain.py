"""`decide` tells errors in the data from all others, and what it decides by its exit code."""

import subprocess

import pytest

from pipeline.core.files import read_json, write_json
from pipeline.retraining import retrain
from pipeline.retraining.triggers import Answer, RetrainingDecision
from tests.harness.errors import error_of
from tests.harness.small_project import commit_all


@pytest.fixture
def fetched(monkeypatch):
    """Nothing is fetched; returns what sets the errors of `dvc repro validate`."""
    monkeypatch.setattr(retrain.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 0))
    return lambda *errors: monkeypatch.setattr(retrain, "run_repro", lambda _: [*errors])


DATA_ERRORS = [
    "data/inbox/a.csv: row 91: 1 columns, not 2; correct the row",
    "data/ingested/messages.parquet: label_is_known: 4 of 94 rows (4.3 %) break it",
    ".downloads/a1: '../data.csv': leads out of the archive",
]


@pytest.mark.parametrize("errors", [DATA_ERRORS, []])
def test_errors_in_the_data_are_returned(fetched, errors):
    fetched(*errors)
    assert retrain.prepare_data() == errors


@pytest.mark.parametrize(
    "line",
    [
        "params.yaml: ingest.sources: unknown 'smss'; choose from files, sms",
        "data/sources.lock.json: missing; `git checkout data/sources.lock.json`",
        "data/ingested/messages.parquet: No space left on device; free space",
    ],
)
def test_other_errors_stop_the_decision(fetched, line):
    fetched(*DATA_ERRORS, line)
    assert error_of(retrain.prepare_data) == f"{line}; nothing was decided"


def test_failed_fetch_stops_the_decision(monkeypatch):
    monkeypatch.setattr(retrain.subprocess, "run", lambda *_: subprocess.CompletedProcess([], 1))
    line = "retrain: a source could not be fetched, see the error above; nothing was decided"
    assert error_of(retrain.prepare_data) == line


@pytest.mark.slow
def test_lines_with_error_are_what_dvc_repro_returns(repository, tmp_path):
    repository("dvc", "init", "--quiet")

    def validate(command):  # JSON is YAML
        write_json(tmp_path / "dvc.yaml", {"stages": {"validate": {"cmd": command}}})
        return retrain.run_repro("validate")

    assert validate("echo 'error: row 91 is torn' >&2; exit 1") == ["row 91 is torn"]
    assert validate("echo 'error: none' >&2") == []
    line = "retrain: `dvc repro` failed, see its output above"
    assert error_of(validate, "exit 1") == line
    (tmp_path / ".dvc/tmp/rwlock").write_text("")  # as a kill may leave it
    assert validate("true") == []
    (tmp_path / "dvc.yaml").write_text("{")
    assert error_of(retrain.run_retraining, dry_run=True).startswith("retrain: `dvc repro --dry`: ")


def test_lines_of_dvc_are_cleaned(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    line = r"error: a\xff\x1b[2J: https://h/x?sig=s3cret\n"
    program = f"import sys\nsys.stderr.buffer.write(b'{line}')\nsys.exit(1)\n"
    (tmp_path / "dvc.py").write_text(program)  # `python -m dvc` takes it from here
    cleaned = r"a\xff\x1b[2J: https://h/x?sig=***"
    assert retrain.run_repro("validate") == [cleaned]
    assert capsys.readouterr().err == f"error: {cleaned}\n"


def test_unpublished_commits_are_not_retrained(repository, monkeypatch):
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    commit_all(repository, "Not ready")
    assert "origin's main lacks commits of this clone" in error_of(retrain.run_retraining, False)


def test_failed_retraining_is_one_line(repository, tmp_path, monkeypatch):
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    (tmp_path / "dvc.py").write_text("import sys\nsys.exit('error: row 91 is torn')\n")
    line = "retrain: nothing was retrained: row 91 is torn"
    assert error_of(retrain.run_retraining, dry_run=False) == line


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
