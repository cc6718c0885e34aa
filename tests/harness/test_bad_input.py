"""Bad input and a full disk end in one line, and change nothing but what their case names."""

import subprocess

import pytest
from filelock import FileLock

from pipeline.core.cli import STAGE_LOCK
from tests.harness import bad_input, sandbox
from tests.harness.bad_input import CASES, DVC_CASES, FOLDER, FULL_DISKS, INBOX, Case
from tests.harness.mlflow_store import store_at
from tests.harness.small_project import environment, runner

pytestmark = pytest.mark.slow


@pytest.fixture
def try_case(project, tmp_path):
    """Tries a case in a copy of the project. Returns what differs from the case."""
    with store_at("", tmp_path):
        yield lambda case: bad_input.flaws(case, project[0], tmp_path / FOLDER)


@pytest.mark.parametrize("case", [*CASES, *DVC_CASES], ids=str)
def test_bad_input_ends_as_its_case_says(try_case, case):
    assert try_case(case) == []


@pytest.mark.parametrize("case", FULL_DISKS, ids=str)
@pytest.mark.skipif(not sandbox.may_mount(), reason="no disks of our own on this machine")
def test_full_disk_ends_as_its_case_says(try_case, case):
    assert try_case(case) == []


def test_second_dvc_repro_is_refused(project, tmp_path):
    """The first one ends well."""
    subprocess.run(["cp", "-a", project[0], tmp_path / FOLDER], check=True)
    command = ["dvc", "repro", "--force", "--single-item", "ingest"]
    with FileLock(tmp_path / FOLDER / STAGE_LOCK):  # for which the stage of the first one waits
        first = subprocess.Popen(
            command, cwd=tmp_path / FOLDER, env=environment(), stdout=subprocess.PIPE, text=True
        )
        while not first.stdout.readline().startswith("Running stage"):
            assert first.poll() is None
        second = runner(tmp_path / FOLDER)(*command, check=False)
    first.communicate()
    assert (first.returncode, second.returncode) == (0, 255)
    assert "reports/ingest.json' is busy, it is being blocked by:" in second.stderr


# ---- the check itself

ROW = f"error: {INBOX}: row 91: 1 columns, not 2; correct the row"
RAGGED = bad_input.append(INBOX, "0")
NEW = bad_input.append(INBOX, "0,new")
INGESTED = "changed: data/ingested/messages.parquet, reports/ingest.json"


@pytest.mark.parametrize(
    ("case", "flaw"),
    [
        (Case("", "ingest", RAGGED, ROW.replace("91", "90")), f"logs {ROW}"),
        (Case("", "ingest", RAGGED, f"first\n{ROW}"), f"logs {ROW}"),
        (Case("", "ingest", RAGGED, ROW, fails=False), "fails: True"),
        (Case("", "ingest", RAGGED, ROW, reason="text_decodes"), "in quarantine: set()"),
        (Case("", "ingest", NEW, "ingest: 91 …", fails=False), INGESTED),
        (Case("", "echo > .ingest.json.77.tmp # dvc", RAGGED, "", False), "temporary files"),
        (Case("", "rm mlflow.db # dvc", RAGGED, "", False), "the registry changed"),
    ],
)
def test_difference_from_a_case_is_reported(try_case, case, flaw):
    assert try_case(case)[0].startswith(flaw)
