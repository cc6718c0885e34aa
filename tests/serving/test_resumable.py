"""An output appears when it is complete, and no kill loses or repeats a row."""

import os
import signal
import sys
from contextlib import suppress

import pytest
from filelock import FileLock

from pipeline.serving import resumable
from tests.harness.errors import error_of

ROWS = [f"row {number}\n" for number in range(1, 6)]


@pytest.fixture
def output(tmp_path):
    return tmp_path / "made here" / "out.csv"


def joined(path, files):
    path.write_text("".join(part.read_text() for part in files))


def add(output, row, text=None):
    with resumable.writing_part(output, resumable.part_path(output, row)) as path:
        path.write_text(text or ROWS[row - 1])


def make(output):
    """Makes an output of five parts, or what is missing of it."""
    with resumable.exclusive_output(output):
        if not resumable.read_run(output):
            resumable.start_run(output, {"n": 1})
        for row in range(resumable.finished_rows(output) + 1, len(ROWS) + 1):
            add(output, row)
        resumable.join_parts(output, joined)


def made(output):
    """The content of the output, and the names of all files beside it."""
    return output.read_text(), [path.name for path in output.parent.iterdir()]


def state(output):
    """The record of the run, the contents of its parts and the number of finished rows."""
    parts = [path.read_text() for path in resumable.part_files(output)]
    return resumable.read_run(output), parts, resumable.finished_rows(output)


WHOLE = "".join(ROWS), ["out.csv"]
STEPS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}  # Python's names for file work


def killed_before(step, output):
    """Whether making it came to this step, with a SIGKILL before it."""
    child = os.fork()
    if not child:
        steps = iter(range(step))

        def count(event, arguments):
            if event in STEPS and next(steps, None) is None:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(count)
            make(output)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.slow
def test_kill_before_any_step_loses_no_row(output):
    step = 0
    while killed_before(step, output):
        assert not output.exists() or output.read_text() == WHOLE[0], step
        make(output)
        assert made(output) == WHOLE, step
        output.unlink()
        step += 1
    assert step > 30
    assert made(output) == WHOLE


@pytest.fixture
def started(output):
    """The output of a run that has finished one row."""
    with resumable.exclusive_output(output):
        resumable.start_run(output, {"n": 1})
        add(output, 1)
        yield output


def test_interrupted_run_keeps_its_complete_parts(started):
    second = resumable.part_path(started, 2)
    with suppress(KeyboardInterrupt), resumable.writing_part(started, second) as path:
        path.write_text("half of a ro")
        raise KeyboardInterrupt
    assert state(started) == ({"n": 1}, ROWS[:1], 1)


def test_parts_are_in_the_order_of_their_rows(started):
    for row in (9, 10, 1_000_000):
        add(started, row, str(row))
    assert state(started)[1:] == ([ROWS[0], "9", "10", "1000000"], 1_000_000)


def test_parts_need_a_record_that_can_be_read(started):
    record = resumable.parts_folder(started) / "run.json"
    record.write_text("{")
    line = error_of(resumable.read_run, started)
    assert line.endswith(f"; remove {resumable.parts_folder(started)} to start again")
    record.unlink()
    assert state(started) == ({}, [], 0)


def test_second_process_is_refused(output, tmp_path):
    output.parent.mkdir()
    with FileLock(output.parent / ".out.csv.lock"):
        line = error_of(resumable.exclusive_output(output).__enter__)
        assert line == f"{output}: another run is writing it; wait for it, or name another output"
        with resumable.exclusive_output(tmp_path / "other.csv"):
            pass


def test_folder_in_place_of_the_output_is_refused(output):
    output.mkdir(parents=True)
    line = error_of(resumable.exclusive_output(output).__enter__)
    assert line == f"{output}: Is a directory; move it out of the way, then run it again"
    assert [path.name for path in output.parent.iterdir()] == ["out.csv"]
