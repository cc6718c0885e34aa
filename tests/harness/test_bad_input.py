"""Bad input and a full disk end in one line, and change nothing but what their case names."""

import importlib
import logging
import re
import shutil
import sqlite3
import subprocess
from contextlib import chdir, closing
from dataclasses import replace
from functools import partial

import pyarrow.parquet as pq
import pytest

from pipeline import train  # noqa: F401 # TensorFlow sets its threads before it computes
from pipeline.core.cli import RESTORE_HINT, run_stage
from tests.harness import bad_input
from tests.harness.bad_input import CASES, DVC_CASES, FULL_DISKS, INBOX, Case
from tests.harness.mlflow_store import store_at
from tests.harness.small_project import STAGES, environment, output_bytes

pytestmark = pytest.mark.slow


@pytest.fixture
def try_case(project, tmp_path, caplog):
    """Tries a case in a copy of the project, and compares what comes of it."""
    folder = tmp_path / "a ströng's project"
    shutil.copytree(project[0], folder, symlinks=True)
    caplog.set_level(logging.INFO, logger="pipeline")

    def try_case(case):
        case.change(folder)
        before, models = output_bytes(folder), registered(folder)
        in_process = set(case.runs.split()) <= set(STAGES)
        fails, log = run_stages(case, folder, caplog) if in_process else run_in_shell(case, folder)
        assert fails == ("error: " in case.line), log
        compare_log(log, case.line)
        if case.reasons:
            quarantined = pq.read_table(folder / "data/review/quarantine.parquet")
            assert set(quarantined["reasons"].to_pylist()) == case.reasons
        if RESTORE_HINT in case.line:
            run_in_shell(replace(case, runs=RESTORE_HINT.partition(": ")[2]), folder)
        now = output_bytes(folder)
        changed = [name for name in now | before if now.get(name) != before.get(name)]
        assert [name for name in changed if not name.startswith(case.changed)] == []
        assert registered(folder) == models
        assert list(folder.rglob(".*.tmp")) == []

    with store_at("", tmp_path):
        yield try_case


def run_stages(case, folder, caplog):
    """Runs stages in this process. Returns whether one failed, and the log."""
    with chdir(folder):
        for stage in case.runs.split():
            main = importlib.import_module(f"pipeline.{stage}").main
            try:
                run_stage(partial(main, STAGES[stage].split()[3:]))
            except SystemExit as stopped:
                return True, "\n".join([*caplog.messages, stopped.code])
    return False, "\n".join(caplog.messages)


def run_in_shell(case, folder):
    """Runs a line in a shell. Returns whether it failed, and its standard error."""
    command = ["sh", "-c", case.runs]
    variables = environment() | case.variables
    env = {name: value for name, value in variables.items() if value is not None}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    return done.returncode != 0, done.stderr


def compare_log(log, expected):
    """The log ends with the expected lines, and has no other error and no traceback."""
    lines = [line for line in log.splitlines() if line and not re.fullmatch(r"\d+\.\d s", line)]
    start = len(lines) - len(expected.splitlines())
    pattern = ".*".join(map(re.escape, expected.split("…")))
    assert re.fullmatch(pattern, "\n".join(lines[start:]))
    assert not [line for line in lines[:start] if line.startswith(("error", "Traceback"))]


def registered(folder):
    """All versions and aliases in the registry."""
    with closing(sqlite3.connect(folder / "mlflow.db")) as database:
        versions = database.execute("SELECT name, version, source FROM model_versions")
        return [*versions, *database.execute("SELECT * FROM registered_model_aliases")]


@pytest.mark.parametrize("case", [*CASES, *FULL_DISKS, *DVC_CASES], ids=str)
def test_bad_input_ends_as_its_case_says(try_case, case):
    try_case(case)


# ---- the check itself

ROW = f"error: {INBOX}: row 91: 1 columns, not 2; correct the row"
RAGGED = bad_input.append(INBOX, b"0")
NEW = bad_input.append(INBOX, b"0,new")


@pytest.mark.parametrize(
    ("case", "difference"),
    [
        (Case("", "collect ingest", RAGGED, ROW.replace("91", "90")), "row 91"),
        (Case("", "collect ingest", RAGGED, "ingest: …"), "row 91"),
        (Case("", "collect ingest", NEW, "ingest: 91 …"), "data/inbox.lock.json"),
        (Case("", "touch .ingest.json.77.tmp", RAGGED, ""), "ingest.json.77.tmp"),
        (Case("", "rm mlflow.db", RAGGED, ""), "no such table"),
    ],
)
def test_difference_from_a_case_is_noticed(try_case, case, difference):
    with pytest.raises((AssertionError, sqlite3.Error), match=difference):
        try_case(case)
