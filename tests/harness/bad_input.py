"""Bad input, the line that a user sees, and how to try it in a copy of a small project.

CASES run in this process, FULL_DISKS in forks with a disk of their own, DVC_CASES through DVC.
A new bad input is one entry. What one function refuses is tested with that function.
"""

import importlib
import logging
import random
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, closing, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.core.cli import RESTORE_HINT
from pipeline.core.errors import PipelineError, convert_os_errors
from pipeline.core.files import REBUILD_HINT
from pipeline.core.params import read_yaml
from tests.harness import sandbox
from tests.harness.sandbox import Disk
from tests.harness.small_project import ROOT, environment, output_bytes, set_params

STAGES = {name: stage["cmd"] for name, stage in read_yaml(ROOT / "dvc.yaml")["stages"].items()}
FOLDER = "a ströng's project"  # in which a case runs
Change = Callable[[Path], object]  # of a project's folder


# ---- changes of a project


def nothing(folder: Path) -> None:
    """Leaves the project as it is."""


def rewrite(path: str, edit: Callable[[bytes], bytes]) -> Change:
    """Edits the bytes of a file."""
    return lambda folder: (folder / path).write_bytes(edit((folder / path).read_bytes()))


def append(path: str, *rows: str | bytes) -> Change:
    """Adds lines to a file."""
    added = b"".join((row if isinstance(row, bytes) else row.encode()) + b"\n" for row in rows)
    return rewrite(path, lambda content: content + added)


