"""pipeline/core/cli.py"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

from pipeline.core.cli import argument_parser, parse_paths, project_root

ROOT = Path(__file__).parents[2]
RESTORE = (
    "to restore the last good outputs, run: "
    "git checkout dvc.lock reports && dvc checkout --force dvc.yaml"
)
PROGRAM = """\
import logging, os
from pipeline.core.cli import log, run_stage
from pipeline.core.errors import PipelineError
def main():
    {body}
run_stage(main)
"""


def start(folder, body, **environment):
    """A process with a stage whose `main` has this body."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.format(body=body)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder, body, **environment):
    """Exit code, standard output and standard error of such a stage."""
    process = start(folder, body, **environment)
    stdout, stderr = process.communicate()
    return process.returncode, stdout, stderr


# ---- arguments


def test_paths_are_named_options():
    paths = parse_paths(["--data-docs", "a", "--report", "b/c"], "A.", "data-docs", "report")
    assert paths.data_docs == Path("a")
    assert paths.report == Path("b/c")


def test_missing_path_is_named(capsys):
    with pytest.raises(SystemExit):
        parse_paths(["--messages", "a"], "A stage.", "messages", "report")
    assert "the following arguments are required: --report" in capsys.readouterr().err


def test_help_is_the_docstring_and_an_example():
    text = argument_parser("Does it.\n\nIn two lines.", "python -m pipeline it").format_help()
    assert "Does it.\n\nIn two lines.\n" in text
    assert text.endswith("example: python -m pipeline it\n")


def test_project_root_is_dvcs_inside_dvc(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert str(project_root()) == "/somewhere"
    monkeypatch.delenv("DVC_ROOT")
    assert str(project_root()) == "."


# ---- running


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise PipelineError('params.yaml: rows: missing')", "error: params.yaml: rows: missing"),
        (
            "raise OSError(28, 'x')",
            "error: this machine: No space left on device; free space, then run it again",
        ),
        ("raise KeyboardInterrupt", "interrupted"),
    ],
)
def test_user_error_is_one_line_and_exit_code_1(tmp_path, body, line):
    assert run(tmp_path, body) == (1, "", f"{line}\n")


def test_bug_has_its_traceback_without_passwords(tmp_path):
    code, _, stderr = run(tmp_path, "{}['http://me:secret@host/x and sqlite:///mlflow.db']")
    assert code == 1
    assert stderr.startswith("Traceback (most recent call last):")
    assert stderr.endswith("KeyError: 'http://***@host/x and sqlite:///mlflow.db'\n")
    assert "secret" not in stderr


def test_log_lines_are_plain_and_without_passwords(tmp_path):
    body = "log.info('12 rows'); logging.getLogger('a').warning('http://%s@host', 'me:secret')"
    code, stdout, stderr = run(tmp_path, body)
    first, second, seconds = stderr.splitlines()
    assert (code, stdout, first, second) == (0, "", "12 rows", "http://***@host")
    assert seconds.endswith(" s")


@pytest.mark.parametrize("body", ["raise PipelineError('x')", "{}[0]"])
def test_under_dvc_an_error_says_how_to_restore(tmp_path, body):
    assert RESTORE not in run(tmp_path, body, DVC_STAGE="ingest")[2]  # there is no earlier run
    (tmp_path / "dvc.lock").touch()
    assert RESTORE not in run(tmp_path, body)[2]
    assert run(tmp_path, body, DVC_STAGE="ingest")[2].splitlines()[-1] == RESTORE


def test_stage_waits_for_another_one_in_its_folder(tmp_path):
    with FileLock(tmp_path / ".checkpoints" / "lock"):
        waiting = start(tmp_path, "print('alone')")
        line = "another stage still runs in this folder, perhaps of a killed `dvc repro`: waiting\n"
        assert waiting.stderr.readline() == line
        assert waiting.poll() is None
    assert waiting.communicate()[0] == "alone\n"
    assert waiting.returncode == 0


def test_closed_output_is_no_traceback(tmp_path):
    program = PROGRAM.format(body="print(chr(10) * 10**6)")
    (tmp_path / "stage.py").write_text(program)
    process = subprocess.run(
        f"'{sys.executable}' stage.py | head -n 1",
        shell=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (process.stdout, process.stderr) == ("\n", "")
