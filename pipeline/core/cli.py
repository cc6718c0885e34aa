"""Runs a stage or a command: arguments, log lines, exit codes, and one stage at a time."""

import argparse
import io
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout

from pipeline.core.dvc_cache import can_restore_outputs
from pipeline.core.errors import (
    ERROR_PREFIX,
    CleanFormatter,
    PipelineError,
    clean_lines,
    convert_os_errors,
)
from pipeline.core.params import DVC_FILE, read_yaml
from pipeline.core.run_summary import process_seconds, record_seconds
from pipeline.core.stage_inputs import unchanged_inputs

log = logging.getLogger(__name__)

STAGE_LOCK = Path(".checkpoints") / "lock"  # held by the stage that runs in this folder
# --force replaces the Data Docs of a stopped validate.
RESTORE_HINT = (
    "to restore the last good outputs, run: "
    "git checkout dvc.lock reports data/inbox.lock.json && dvc checkout --force dvc.yaml"
)


# ---- arguments


def project_root() -> Path:
    """The project's root, also inside the temporary copies of `dvc exp run --temp`."""
    return Path(os.environ.get("DVC_ROOT", "."))


def argument_parser(doc: str | None, example: str) -> argparse.ArgumentParser:
    """A parser whose `--help` shows the module's docstring and ends with an example command."""
    return argparse.ArgumentParser(
        description=doc,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse_paths(argv: Sequence[str] | None, doc: str | None, *names: str) -> argparse.Namespace:
    """The named paths of a stage's command: `--data-docs X` is `.data_docs`, a `Path`.

    Args:
        doc: the stage's docstring, for `--help`.
        names: the required options without dashes, in the order of `dvc.yaml`.
    """
    parser = argument_parser(doc, "dvc repro")
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args(argv)


def stage_options(stage: str) -> list[str]:
    """The options of a stage's command in dvc.yaml. Raises: PipelineError."""
    command: str = read_yaml(DVC_FILE)["stages"][stage]["cmd"]
    return command.split()[3:]  # without `python -m pipeline.STAGE`


# ---- running


def run_stage(main: Callable[[], None], has_lock: Callable[[], bool] = lambda: True) -> None:
    """Runs the `main` of a stage as `run_command` does, while no other stage runs here.

    Args:
        has_lock: False for a process that helps another stage, and writes no outputs.
    """
    asks_for_help = not {"-h", "--help"}.isdisjoint(sys.argv[1:])  # answered at once

    def main_with_lock() -> None:
        with ExitStack() as stack:
            if has_lock():
                stack.enter_context(stage_lock())
                stack.enter_context(unchanged_inputs())
            main()
        record_seconds()

    run_command(main if asks_for_help else main_with_lock)


def run_command(main: Callable[[], None]) -> None:
    """Runs the `main` of a command: plain log lines, then the seconds of its process.

    Exit code 1 and one line on a PipelineError; a traceback on any other error, which is a bug.
    """
    _set_up_output()
    try:
        with convert_os_errors("this machine"):
            main()
    except PipelineError as error:
        _exit(f"{ERROR_PREFIX}{error}")
    except KeyboardInterrupt:
        _exit("interrupted")
    except BrokenPipeError:  # the program that reads our output ended, for example `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:
        _exit(clean_lines(traceback.format_exc().rstrip()))
    log.info("%.1f s", process_seconds())


def _set_up_output() -> None:
    """Logs our lines from INFO on, those of libraries from WARNING on, all of them cleaned.

    Standard output escapes what its encoding does not have, as standard error does.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    handler = logging.StreamHandler()
    handler.setFormatter(CleanFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    for name in ("pipeline", "__main__"):
        logging.getLogger(name).setLevel(logging.INFO)


def _exit(message: str) -> NoReturn:
    has_hint = "DVC_STAGE" in os.environ and can_restore_outputs()
    sys.exit(f"{message}\n{RESTORE_HINT}" if has_hint else message)


@contextmanager
def stage_lock() -> Iterator[None]:
    """Waits until no other stage runs in this folder, then keeps others out.

    DVC's own lock is not enough: a killed `dvc repro` leaves its stage running, which would
    overwrite the outputs of the next one.
    """
    STAGE_LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(STAGE_LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning(
            "another stage still runs in this folder, perhaps of a killed `dvc repro`: waiting"
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
