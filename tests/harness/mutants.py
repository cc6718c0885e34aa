"""Deletes each check of the pipeline in turn, and names the test that fails without it.

`python -m benchmarks.mutants [--only MODULE ...]` works in copies of this tree, prints a Markdown list, and
exits with 1 when a check can go and no test fails. A check is a `raise` of a new error, one of several kinds
of error that an `except` takes, or an entry of REGISTRIES.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from pipeline.core.params import read_yaml
from tests.harness.small_project import ROOT, runner

PIPELINE = ROOT / "pipeline"
REGISTRIES = {"EXPECTATIONS", "MACHINE", "FULL"}  # dicts of which each entry is a check
EQUIVALENT = {  # (module, check): why it is the same program without it
    (
        "connection",
        "AssertionError('the last trial returns or raises')",
    ): "it stands after the last trial",
}
SECONDS = 900  # after which tests hang, which is a failure too
WORKERS = 2
PYTEST = "-m pytest -x -q -p no:cacheprovider"
FAST = "not network and not server and not browser"  # the tests that it asks

Span = tuple[int, int]  # from one byte of a source to another
Spanner = Callable[[ast.expr | ast.stmt], Span]
Change = tuple[Span, str, str]  # where, which check goes, and what comes in its place


@dataclass(frozen=True)
class Mutant:
    """A module without one of its checks."""

    module: str
    line: int
    check: str
    source: str


# ---- the mutants


def mutants_of(module: str, source: str) -> list[Mutant]:
    """The module without each of its checks, in the order of its lines."""
    raw, tree = source.encode(), ast.parse(source)
    starts = [0, *(found.end() for found in re.finditer(b"\n", raw))]

    def span(node: ast.expr | ast.stmt) -> Span:
        first, last = starts[node.lineno - 1], starts[(node.end_lineno or 0) - 1]
        return first + node.col_offset, last + (node.end_col_offset or 0)

    found = [*_raises(tree, span), *_kinds(tree, span), *_entries(tree, span)]
    return [
        Mutant(
            module,
            raw.count(b"\n", 0, start) + 1,
            check,
            (raw[:start] + by.encode() + raw[end:]).decode(),
        )
        for (start, end), check, by in sorted(found)
    ]


def _raises(node: ast.AST, span: Spanner, caught: bool = False) -> Iterator[Change]:
    """Each `raise` of a new error; in an `except` the error that it took goes on instead."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise) and isinstance(child.exc, ast.Call):
            yield span(child), ast.unparse(child.exc), "raise" if caught else "pass"
        inside = isinstance(child, ast.ExceptHandler) or (
            caught and not isinstance(child, ast.FunctionDef)
        )
        yield from _raises(child, span, inside)


def _kinds(tree: ast.AST, span: Spanner) -> Iterator[Change]:
    """Each of several kinds of error that an `except` takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Tuple):
            for kind in node.type.elts:
                rest = "".join(
                    f"{ast.unparse(other)}, " for other in node.type.elts if other is not kind
                )
                yield span(node.type), f"except {ast.unparse(kind)}", f"({rest})"


def _entries(tree: ast.AST, span: Spanner) -> Iterator[Change]:
    """Each entry of the registries."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Dict):
            name = ast.unparse(node.target if isinstance(node, ast.AnnAssign) else node.targets[0])
            keys = [key for key in node.value.keys if key and name in REGISTRIES]
            ends = [*(span(key)[0] for key in keys[1:]), span(node.value)[1] - 1]
            for key, end in zip(keys, ends, strict=False):
                yield (span(key)[0], end), f"{name}[{ast.unparse(key)}]", ""


# ---- the tests


def killer_of(mutant: Mutant) -> str | None:
    """The first test that fails with it: of its module's own, of bad input, of the whole pipeline."""
    with tempfile.TemporaryDirectory() as home:
        tree = copied_to(Path(home))
        (tree / "pipeline" / f"{mutant.module}.py").write_text(mutant.source, encoding="utf-8")
        tries = [
            own_tests(mutant.module),
            bad_input_tests(mutant.module),
            ["tests/test_pipeline.py"],
        ]
        return next(filter(None, (first_failure(tree, tests) for tests in tries)), None)


def copied_to(home: Path) -> Path:
    """A copy of this tree as it is now, which Git knows as one."""
    for name in runner(ROOT)(
        "git", "ls-files", "--cached", "--others", "--exclude-standard"
    ).stdout.splitlines():
        if (ROOT / name).is_file():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, home / name)
    runner(home)("git", "init", "--quiet")
    return home


def own_tests(module: str) -> list[str]:
    return [f"tests/test_{module}.py"]


def bad_input_tests(module: str) -> list[str]:
    """Those of the stages that depend on the module."""
    stages = read_yaml(ROOT / "dvc.yaml")["stages"]
    users = [name for name, entry in stages.items() if f"pipeline/{module}.py" in entry["deps"]]
    return ["tests/test_bad_input.py", "-k", " or ".join([*users, "score"])]


def first_failure(tree: Path, tests: list[str]) -> str | None:
    """The name of the first test that fails; None when none does."""
    command = [sys.executable, *PYTEST.split(), "-m", FAST, *tests]
    try:
        done = subprocess.run(command, cwd=tree, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"{tests[0]} hangs"
    if done.returncode in (0, 5):  # all passed; there are none
        return None
    named = re.search(
        r"^(?:FAILED|ERROR) (\S+?\.py(?:::[^\n]*?)?)(?: - .*)?$", done.stdout, re.MULTILINE
    )
    return named[1] if named else f"{tests[0]}: {done.stdout[-200:]}"


# ---- the list


def verdict_of(mutant: Mutant) -> str:
    """What becomes of a mutant, in a line."""
    if reason := EQUIVALENT.get((mutant.module, mutant.check)):
        return f"the same program: {reason}"
    killer = killer_of(mutant)
    return f"`{killer}`" if killer else "**SURVIVED**"


def main() -> None:
    modules = sorted(path.stem for path in PIPELINE.glob("*.py"))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=modules, default=modules, metavar="MODULE")
    chosen = parser.parse_args().only
    for module in chosen:  # or every mutant would seem to fail
        if failure := (PIPELINE / f"{module}.py").stem != "__init__" and first_failure(
            ROOT, own_tests(module)
        ):
            sys.exit(f"{failure} fails without any mutant")
    mutants = [
        m for name in chosen for m in mutants_of(name, (PIPELINE / f"{name}.py").read_text("utf-8"))
    ]
    survivors = 0
    with ThreadPoolExecutor(WORKERS) as pool:
        verdicts = tqdm(
            pool.map(verdict_of, mutants), total=len(mutants), unit="mutant", disable=None
        )
        for mutant, verdict in zip(mutants, verdicts, strict=True):
            check = mutant.check if len(mutant.check) < 100 else f"{mutant.check[:99]}…"
            print(f"- pipeline/{mutant.module}.py:{mutant.line} `{check}`: {verdict}", flush=True)
            survivors += "SURVIVED" in verdict
    print(f"\n{len(mutants)} checks, {survivors} of which no test misses")
    sys.exit(survivors > 0)


if __name__ == "__main__":
    main()
