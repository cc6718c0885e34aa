"""Reads the commands of a documentation page, runs them, and compares what they print."""

import doctest
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ruamel.yaml

from tests.harness.small_project import ROOT, set_params

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MAKE = ("make", "--old-file=.venv/.up-to-date")  # uses the packages of this interpreter
CHECKER = doctest.OutputChecker()
NOISE = re.compile(r"^(WARNING: All log messages|[IWE]0000 ).*\n|^[\d.]+ s\n", re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """A line after `$ `, and the output that the page shows; `...` stands for any text."""

    line: str
    output: str


def blocks(page: Path, language: str) -> list[str]:
    """The contents of the fenced blocks of one language, in order."""
    content = page.read_text(encoding="utf-8")
    return [text for kind, text in FENCE.findall(content) if kind == language]


def commands(block: str) -> list[Command]:
    """The commands of a `console` block with their expected output."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [Command(*(f"{part}\n".split("\n", 1))) for part in parts]


def steps(page: Path) -> Iterator[Command | dict]:
    """The commands of a page, and its changes of params.yaml, in order."""
    for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            yield from commands(text)
        elif kind == "yaml" and text.startswith("# in params.yaml"):
            yield ruamel.yaml.YAML(typ="safe").load(text)


def run(line: str, folder: Path) -> str:
    """What a command prints in a project's folder, without seconds and TensorFlow's own log.

    Raises: AssertionError if it fails.
    """
    words = re.sub(r"^make\b", " ".join(MAKE), line)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", words],
        cwd=folder,
        env={**os.environ, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}"
    return NOISE.sub("", done.stdout)


def difference(expected: str, printed: str) -> str:
    """Empty if the output is as the page shows it, else both. White space does not count."""
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if CHECKER.check_output(expected, printed, options):
        return ""
    return f"expected:\n{expected}\nprinted:\n{printed}"


def follow(page: Path, folder: Path) -> list[str]:
    """Follows a page in a project's folder. Returns the commands that print something else."""
    differences = []
    for step in steps(page):
        if isinstance(step, dict):
            set_params(folder, step)
        elif found := difference(step.output, run(step.line, folder)):
            differences.append(f"$ {step.line}\n{found}")
    return differences


def pages() -> list[Path]:
    """README and every page of docs that people write."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
