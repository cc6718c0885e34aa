"""pipeline/tracking/tuning_runs.py"""

import pytest

from pipeline.tracking.tuning_runs import TuningTrial, log_tuning_trials


@pytest.mark.slow
def test_trials_are_children_of_the_search_and_logged_once(tracked):
    trials = [TuningTrial(params={"units": units}, figures={"f1": units / 10}) for units in (8, 9)]
    log_tuning_trials("study", trials[:1])
    log_tuning_trials("study", trials)
    runs = {run.info.run_name: run for run in tracked.runs()}
    assert sorted(runs) == ["trial 1", "trial 2", "tune"]
    assert tracked.statuses() == ["FINISHED"] * 3
    second = runs["trial 2"].data
    assert second.tags["mlflow.parentRunId"] == runs["tune"].info.run_id
    assert (second.params, second.metrics) == ({"train.units": "9"}, {"val/f1": 0.9})
    first_id = runs["trial 1"].info.run_id
    assert len(tracked.store.get_metric_history(first_id, "val/f1")) == 1
