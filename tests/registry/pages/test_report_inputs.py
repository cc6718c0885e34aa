"""The page reads what the stages wrote, and no verdict on another evaluation."""

import json
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.reports import Figure, read_report, write_report
from pipeline.core.schemas import MISTAKES
from pipeline.core.tables import write_csv, write_parquet
from pipeline.registry.pages.report_inputs import read_inputs, register_paths
from tests.harness.small_project import ROOT, set_params

F1 = {"f1": Figure(0.8, 0.7, 0.9, 40)}
REPORTS = Path("reports")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A project with a report of evaluate, whose only criterion is F1."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    set_params(tmp_path, {"register": {"criteria": {"f1": {"min": 0.5}}}})
    write_report(REPORTS / "evaluate.json", 40, F1, "f1 0.800")
    return tmp_path


def decided(figures=F1, rows=40):
    """The report of register on an evaluation with these figures."""
    write_report(REPORTS / "register.json", rows, figures, "first: it meets the criteria")
    return read_report(REPORTS / "register.json")


def test_reports_that_exist_are_read_in_the_order_of_the_stages():
    for name in ("train", "ingest", "retrain"):
        write_report(REPORTS / f"{name}.json", 3, {}, name)
    assert list(read_inputs(REPORTS, None).reports) == ["ingest", "train", "evaluate", "retrain"]


def test_evaluation_is_needed():
    (REPORTS / "evaluate.json").unlink()
    with pytest.raises(PipelineError, match=r"^reports/evaluate.json: missing; make it with "):
        read_inputs(REPORTS, None)


def test_verdict_on_this_evaluation_counts():
    assert read_inputs(REPORTS, decided()).decision["verdict"] == "first: it meets the criteria"


@pytest.mark.parametrize("other", [{"figures": {"f1": Figure(0.7, 0.6, 0.8, 40)}}, {"rows": 41}])
def test_verdict_on_another_evaluation_does_not(other):
    assert read_inputs(REPORTS, decided(**other)).decision is None


def test_confusion_counts_true_and_predicted_labels():
    pairs = [("spam", "spam"), ("spam", "spam"), ("ham", "spam"), ("ham", "ham")]
    write_csv(REPORTS / "plots" / "confusion.csv", ("predicted", "actual"), pairs)
    assert read_inputs(REPORTS, None).confusion == {
        ("ham", "ham"): 1,
        ("ham", "spam"): 0,
        ("spam", "ham"): 1,
        ("spam", "spam"): 2,
    }


def test_mistakes_have_no_text_and_are_wrong(folder):
    message = {"message_id": "1", "text": "secret", "label": "ham", "source": "sms", "row": 1}
    rows = [
        {**message, "probability": 0.9, "wrong": True},
        {**message, "probability": 0.1, "wrong": False},
    ]
    table = pa.Table.from_pylist(rows, MISTAKES)
    path = folder / "data" / "review" / "mistakes.parquet"
    write_parquet(path, table.to_batches(), MISTAKES)
    (mistake,) = read_inputs(REPORTS, None).mistakes
    assert mistake["probability"] == 0.9
    assert "secret" not in json.dumps(mistake)


def test_params_hash_is_that_of_the_models_sections(folder):
    before = read_inputs(REPORTS, None).params_hash
    set_params(folder, {"register": {"fewest_rows": 7}})
    assert read_inputs(REPORTS, None).params_hash == before
    set_params(folder, {"train": {"units": 7}})
    assert read_inputs(REPORTS, None).params_hash != before


def test_paths_of_register_are_those_of_dvc_yaml(monkeypatch):
    monkeypatch.chdir(ROOT)
    paths = register_paths()
    assert paths["--evaluation"] == Path("reports/evaluate.json")
    assert paths["--network"] == Path("models/model.keras")
