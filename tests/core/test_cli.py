"""pipeline/core/cli.py"""

import json
import os
import subprocess
import sys

import pytest
from filelock import FileLock

from pipeline.core.cli import RESTORE_HINT, STAGE_LOCK, parse_paths, stage_options
from tests.harness.small_project import ROOT, STAGES, runner

PROGRAM = """\
import logging, os
from pipeline.core.cli import log, run_stage
from pipeline.core.errors import PipelineError
def main():
    {body}
run_stage(main)
"""


HELPER = """\
from pipeline.core.cli import run_stage
run_stage(lambda: print("helped"), has_lock=lambda: False)
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process with a stage whose `main` has this body."""

    def start(body, arguments=(), **environment):
        command = [sys.executable, "-c", PROGRAM.format(body=body), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(command, cwd=tmp_path, env=environment, **pipes)

    return start


def outcome(process):
    """Exit code, standard output and standard error."""
    output = process.communicate()
    return process.returncode, *output


def test_paths_are_required_named_options(capsys):
    paths = parse_paths(["--data-docs", "a", "--report", "b/c"], "A.", "data-docs", "report")
    assert (str(paths.data_docs), str(paths.report)) == ("a", "b/c")
    with pytest.raises(SystemExit):
        parse_paths(["--messages", "a"], "A stage.", "messages", "report")
    assert "the following arguments are required: --report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise PipelineError('x')", "error: x"),
        (r"raise PipelineError('x\nerror: \x1b[2J\udcff')", r"error: x\nerror: \x1b[2J\udcff"),
        (
            "raise OSError(5, '', 'x')",
            "error: x: Input/output error; check the disk, then run it again",
        ),
        ("raise KeyboardInterrupt", "interrupted"),
    ],
)
def test_user_error_is_one_line_and_exit_code_1(start, body, line):
    assert outcome(start(body, DVC_STAGE="ingest")) == (1, "", f"{line}\n")


def test_bug_has_its_traceback_without_passwords(start):
    code, _, stderr = outcome(start("{}['http://me:secret@host/x and sqlite:///mlflow.db']"))
    assert code == 1
    assert stderr.startswith("Traceback (most recent call last):")
    assert stderr.endswith("KeyError: 'http://***@host/x and sqlite:///mlflow.db'\n")
    assert "secret" not in stderr


def test_log_lines_are_plain_and_without_passwords(start):
    body = r"log.info('12\x1b rows'); logging.getLogger('a').warning('http://%s@h\n', 'me:secret')"
    code, stdout, stderr = outcome(start(body))
    first, second, seconds = stderr.splitlines()
    assert (code, stdout, first, second) == (0, "", r"12\x1b rows", r"http://***@h\n")
    assert seconds.endswith(" s")


@pytest.mark.slow  # runs DVC
def test_under_dvc_an_error_says_how_to_restore_what_can_be(start, tmp_path):
    run = runner(tmp_path)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    outs = [{"path": "data/a", "md5": "ab12.dir"}, {"path": "reports/a.json", "md5": "cd34"}]
    (tmp_path / "dvc.lock").write_text(json.dumps({"stages": {"ingest": {"outs": outs}}}))
    run("git", "add", "dvc.lock")
    (tmp_path / "dvc.lock").unlink()  # Git has another one
    assert outcome(start("{}[0]", DVC_STAGE="ingest"))[2].endswith("KeyError: 0\n")
    cached = tmp_path / ".dvc" / "cache" / "files" / "md5" / "ab" / "12.dir"
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert outcome(start("{}[0]"))[2].endswith("KeyError: 0\n")
    stderr = outcome(start("{}[0]", DVC_STAGE="ingest"))[2]
    assert stderr.endswith(f"KeyError: 0\n{RESTORE_HINT}\n")


def test_stage_waits_for_another_one_in_its_folder(start, tmp_path):
    with FileLock(tmp_path / STAGE_LOCK):
        waiting = start("print('alone')")
        assert waiting.stderr.readline().startswith("another stage still runs in this folder")
        assert waiting.poll() is None
    assert outcome(waiting)[:2] == (0, "alone\n")


def test_helper_of_a_stage_does_not_wait_for_it(tmp_path):
    with FileLock(tmp_path / STAGE_LOCK):
        command = [sys.executable, "-c", HELPER]
        helper = subprocess.run(
            command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True
        )
    assert (helper.returncode, helper.stdout) == (0, b"helped\n")


def test_options_of_a_stage_are_those_of_dvc_yaml(monkeypatch):
    monkeypatch.chdir(ROOT)
    options = stage_options("train")
    assert options[:2] == ["--tokenizer", "models/tokenizer.json"]
    assert STAGES["train"].split() == ["python", "-m", "pipeline.train", *options]


def test_help_is_shown_while_a_stage_runs(start, tmp_path):
    body = "from pipeline.core.cli import parse_paths; parse_paths(None, 'Trains.')"
    with FileLock(tmp_path / STAGE_LOCK):
        code, stdout, stderr = outcome(start(body, arguments=["--help"]))
    assert (code, stderr) == (0, "")
    assert "Trains." in stdout


def test_output_escapes_what_its_encoding_lacks(start):
    assert outcome(start(r"print('\ud800 é')", PYTHONIOENCODING="utf-8"))[1] == "\\ud800 é\n"


def test_closed_output_is_no_traceback(start):
    process = start("print(chr(10) * 10**6)")
    process.stdout.read(1)
    process.stdout.close()
    assert (process.wait(), process.stderr.read()) == (1, "")
