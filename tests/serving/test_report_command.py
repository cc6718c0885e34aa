"""`python -m pipeline report` writes the page anew, and a private one with texts on request."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.core.files import read_json, write_json
from pipeline.core.reports import Figure, write_report
from pipeline.core.schemas import MISTAKES
from pipeline.core.tables import write_parquet
from pipeline.serving.report_command import main
from tests.harness.errors import error_of
from tests.harness.evaluated_project import REGISTER_ARGUMENTS, Project

PAGE, PRIVATE = Path("reports/report.html"), Path("data/review/report.html")
TEXT = "call me about the receipts"


@pytest.fixture
def project(store, tmp_path):
    """An evaluated model with one mistake; dvc.yaml has the command of register."""
    project = Project(tmp_path, store)
    command = " ".join(["python -m pipeline.register", *REGISTER_ARGUMENTS])
    dvc_file = read_json(Path("dvc.yaml"))
    write_json(Path("dvc.yaml"), dvc_file | {"stages": {"register": {"cmd": command}}})
    row = {"message_id": "1" * 32, "text": TEXT, "label": "ham", "source": "sms", "row": 1}
    mistakes = pa.Table.from_pylist([{**row, "probability": 0.9, "wrong": True}], MISTAKES)
    write_parquet(PRIVATE.with_name("mistakes.parquet"), mistakes.to_batches(), MISTAKES)
    return project


def private_pages(project):
    run = project.runs()[-1]
    return [file.path for file in project.store.list_artifacts(run.info.run_id, "private")]


def test_page_is_the_one_of_register(project):
    project.register()
    written = PAGE.read_bytes()
    PAGE.unlink()
    main([])
    assert PAGE.read_bytes() == written
    assert TEXT.encode() not in written


def test_new_evaluation_is_not_decided(project, caplog):
    project.register()
    write_report(Path("reports/evaluate.json"), 13, {"f1": Figure(0.7, n=40)}, "f1 0.700")
    main([])
    assert "report: register has not run for this model; run `dvc repro`" in caplog.messages
    assert "<p>Not decided: register has not run" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_private_page_has_the_texts_and_is_not_logged(project):
    project.register()
    before = PAGE.read_bytes()
    main(["--private"])
    page = PRIVATE.read_text(encoding="utf-8")
    assert all(word in page for word in TEXT.split())
    assert PAGE.read_bytes() == before
    assert private_pages(project) == []


@pytest.mark.slow
def test_private_page_is_logged_on_request(project):
    project.register()
    main(["--private", "--log"])
    assert private_pages(project) == ["private/report.html"]


@pytest.mark.slow
def test_private_page_has_the_last_drift_and_the_version(project):
    project.register()
    write_json(PRIVATE.with_name("drift.json"), {"verdict": "alarm: length"})
    main(["--private"])
    page = PRIVATE.read_text(encoding="utf-8")
    assert "<p>Drift: alarm: length.</p>" in page
    assert "<tr><td>Version</td><td>1</td></tr>" in page


def test_log_without_private_is_refused(project):
    line = "report: --log attaches the private page; add --private"
    assert error_of(main, ["--log"]) == line


def test_unregistered_model_has_no_private_page(project):
    line = "report: this model is not registered yet; run `dvc repro`"
    assert error_of(main, ["--private"]) == line
    assert not PRIVATE.exists()


def test_missing_model_is_one_line(project):
    Path("model.keras").unlink()
    assert error_of(main, []) == "model.keras: missing; make it with `dvc repro` or `dvc pull`"
