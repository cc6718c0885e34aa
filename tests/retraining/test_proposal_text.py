"""The text of a proposal: what would change, with figures and params before and after."""

import subprocess

import pytest

from pipeline.core.params import PARAMS_FILE
from pipeline.core.reports import write_report
from pipeline.retraining import proposal_text, retrain
from tests.harness.ledger_entries import FIRST, SECOND
from tests.harness.small_project import ROOT, init_repository, set_params


@pytest.fixture
def report(tmp_path, monkeypatch):
    """A folder with the report of the decision; DVC finds no difference."""
    monkeypatch.chdir(tmp_path)
    same = subprocess.CompletedProcess([], 0, stdout="")
    monkeypatch.setattr(proposal_text, "run_dvc", lambda *_: same)
    write_report(retrain.REPORT, 300, {}, "retraining: 300 new rows")


@pytest.mark.parametrize(
    ("winner", "consequence"),
    [
        (SECOND, f"Merge this to make version {SECOND.version} the champion, or close it."),
        (None, "The champion stays. There is nothing to merge."),
    ],
)
def test_body_tells_verdict_reason_and_consequence(report, winner, consequence):
    body = proposal_text.body_text("promote: better", winner, FIRST)
    assert body == f"**promote: better**\n\nretraining: 300 new rows\n\n{consequence}"


@pytest.mark.slow
def test_diff_table_compares_params_with_a_commit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (PARAMS_FILE.name, "dvc.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    run = init_repository(tmp_path)
    run("dvc", "init", "--quiet")
    assert proposal_text.diff_table("params", "HEAD") == ""
    set_params(tmp_path, {"train": {"units": 7}})
    head, _, row = proposal_text.diff_table("params", "HEAD").splitlines()
    assert [cell.strip() for cell in head.split("|")] == ["", "Param", "before", "now", ""]
    assert [cell.strip() for cell in row.split("|")] == ["", "train.units", "32", "7", ""]
