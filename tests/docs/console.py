"""Reads the commands of a documentation page, runs them, and compares what they print."""

import doctest
import re
from collections.abc import Iterator
from pathlib import Path

import ruamel.yaml

from tests.harness.small_project import runner, set_params

FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
MAKE = ("make", "--old-file=.venv/.up-to-date")  # uses the packages of this interpreter
NOISE = re.compile(r"^(WARNING: All log messages|[IWE]0000 ).*\n|^[\d.]+ s\n", re.MULTILINE)


def steps(page: Path) -> Iterator[tuple[str, str] | dict]:
    """The commands of a page with the output it shows, and its changes of params.yaml, in order."""
    for kind, text in FENCE.findall(page.read_text(encoding="utf-8")):
        if kind == "console":
            for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
                line, _, output = part.partition("\n")
                yield line, output
        elif kind == "yaml" and text.startswith("# in params.yaml"):
            yield ruamel.yaml.YAML(typ="safe").load(text)


def run(line: str, folder: Path) -> str:
    """What a command prints in a project's folder, without seconds and TensorFlow's own log."""
    words = re.sub(r"(^|\| )make\b", rf"\1{' '.join(MAKE)}", line)
    return NOISE.sub(
        "", runner(folder, is_preloaded=True)("bash", "-c", f"exec 2>&1; {words}").stdout
    )


def difference(expected: str, printed: str) -> str:
    """Empty if the output is as the page shows it, else both.

    `...` on the page stands for any text. White space does not count.
    """
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    if doctest.OutputChecker().check_output(expected, printed, options):
        return ""
    return f"expected:\n{expected}\nprinted:\n{printed}"


def follow(page: Path, folder: Path) -> list[str]:
    """Follows a page in a project's folder. Returns the commands that print something else."""
    differences = []
    for step in steps(page):
        if isinstance(step, dict):
            set_params(folder, step)
            continue
        line, output = step
        if found := difference(output, run(line, folder)):
            differences.append(f"$ {line}\n{found}")
    return differences