def truncate(path: str) -> Change:
    """Leaves the first half of a file."""
    return rewrite(path, lambda content: content[: len(content) // 2])


def garble(path: str) -> Change:
    """Replaces a file by as many random bytes."""
    return rewrite(path, lambda content: random.Random(1).randbytes(len(content)))


def remove(*paths: str) -> Change:
    """Removes files and folders."""

    def change(folder: Path) -> None:
        for path in paths:
            shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()

    return change


def make_folder(path: str) -> Change:
    """Makes a folder."""
    return lambda folder: (folder / path).mkdir()


def drop_column(path: str, column: str) -> Change:
    """Removes a column of a Parquet file."""

    def change(folder: Path) -> None:
        pq.write_table(pq.read_table(folder / path).drop_columns([column]), folder / path)

    return change


def params(section: str, **values: Any) -> Change:
    """Sets some values of params.yaml."""
    return lambda folder: set_params(folder, {section: values})


def both(*changes: Change) -> Change:
    """One change after the other."""
    return lambda folder: [change(folder) for change in changes]


# ---- the cases


@dataclass(frozen=True)
class Case:
    """What is tried, and what must come of it.

    name: what is bad.
    runs: stages, or a command of `python -m pipeline`, or a line for the shell.
    change: what happens to the project before.
    line: the last lines of the log; `…` stands for any text.
    fails: whether the last command fails.
    reason: of the rows in quarantine.
    changed: outputs that may change.
    variables: of the environment; None: not set.
    """

    name: str
    runs: str
    change: Change
    line: str
    fails: bool = True
    reason: str = ""
    changed: tuple[str, ...] = ()
    variables: Mapping[str, str | None] = field(default_factory=dict)
    disk: Disk | None = None

    def __str__(self) -> str:
        return f"{self.runs}: {self.name}"


INBOX, PARAMS, REVIEWED = "data/inbox/messages.csv", "params.yaml", "data/reviewed.csv"
MESSAGES, VALIDATED = "data/ingested/messages.parquet", "data/validated/messages.parquet"
SPLITS, SHARD = "data/vectorized/splits.parquet", "data/vectorized/train/shard-00000.parquet"
TOKENIZER, NETWORK, DECISION = "models/tokenizer.json", "models/model.keras", "models/decision.json"
EVALUATION, CURVES = "reports/evaluate.json", "reports/curves.csv"
GUARDED = (  # what ingest and validate write
    *("data/ingested", "data/validated", "data/review/quarantine.parquet", "data/docs"),
    *("reports/ingest.json", "reports/validate.json", "reports/quarantine.csv"),
)
GATE = ("data/validated",)  # which validate closes first
NO_PARQUET = "not readable as Parquet: …Parquet magic bytes not found in footer. …"
NO_JSON, NO_CSV = "not JSON: …", "not CSV: …"
NO_NETWORK = "not a Keras network (it is no zip file)"
NO_FILE = "data/inbox: no file matches …"
NO_YAML = f"{PARAMS}: line 1: not YAML: could not determine a constructor for the tag …"
DIGITS = f"{PARAMS}: not YAML: Exceeds the limit (4300 digits) for integer string conversion: …"
FEW_HAM = f"{PARAMS}: evaluate.lost_ham_budget: 0.002 needs 499 ham in val…"
NO_MODEL = f"{PARAMS}: train.model: unknown 'transformer'; choose from bilstm_article, …"
AWAY = "move it out of the way, then run it again"
NO_ROOM = "No space left on device; free space, then run it again"
PLAIN = [f"0,a plain message that has the number {n}" for n in range(20)]  # one bad row is 0.9 %
SEVENS = [f"7,a message of a label that nobody knows {n}" for n in range(4)]


def one_bad_row(name: str, row: str | bytes, reason: str) -> Case:
    """validate leaves out one row of 111."""
    change = append(INBOX, *PLAIN, row)
    line = "validate: 110 of 111 rows…"
    return Case(name, "ingest validate", change, line, False, reason, GUARDED)


def stopped(name: str, runs: str, change: Change, *problems: str) -> Case:
    """validate stops the run."""
    lines = "\n".join(f"error: {MESSAGES}: {problem}" for problem in problems)
    return Case(name, runs, change, lines, changed=GUARDED)


def damaged(stage: str, path: str, problem: str) -> Iterator[Case]:
    """An input of a stage, truncated and random."""
    place = "data/vectorized/train" if path == SHARD else path
    for name, change in (("truncated", truncate(path)), ("random", garble(path))):
        yield refused(stage, f"{path} is {name}", change, f"{place}: {problem}; {REBUILD_HINT}")


def refused(stage: str, name: str, change: Change, line: str) -> Case:
    """A stage stops with one line, and changes nothing."""
    changed = GATE if stage == "validate" else ()
    return Case(name, stage, change, f"error: {line}", changed=changed)


def replace_file(folder: Path) -> None:
    """Puts a file in the place of data/ingested."""
    remove("data/ingested")(folder)
    (folder / "data/ingested").touch()


CASES = [
    refused("ingest", "no inbox", remove("data/inbox"), NO_FILE),
    refused("ingest", "a file as folder", replace_file, f"data/ingested: File exists; {AWAY}"),
    refused(
        "ingest", "a Python object", rewrite(PARAMS, lambda _: b"a: !!python/name:a x"), NO_YAML
    ),
    refused(
        "vectorize", "5,000 digits", rewrite(PARAMS, lambda text: b"a: " + 5000 * b"1"), DIGITS
    ),
    one_bad_row("a row in Latin-1", "0,café".encode("latin-1"), "text_decodes"),
    one_bad_row("a NUL", "0,see you\0 later", "text_has_no_control_characters"),
    one_bad_row("5 MB", "0," + "long " * 1_000_000, "text_length_is_within_bounds"),
    one_bad_row("an unknown label", SEVENS[0], "label_is_known"),
    stopped(
        "one class only",
        "ingest validate",
        rewrite(INBOX, lambda rows: re.sub(rb"\n1,.*", b"", rows)),
        "spam_share_is_within_bounds: …",
        "both_labels_are_present: …",
    ),
    stopped(
        f"{MESSAGES} lacks a column",
        "validate",
        drop_column(MESSAGES, "label"),
        "columns_are_the_contract: missing: label; …",
        "label_is_a_string: cannot be checked, …",
    ),
    *damaged("validate", MESSAGES, NO_PARQUET),
    refused("validate", "random reviews", garble(REVIEWED), f"{REVIEWED}: not CSV: …"),
    refused(
        "validate",
        "a warning that must be critical",
        params("validate", warnings=["label_is_known"]),
        f"{PARAMS}: validate…'label_is_known'…",
    ),
    refused("vectorize", "a closed gate", remove(VALIDATED), f"{VALIDATED}: missing; …"),
    *damaged("vectorize", VALIDATED, NO_PARQUET),
    refused("train", "no shard", remove(SHARD), "data/vectorized/train: a folder without Parquet…"),
    *damaged("train", SHARD, NO_PARQUET),
    *damaged("train", TOKENIZER, NO_JSON),
    refused("train", "an unknown network", params("train", model="transformer"), NO_MODEL),
    refused("evaluate", "few ham", params("evaluate", lost_ham_budget=0.002), FEW_HAM),
    *damaged("evaluate", TOKENIZER, NO_JSON),
    *damaged("evaluate", NETWORK, NO_NETWORK),
    *damaged("evaluate", SPLITS, NO_PARQUET),
    *damaged("register", TOKENIZER, NO_JSON),
    refused("register", "a random network", garble(NETWORK), f"{NETWORK}: {NO_NETWORK}…"),
    *damaged("register", SPLITS, NO_PARQUET),
    *damaged("register", DECISION, NO_JSON),
    *damaged("register", EVALUATION, NO_JSON),
    *damaged("register", CURVES, NO_CSV),
    *damaged("register", "reports/plots/roc.csv", NO_CSV),
]


def full(runs: str, folder: str, place: str, change: Change = nothing, **more: Any) -> Case:
    """A command writes into a folder whose disk is full."""
    more = {"disk": Disk(folder)} | more
    return Case(f"a full disk under {folder}", runs, change, f"error: {place}: {NO_ROOM}", **more)


def move_database(folder: Path) -> None:
    """Moves MLflow's database to a folder of its own."""
    make_folder("db")(folder)
    (folder / "mlflow.db").rename(folder / "db" / "mlflow.db")


TMPDIR = {"disk": Disk("tmp", room=8192), "variables": {"TMPDIR": "tmp"}}
NEW_STORE = both(remove("mlflow.db", "mlartifacts"), make_folder("mlartifacts"))
MOVED = {"MLFLOW_TRACKING_URI": "sqlite:///db/mlflow.db"}
SQLITE = "error: MLflow at sqlite:///db/mlflow.db: (sqlite3.OperationalError) {}; check that the …"
READ_ONLY = "error: …/.checkpoints/lock: Read-only file system; give permission, then run it again"
FULL_DISKS = [
    full("ingest", "data/ingested", MESSAGES),
    full("ingest", "reports", "reports/ingest.json"),
    full("validate", "data", "data/docs/….html", changed=GATE),
    full("validate", "data/review", "data/review/quarantine.parquet", changed=GATE),
    full("validate", "data/validated", VALIDATED, remove(VALIDATED)),
    full("vectorize", "models", TOKENIZER),
    full("vectorize", "data/vectorized", SHARD),
    full("train", ".checkpoints", ".checkpoints/….npz"),
    full("evaluate", "tmp", "…/tmp/…", make_folder("tmp"), **TMPDIR),
    full("register", "mlartifacts", "…mlartifacts/…", NEW_STORE),
    Case("a read-only project", "ingest", nothing, READ_ONLY, disk=Disk(".", room=None)),
    *(
        Case(problem, "train", move_database, SQLITE.format(problem), disk=disk, variables=MOVED)
        for problem, disk in (
            ("database or disk is full", Disk("db")),
            ("attempt to write a readonly database", Disk("db", room=None)),
        )
    ),
]


def under_dvc(name: str, stage: str, change: Change, line: str, **more: Any) -> Case:
    """`dvc repro` stops, and its hint restores the outputs."""
    end = f"{RESTORE_HINT}\nERROR: failed to reproduce '{stage}': …, exited with 1"
    return Case(name, "dvc repro", change, f"error: {line}\n{end}", **more)


DVC_CASES = [
    under_dvc(
        "four rows of 94 with an unknown label",
        "validate",
        append(INBOX, *SEVENS),
        f"{MESSAGES}: label_is_known: 4 of 94 rows (4.3 %)…",
        reason="label_is_known",
    ),
    Case(
        "HOME is not set, LANG is C, the path has spaces and non-ASCII",
        "dvc repro --force --single-item ingest",
        nothing,
        "ingest: 90 rows from files",
        fails=False,
        variables={"HOME": None, "LANG": "C", "LC_ALL": "C"},
    ),
    Case(
        "TMPDIR does not exist",
        "dvc repro --force --single-item train",
        nothing,
        "train: …",
        fails=False,
        variables={"TMPDIR": "/nowhere"},
    ),
    Case(
        "python is not on PATH",
        f"'{Path(environment()['PATH'].split(':')[0]) / 'dvc'}' repro",
        append(INBOX, "0,see you soon"),
        "…python: …not found\nERROR: failed to reproduce 'ingest': …, exited with 127",
        variables={"PATH": "/nowhere", "SHELL": "/bin/sh"},
    ),
]


# ---- trying a case


def flaws(case: Case, project: Path, folder: Path) -> list[str]:
    """Tries the case in a copy of the project at `folder`. Returns what differs from the case."""
    uses_dvc = "dvc" in case.runs
    copy_project(project, folder, whole=uses_dvc)
    case.change(folder)
    before = output_bytes(folder), registered(folder)
    run = run_outside if uses_dvc or case.disk else run_here
    failed, lines = run(case, folder)
    reasons = quarantine_reasons(folder)
    if uses_dvc and failed:
        sandbox.run(RESTORE_HINT.partition(": ")[2], folder, environment())
    changed = changed_outputs(case, before[0], output_bytes(folder))
    checks = {
        f"fails: {failed}": failed == case.fails,
        f"logs {' | '.join(lines[-4:])}": matches(case.line, lines),
        f"in quarantine: {reasons}": reasons == {case.reason} - {""},
        f"changed: {changed}": not changed,
        "the registry changed": registered(folder) == before[1],
        "temporary files are left": not list(folder.rglob(".*.tmp")),
    }
    return [flaw for flaw, holds in checks.items() if not holds]


def copy_project(project: Path, folder: Path, whole: bool) -> None:
    """Copies the project; without its history, cache and documentation if it need not be whole."""

    def ignored(parent: str, names: list[str]) -> set[str]:
        skipped = {".git", "docs", "tests", "benchmarks"} if Path(parent) == project else {"cache"}
        return set() if whole else skipped & set(names)

    shutil.copytree(project, folder, symlinks=True, ignore=ignored)


def matches(expected: str, lines: list[str]) -> bool:
    """Whether the log ends with the expected lines, and has no other error and no traceback."""
    pattern = ".*".join(map(re.escape, expected.split("…")))
    errors = [sum(line.startswith("error: ") for line in x) for x in (lines, expected.split("\n"))]
    ends = re.search(rf"(\A|\n){pattern}\Z", "\n".join(lines)) is not None
    return ends and errors[0] == errors[1] and not any("Traceback" in line for line in lines)


def changed_outputs(case: Case, before: Mapping[str, bytes], after: Mapping[str, bytes]) -> str:
    """The outputs that changed and may not."""
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    return ", ".join(name for name in changed if not name.startswith(case.changed or ("\0",)))


def quarantine_reasons(folder: Path) -> set[str]:
    """Why the rows in quarantine are there."""
    path = folder / "data/review/quarantine.parquet"
    return set(pq.read_table(path)["reasons"].to_pylist()) if path.exists() else set()


def registered(folder: Path) -> list[Any]:
    """All versions and aliases in mlflow.db, if it is a database."""
    queries = ["name, version, source FROM model_versions", "* FROM registered_model_aliases"]
    rows: list[Any] = []
    for path in folder.rglob("mlflow.db"):
        with closing(sqlite3.connect(path)) as database:
            rows = [row for query in queries for row in database.execute(f"SELECT {query}")]
    return rows


def run_here(case: Case, folder: Path) -> tuple[bool, list[str]]:
    """Runs stages or a command in this process, in the folder. Returns failure and log lines."""
    with chdir(folder), logged_lines() as lines:
        for main in mains_of(case):
            try:
                with convert_os_errors("this machine"):
                    main()
            except PipelineError as error:
                return True, [*lines, *f"error: {error}".split("\n")]
    return False, lines


def mains_of(case: Case) -> Iterator[Callable[[], None]]:
    """The `main` of each stage, or of the command, with its arguments."""
    name, *arguments = case.runs.split()
    if name not in STAGES:
        yield partial(importlib.import_module("pipeline.__main__").main, [name, *arguments])
        return
    for stage in case.runs.split():
        module = importlib.import_module(f"pipeline.{stage}")
        yield partial(module.main, STAGES[stage].split()[3:])


@contextmanager
def logged_lines() -> Iterator[list[str]]:
    """The log lines of the pipeline."""
    lines: list[str] = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())
    logger = logging.getLogger("pipeline")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def run_outside(case: Case, folder: Path) -> tuple[bool, list[str]]:
    """Runs a stage in a fork with its disk, or a line in a shell. Returns failure and log lines."""
    command = STAGES.get(case.runs, case.runs)
    done = sandbox.run(command, folder, variables_of(case), case.disk)
    lines = [line for line in done.said.splitlines() if line]
    return bool(done.code), [line for line in lines if not re.fullmatch(r"\d+\.\d s", line)]


def variables_of(case: Case) -> dict[str, str]:
    """The environment with the variables of the case."""
    variables = environment() | dict(case.variables)
    return {name: value for name, value in variables.items() if value is not None}
