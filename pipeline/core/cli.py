"""Runs a stage or a command: paths, logging, exit codes and the lock of a project folder."""

import argparse
import logging
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from filelock import FileLock, Timeout

from pipeline.core.errors import (
    PipelineError,
    RedactingFormatter,
    convert_os_errors,
    redact_credentials,
)

log = logging.getLogger(__name__)
STAGE_LOCK = Path(".checkpoints") / "lock"  # held by the stage that is at work in this folder
RESTORE_HINT = (  # --force, for the Data Docs of a stopped validate; dvc.yaml, so that a tracked inbox stays
    "the last good outputs come back with: git checkout dvc.lock reports && dvc checkout --force dvc.yaml"
)


# ---- the command line


def project_root() -> Path:
    """The project's root; the same one in the temporary copies that `dvc exp run --temp` works in."""
    return Path(os.environ.get("DVC_ROOT", "."))


def argument_parser(doc: str | None, example: str) -> argparse.ArgumentParser:
    """A parser whose `--help` shows the docstring and ends with an example command."""
    return argparse.ArgumentParser(
        description=doc,
        epilog=f"example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def parse_paths(argv: Sequence[str] | None, doc: str | None, *names: str) -> argparse.Namespace:
    """The named paths of a stage's command: `--train-shards X` is `.train_shards`, a `Path`.

    Args:
        names: the required options, without dashes, in the order of `dvc.yaml`.
    """
    parser = argument_parser(doc, "dvc repro")
    for name in names:
        parser.add_argument(f"--{name}", type=Path, required=True)
    return parser.parse_args(argv)


def run_stage(main: Callable[[], None]) -> None:
    """Runs a stage's `main` as `command` does, alone in this folder."""

    def alone() -> None:
        with stage_lock():
            main()

    run_command(alone)


def run_command(main: Callable[[], None]) -> None:
    """Runs a command's `main`: plain log lines, its seconds, and exit 1 with one line on error."""
    handler = logging.StreamHandler()
    handler.setFormatter(RedactingFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("pipeline").setLevel(logging.INFO)
    logging.getLogger("__main__").setLevel(logging.INFO)
    start = time.perf_counter()
    try:
        with convert_os_errors("this machine"):
            main()
    except PipelineError as error:
        _exit(f"error: {error}")
    except KeyboardInterrupt:
        _exit("interrupted")
    except BrokenPipeError:  # the reader of our output went away, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception:  # a bug keeps its traceback, but for passwords
        _exit(traceback.format_exc().rstrip())
    log.info("%.1f s", time.perf_counter() - start)


def _exit(said: str) -> NoReturn:
    under_dvc = "DVC_STAGE" in os.environ and Path("dvc.lock").exists()
    sys.exit(redact_credentials(f"{said}\n{RESTORE_HINT}" if under_dvc else said))


@contextmanager
def stage_lock() -> Iterator[None]:
    """Waits until no other stage is at work in this folder.

    DVC lets no second `dvc repro` in beside a first; but one that was killed leaves its stage alive, which
    would write its outputs over those of the next.
    """
    STAGE_LOCK.parent.mkdir(exist_ok=True)
    lock = FileLock(STAGE_LOCK)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        log.warning(
            "a stage that outlived its `dvc repro` is at work in this folder: waiting for it"
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
