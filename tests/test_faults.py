"""A killed `dvc repro` is made good by the next one: the short form of benchmarks/faults.py."""

from collections import Counter

import pytest

from benchmarks import faults
from benchmarks.faults import STAGES, VICTIMS, WEIGHTS, Kill, kills


@pytest.mark.parametrize("number", [9, 25, 100])
def test_kills_are_spread_over_stages_moments_and_victims(number):
    planned = kills(number)
    assert len(planned) == number
    per_stage = Counter(kill.stage for kill in planned)
    assert set(per_stage) <= {*STAGES, "between"}
    for stage, count in per_stage.items():
        assert abs(count - number * WEIGHTS[stage] / sum(WEIGHTS.values())) < 1
        parts = [kill.part for kill in planned if kill.stage == stage]
        assert parts == sorted(set(parts))
        assert 0 < parts[0] < parts[-1] + 1e-9 < 1
    assert max(Counter(kill.victim for kill in planned).values()) <= number / len(VICTIMS) + 1


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return faults.Project(tmp_path_factory.mktemp("faults"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "kill",
    [
        Kill("validate", 0.7, "dvc and its stage"),
        Kill("train", 0.8, "dvc and its stage"),
        Kill("train", 0.7, "dvc, the stage lives on"),
        Kill("between", 0.7, "dvc and its stage"),
        Kill("register", 0.4, "the stage"),
        Kill("register", 0.8, "dvc and its stage"),
    ],
    ids=lambda kill: f"{kill.stage} at {kill.part}, {kill.victim}",
)
def test_next_run_ends_as_if_nothing_had_happened(project, kill):
    assert faults.survives(project, kill) == []
