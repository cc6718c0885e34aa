"""pipeline/tracking/runs.py"""

import pytest

from pipeline.tracking import runs


@pytest.mark.slow
def test_runs_are_found_by_tags_and_status_newest_first(store):
    named = {"first": "a", "second": "a", "other": "b"}
    first, second, other = (runs.create_run(store, x, {"study": named[x]}) for x in named)
    store.set_terminated(first.info.run_id, "FINISHED")
    names = [run.info.run_name for run in runs.find_runs(store, study="a")]
    assert names == ["second", "first"]
    assert runs.find_run(store, study="a", status="FINISHED").info.run_id == first.info.run_id
    assert runs.find_run(store, study="c") is None
    runs.close_killed_runs(store, keep=second)
    assert [run.info.run_id for run in runs.open_runs(store)] == [second.info.run_id]
    assert store.get_run(other.info.run_id).info.status == "KILLED"
