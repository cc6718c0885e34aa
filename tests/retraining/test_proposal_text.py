"""A proposal shows params before and after; test_pull_requests.py tests the rest of its text."""

import pytest

from pipeline.retraining import proposal_text
from tests.harness.small_project import set_params


@pytest.mark.slow
def test_diff_table_compares_params_with_a_commit(repository, tmp_path):
    repository("dvc", "init", "--quiet")
    assert proposal_text.diff_table("params", "HEAD") == ""
    set_params(tmp_path, {"train": {"units": 7}})
    head, _, row = proposal_text.diff_table("params", "HEAD").splitlines()
    assert [cell.strip() for cell in head.split("|")] == ["", "Param", "before", "now", ""]
    assert [cell.strip() for cell in row.split("|")] == ["", "train.units", "32", "7", ""]
