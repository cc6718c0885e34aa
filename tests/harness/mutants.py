"""Deletes each check of the pipeline in turn and names the test that fails without it.

`python -m tests.harness.mutants [--only sources/fetch ...]` works in copies of this tree, prints a
Markdown list, and exits with 1 when no test notices that a check is gone. A check is a `raise` of a
new error, one of several exception types of an `except`, or an entry of a dict in REGISTRIES.

A general mutation tool such as mutmut changes operators and constants everywhere; it cannot be told
to delete checks only, and would need days of test time where this takes about an hour.
"""

import argparse
import ast
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from tests.harness.small_project import ROOT, copy_tree, runner

PIPELINE = ROOT / "pipeline"
REGISTRIES = {"EXPECTATIONS", "DISK_FULL_REMEDIES", "OS_ERROR_REMEDIES"}  # dicts of checks
TIMEOUT = 900  # seconds; tests that hang count as failed
WORKERS = 2
PYTEST = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
MARKERS = "not network and not server and not browser"
SHARED_TESTS = ["tests/harness/test_bad_input.py", "tests"]  # tried after its own


@dataclass(frozen=True)
class Check:
    """What is deleted: the nodes at a place in one or two lists of a syntax tree."""

    line: int
    text: str
    lists: list[list]
    place: int
    replacement: list[ast.stmt]


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


def mutants_of(module: str, text: str) -> Iterator[Mutant]:
    """The module without each of its checks."""
    tree = ast.parse(text)
    for check in checks_of(tree):
        before = [list(nodes) for nodes in check.lists]
        for nodes in check.lists:
            nodes[check.place : check.place + 1] = check.replacement
        yield Mutant(module=module, line=check.line, check=check.text, source=ast.unparse(tree))
        for nodes, old in zip(check.lists, before, strict=True):
            nodes[:] = old


def checks_of(node: ast.AST, in_except: bool = False) -> Iterator[Check]:
    """The checks in a part of a syntax tree."""
    is_function = isinstance(node, ast.FunctionDef)
    in_except = isinstance(node, ast.ExceptHandler) or (in_except and not is_function)
    for nodes in (value for _, value in ast.iter_fields(node) if isinstance(value, list)):
        for place, part in enumerate(nodes):
            if isinstance(part, ast.Raise) and isinstance(part.exc, ast.Call):
                replacement = [ast.Raise() if in_except else ast.Pass()]  # the caught error goes on
                yield Check(part.lineno, ast.unparse(part.exc), [nodes], place, replacement)
    if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
        for place, kind in enumerate(node.type.elts):
            yield Check(kind.lineno, f"except {ast.unparse(kind)}", [node.type.elts], place, [])
    if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
        name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
        lists = [node.value.keys, node.value.values]
        for place, key in enumerate(node.value.keys if name in REGISTRIES else []):
            if key:
                yield Check(key.lineno, f"{name}[{ast.unparse(key)}]", lists, place, [])
    for child in ast.iter_child_nodes(node):
        yield from checks_of(child, in_except)


# ---- tests


def failing_test(mutant: Mutant) -> str | None:
    """The first test that fails with the mutant: of its module's tests, its package's, all."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder)
        copy_tree(tree)
        runner(tree)("git", "init", "--quiet")
        (tree / "pipeline" / f"{mutant.module}.py").write_text(mutant.source, encoding="utf-8")
        package = mutant.own_tests.rpartition("/")[0]  # "tests" for a stage file
        places = dict.fromkeys([mutant.own_tests, package, *SHARED_TESTS])
        failures = (first_failure(tree, tests) for tests in places)
        return next(filter(None, failures), None)


def first_failure(tree: Path, tests: str) -> str | None:
    """The name of the first test there that fails; None when all pass or there are none."""
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
