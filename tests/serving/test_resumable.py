"""An output appears when it is complete, and no kill loses or repeats a row."""

import os
import re
import signal
import sys

import pytest
from filelock import FileLock

from pipeline.core.errors import PipelineError
from pipeline.serving import resumable

ROWS = [f"row {number}\n" for number in range(1, 6)]
STEPS = {
    "open",
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
}  # Python's names for what it does to files


@pytest.fixture
def output(tmp_path):
    return tmp_path / "made here" / "out.csv"


def joined(path, files):
    path.write_text("".join(part.read_text() for part in files))


def add(output, row):
    with resumable.writing_part(output, resumable.part_path(output, row)) as path:
        path.write_text(ROWS[row - 1])


def make(output):
    """An output of five parts, or what is missing of it."""
    with resumable.exclusive_output(output):
        if not resumable.read_run(output):
            resumable.start_run(output, {"n": 1})
        for row in range(resumable.finished_rows(output) + 1, len(ROWS) + 1):
            add(output, row)
        resumable.join_parts(output, joined)


def stop_amid(path):
    path.write_text("half of a ro")
    raise KeyboardInterrupt


def made(output):
    """What is there of it in the end."""
    return output.read_text(), [path.name for path in output.parent.iterdir()]


WHOLE = "".join(ROWS), ["out.csv"]


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


def test_parts_become_the_output_and_nothing_else_stays(output):
    make(output)
    assert made(output) == WHOLE


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


def test_interrupted_run_keeps_its_complete_parts(output):
    with resumable.exclusive_output(output):
        resumable.start_run(output, {"n": 1})
        assert (
            resumable.read_run(output),
            resumable.part_files(output),
            resumable.finished_rows(output),
        ) == ({"n": 1}, [], 0)
        for row in (1, 2):
            add(output, row)
        with (
            pytest.raises(KeyboardInterrupt),
            resumable.writing_part(output, resumable.part_path(output, 3)) as path,
        ):
            stop_amid(path)
    assert resumable.finished_rows(output) == 2
    assert [path.read_text() for path in resumable.part_files(output)] == ROWS[:2]


def test_new_run_removes_the_parts_of_another(output):
    with resumable.exclusive_output(output):
        resumable.start_run(output, {"n": 1})
        add(output, 1)
        resumable.start_run(output, {"n": 2})
        assert (resumable.read_run(output), resumable.finished_rows(output)) == ({"n": 2}, 0)


def test_parts_without_a_record_are_ignored(output):
    with resumable.exclusive_output(output):
        resumable.start_run(output, {"n": 1})
        add(output, 1)
        (resumable.parts_folder(output) / "run.json").unlink()
        assert (
            resumable.read_run(output),
            resumable.part_files(output),
            resumable.finished_rows(output),
        ) == ({}, [], 0)


def test_parts_are_in_the_order_of_their_rows(output):
    with resumable.exclusive_output(output):
        resumable.start_run(output, {})
        for row in (9, 10, 1_000_000):
            with resumable.writing_part(output, resumable.part_path(output, row)) as path:
                path.write_text(str(row))
        assert [path.read_text() for path in resumable.part_files(output)] == ["9", "10", "1000000"]
        assert resumable.finished_rows(output) == 1_000_000


def test_second_process_is_refused(output, tmp_path):
    line = f"{output}: another run is writing it; wait for it, or name another output"
    output.parent.mkdir()
    with FileLock(output.parent / ".out.csv.lock"):
        with (
            pytest.raises(PipelineError, match=re.escape(line)),
            resumable.exclusive_output(output),
        ):
            pass
        with resumable.exclusive_output(tmp_path / "other.csv"):
            pass
    make(output)
    assert made(output) == WHOLE


def test_folder_in_place_of_the_output_is_refused(output):
    output.mkdir(parents=True)
    line = f"{output}: Is a directory; move it out of the way, then run it again"
    with pytest.raises(PipelineError, match=re.escape(line)), resumable.exclusive_output(output):
        pass
    assert [path.name for path in output.parent.iterdir()] == ["out.csv"]


def test_damaged_record_is_one_line(output):
    with resumable.exclusive_output(output):
        resumable.start_run(output, {"n": 1})
        (resumable.parts_folder(output) / "run.json").write_text("{")
    with pytest.raises(PipelineError) as refused:
        resumable.read_run(output)
    assert str(refused.value).endswith(f"; remove {resumable.parts_folder(output)} to start again")
    assert "\n" not in str(refused.value)
