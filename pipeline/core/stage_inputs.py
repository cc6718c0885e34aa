"""Notices that an input of a stage changes while the stage runs.

DVC records the dependencies as they are after the run, so dvc.lock would say that the outputs were
made from what the stage never read, and the stage would not run again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.params import DVC_FILE, PARAMS_FILE, read_yaml

BYTECODE_FOLDER = "__pycache__"  # which running code writes; ignored by .dvcignore, too


@contextmanager
def unchanged_inputs() -> Iterator[None]:
    """Checks after the block that the params and dependencies of DVC's current stage are the same.

    Raises: PipelineError, so that DVC records nothing.
    """
    name = os.environ.get("DVC_STAGE")
    stages = read_yaml(DVC_FILE).get("stages", {}) if name and DVC_FILE.exists() else {}
    stage = stages.get(name)
    before = _input_states(stage) if stage else {}
    yield
    after = _input_states(stage) if stage else {}
    if before != after:
        names = before.keys() | after.keys()
        changed = min(key for key in names if before.get(key) != after.get(key))
        raise PipelineError(f"{changed}: changed while {name} ran; run `dvc repro` again")


def _input_states(stage: dict[str, Any]) -> dict[str, Any]:
    """The values of its sections of params; size in bytes and time of change in ns of its files."""
    sections = read_yaml()
    params = {f"{PARAMS_FILE}: {key}": _value(sections, key) for key in stage.get("params", [])}
    files = {
        str(file): (status.st_size, status.st_mtime_ns)
        for path in stage.get("deps", [])
        for file in [Path(path), *Path(path).rglob("*")]
        if file.is_file() and BYTECODE_FOLDER not in file.parts
        for status in [file.stat()]
    }
    return params | files


def _value(sections: Any, key: str) -> Any:
    """The value of a dotted key; None if it is missing."""
    for part in key.split("."):
        sections = sections.get(part) if isinstance(sections, dict) else None
    return sections
