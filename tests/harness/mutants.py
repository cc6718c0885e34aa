"""Deletes each check of the pipeline in turn and names the test that fails without it.

`python -m tests.harness.mutants [--only sources/fetch ...]` works in copies of this tree, prints a
Markdown list, and exits with 1 when no test notices that a check is gone. A check is a `raise` of a
new error, one of several exception types of an `except`, or an entry of a dict in REGISTRIES.

A general mutation tool such as mutmut changes operators and constants everywhere; it cannot be told
to delete checks only, and would need days of test time where this takes about an hour.
"""

import argparse
import ast
import itertools
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tests.harness.small_project import ROOT, runner

PIPELINE = ROOT / "pipeline"
REGISTRIES = {
    "EXPECTATIONS",
    "DISK_FULL_REMEDIES",
    "OS_ERROR_REMEDIES",
}  # dicts whose entries are checks
TIMEOUT = 900  # seconds; tests that hang count as failed
WORKERS = 2
PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
MARKERS = "not network and not server and not browser"
SHARED_TESTS = ["tests/harness/test_bad_input.py", "tests/test_pipeline.py"]  # tried after its own

Node = ast.expr | ast.stmt
Edit = tuple[int, int, str, str]  # first byte, byte after the last, the check, its replacement


@dataclass(frozen=True)
class Mutant:
    """A module without one of its checks."""

    module: str  # path below pipeline/ without `.py`
    line: int
    check: str
    source: str

    @property
    def own_tests(self) -> str:
        folder, _, name = self.module.rpartition("/")
        return "/".join(filter(None, ["tests", folder, f"test_{name}.py"]))


# ---- mutants


class Source:
    """A module's text, its syntax tree and the byte offsets of its nodes."""

    def __init__(self, text: str) -> None:
        self.encoded = text.encode()
        self.tree = ast.parse(text)
        lengths = [len(line) for line in self.encoded.splitlines(keepends=True)]
        self.line_starts = [0, *itertools.accumulate(lengths)]

    def start(self, node: Node) -> int:
        return self.line_starts[node.lineno - 1] + node.col_offset

    def end(self, node: Node) -> int:
        return self.line_starts[(node.end_lineno or 0) - 1] + (node.end_col_offset or 0)


def mutants_of(module: str, text: str) -> list[Mutant]:
    """The module without each of its checks, in the order of lines."""
    source = Source(text)
    edits = [*_raises(source, source.tree), *_exceptions(source), *_entries(source)]
    mutants = []
    for start, end, check, replacement in sorted(edits):
        changed = source.encoded[:start] + replacement.encode() + source.encoded[end:]
        line = source.encoded.count(b"\n", 0, start) + 1
        mutants.append(Mutant(module=module, line=line, check=check, source=changed.decode()))
    return mutants


def _raises(source: Source, node: ast.AST, in_except: bool = False) -> Iterator[Edit]:
    """Each `raise` of a new error; inside an `except`, the caught error goes on instead."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            replacement = "raise" if in_except else "pass"
            yield source.start(child), source.end(child), ast.unparse(child.exc), replacement
        is_function = isinstance(child, ast.FunctionDef)
        inside = isinstance(child, ast.ExceptHandler) or (in_except and not is_function)
        yield from _raises(source, child, inside)


def _exceptions(source: Source) -> Iterator[Edit]:
    """Each of several exception types of an `except`."""
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
            start, end = source.start(node.type), source.end(node.type)
            for removed in node.type.elts:
                kept = [ast.unparse(kind) for kind in node.type.elts if kind is not removed]
                yield start, end, f"except {ast.unparse(removed)}", f"({', '.join(kept)},)"


def _entries(source: Source) -> Iterator[Edit]:
    """Each entry of the REGISTRIES."""
    for node in ast.walk(source.tree):
        if not isinstance(node, ast.Assign | ast.AnnAssign) or not isinstance(node.value, ast.Dict):
            continue
        name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
        keys = [key for key in node.value.keys if key and name in REGISTRIES]
        ends = [*(source.start(key) for key in keys[1:]), source.end(node.value) - 1]
        for key, end in zip(keys, ends, strict=False):
            yield source.start(key), end, f"{name}[{ast.unparse(key)}]", ""


# ---- tests


def failing_test(mutant: Mutant) -> str | None:
    """The first test that fails with the mutant: of its module's tests, then of SHARED_TESTS."""
    with tempfile.TemporaryDirectory() as folder:
        tree = copy_tree(Path(folder))
        (tree / "pipeline" / f"{mutant.module}.py").write_text(mutant.source, encoding="utf-8")
        failures = (first_failure(tree, tests) for tests in (mutant.own_tests, *SHARED_TESTS))
        return next(filter(None, failures), None)


def copy_tree(folder: Path) -> Path:
    """Copies this tree as it is now into the folder, as a Git repository. Returns the folder."""
    listing = runner(ROOT)("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout
    for name in listing.splitlines():
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    runner(folder)("git", "init", "--quiet")
    return folder


def first_failure(tree: Path, tests: str) -> str | None:
    """The name of the first test of a file that fails; None when all pass or there are none."""
    if not (tree / tests).exists():
        return None
    command = [*PYTEST, "-m", MARKERS, tests]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return f"{tests} hangs"
    if done.returncode in (0, 5):  # 5: no test was selected
        return None
    match = re.search(r"^(?:FAILED|ERROR) (\S+?\.py(?:::[^\n]*?)?)(?: - .*)?$", done.stdout, re.M)
    return match[1] if match else f"{tests}: {done.stdout[-200:]}"


# ---- the command


def main() -> None:
    modules = sorted(
        path.relative_to(PIPELINE).with_suffix("").as_posix()
        for path in PIPELINE.rglob("*.py")
        if path.stem != "__init__"
    )
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=modules, default=modules, metavar="MODULE")
    mutants = [
        mutant
        for module in parser.parse_args().only
        for mutant in mutants_of(module, (PIPELINE / f"{module}.py").read_text(encoding="utf-8"))
    ]
    for tests in sorted({mutant.own_tests for mutant in mutants}):
        if failure := first_failure(ROOT, tests):
            sys.exit(f"{failure} fails without any mutant")
    survivors = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        results = pool.map(failing_test, mutants)
        for mutant, test in zip(tqdm(mutants, unit="mutant", disable=None), results, strict=True):
            result = f"`{test}`" if test else "**SURVIVED**"
            check = textwrap.shorten(mutant.check, 100, placeholder="…")
            print(f"- pipeline/{mutant.module}.py:{mutant.line} `{check}`: {result}", flush=True)
            survivors += test is None
    print(f"\n{len(mutants)} checks, {survivors} of which no test notices")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
