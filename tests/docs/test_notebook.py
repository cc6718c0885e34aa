"""The notebook of the docs runs from any folder, and holds no output."""

import nbformat
import pytest
from nbclient import NotebookClient

from pipeline.core.files import read_json
from tests.harness.small_project import ROOT

NOTEBOOK = ROOT / "docs" / "notebooks" / "first_look.ipynb"


@pytest.fixture(scope="module")
def cells():
    """The code cells as they are stored."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_stored_notebook_has_no_output(cells):
    assert [(cell.outputs, cell.execution_count) for cell in cells] == [([], None)] * len(cells)


def test_notebook_imports_nothing_of_ours(cells):
    assert [cell.source for cell in cells if "pipeline" in cell.source] == []


@pytest.mark.slow
@pytest.mark.parametrize("is_named_by", ["folder", "address"])
def test_notebook_runs_in_another_folder(is_named_by, project, tmp_path, monkeypatch):
    monkeypatch.setenv("SPAM_PROJECT", str(project[0] if is_named_by == "folder" else tmp_path))
    if is_named_by == "address":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project[0]}/mlflow.db")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, resources={"metadata": {"path": str(tmp_path)}}).execute()
    loaded, labelled, mistakes, runs, curves = [
        cell.outputs[-1].data for cell in notebook.cells if cell.cell_type == "code"
    ]
    assert loaded["text/plain"] == "'version 1'"
    assert "confident" in labelled["text/plain"]
    assert ("none here" in mistakes["text/plain"]) == (is_named_by == "address")
    f1 = read_json(project[0] / "reports" / "evaluate.json")["figures"]["f1"]["value"]
    assert f"{f1:.3f}".rstrip("0") in runs["text/plain"]
    assert "image/png" in curves
