"""Bad inputs and full disks for each stage, and the lines that a user sees.

test_bad_input.py tries them in a copy of a small project. A new bad input is one entry.
What one function refuses is tested with that function.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from pipeline.core.cli import RESTORE_HINT
from pipeline.core.files import REBUILD_HINT
from tests.harness.small_project import set_params

Change = Callable[[Path], object]  # of a project's folder


@dataclass(frozen=True)
class Case:
    """What is tried, and what must come of it.

    name: what is bad.
    runs: stages, or a line for the shell.
    change: what happens to the project before.
    line: the last lines of the log; `…` stands for any text. The run must fail if one is an error.
    reasons: of the rows in quarantine.
    changed: outputs that may change.
    variables: of the environment; None: not set.
    """

    name: str
    runs: str
    change: Change
    line: str
    reasons: frozenset[str] = frozenset()
    changed: tuple[str, ...] = ()
    variables: dict[str, str | None] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.runs}: {self.name}"


# ---- changes of a project


def rewrite(path: str, edit: Callable[[bytes], bytes]) -> Change:
    """Edits the bytes of a file."""
    return lambda folder: (folder / path).write_bytes(edit((folder / path).read_bytes()))


def append(path: str, *rows: bytes) -> Change:
    """Adds lines to a file."""
    return rewrite(path, lambda content: content + b"".join(row + b"\n" for row in rows))


def remove(path: str) -> Change:
    """Removes a file."""
    return lambda folder: (folder / path).unlink()


def drop_label(folder: Path) -> None:
    """Removes a column of what ingest wrote."""
    pq.write_table(pq.read_table(folder / MESSAGES).drop_columns(["label"]), folder / MESSAGES)


def fill_disk(path: str) -> Change:
    """Leaves no room for an output: the temporary file of this process leads to /dev/full."""
    name = f".{Path(path).name}.{os.getpid()}.tmp"
    return lambda folder: (folder / path).with_name(name).symlink_to("/dev/full")


# ---- the cases

INBOX, PARAMS, DATABASE = "data/inbox/messages.csv", "params.yaml", "mlflow.db"
MESSAGES, VALIDATED = "data/ingested/messages.parquet", "data/validated/messages.parquet"
SPLITS = "data/vectorized/splits.parquet"
SHARDS, TEST_SHARDS = "data/vectorized/train", "data/vectorized/test"
TOKENIZER, DECISION = "models/tokenizer.json", "models/decision.json"
NETWORK, EVALUATED = "models/model.keras", "models/evaluated.keras"
EVALUATION, CURVES, PLOT = "reports/evaluate.json", "reports/curves.csv", "reports/plots/roc.csv"
GATE = "data/validated"  # which validate closes first
COLLECTED = ("data/inbox.lock.json", "data/collected")
GUARDED = (  # what collect, ingest and validate write
    *COLLECTED,
    *("data/ingested", GATE, "data/review/quarantine.parquet", "data/docs"),
    *("reports/ingest.json", "reports/validate.json", "reports/quarantine.csv"),
)
NO_PARQUET = "not readable as Parquet: …t found in footer. …"
NO_JSON, NO_CSV = "not JSON: …", "not CSV: …"
NO_NETWORK = "not a Keras network (it is no zip file)"
PIPE = "data/inbox/pipe.csv"
NO_PIPE = f"{PIPE}: not a regular file; put a file there, or remove it"
NO_YAML = f"{PARAMS}: line 1: not YAML: could not determine a constructor for the tag …"
NO_MODEL = f"{PARAMS}: train.model: unknown 'transformer'; choose from bilstm_article, …"
READ_ONLY = (  # the cases run in copies of a project
    f"…/{DATABASE}: the project was moved, and its paths cannot be corrected: attempt to write a "
    "readonly database; give permission, and end other programs that use the file, then run it "
    "again"
)
SEVENS = [b"7,a message of a label that nobody knows %d" % n for n in range(4)]
PLAIN = [b"0,a plain message that has the number %d" % n for n in range(20)]
BAD_ROWS = {  # by the reason for which validate leaves them out; each is 0.9 % of the rows
    "text_decodes": "0,a cup of café at the corner".encode("latin-1"),
    "text_has_no_control_characters": b"0,no\x00thing at all",
    "text_length_is_within_bounds": b"0," + 1_000_000 * b"long ",
    "label_is_known": SEVENS[0],
}


REFUSAL_CHANGES = {"validate": (GATE,), "collect ingest": COLLECTED}


def refused(stages: str, name: str, change: Change, line: str) -> Case:
    """A stage stops with one line, and changes nothing else."""
    changed = REFUSAL_CHANGES.get(stages, ())
    return Case(name, stages, change, f"error: {line}", changed=changed)


def damaged(stage: str, path: str, problem: str) -> Case:
    """The first half of an input."""
    file = f"{path}/shard-00000.parquet" if path in (SHARDS, TEST_SHARDS) else path
    cut = rewrite(file, lambda content: content[: len(content) // 2])
    return refused(stage, f"half of {file}", cut, f"{path}: {problem}; {REBUILD_HINT}")


def full_disk(stage: str, path: str) -> Case:
    """An output for which there is no room."""
    line = f"{path}: No space left on device; free space, then run it again"
    return refused(stage, f"no room for {path}", fill_disk(path), line)


CASES = [
    refused("collect ingest", "an empty inbox", remove(INBOX), "data/inbox: no file matches …"),
    refused("collect", "a pipe in the inbox", lambda folder: os.mkfifo(folder / PIPE), NO_PIPE),
    refused(
        "collect ingest",
        "a file without a header",
        rewrite(INBOX, lambda content: content.partition(b"\n")[2]),
        f"{INBOX}: no column 'body' among 2 columns; set ingest.files.columns, or "
        "ingest.files.header if its first row is a message",
    ),
    refused("ingest", "no YAML", rewrite(PARAMS, lambda _: b"a: !!python/name:a x"), NO_YAML),
    Case(
        "rows in Latin-1, with a NUL, of 5 MB, with an unknown label",
        "collect ingest validate",
        append(INBOX, *PLAIN, *BAD_ROWS.values()),
        "validate: 110 of 114 rows…",
        reasons=frozenset(BAD_ROWS),
        changed=GUARDED,
    ),
    Case(
        f"{MESSAGES} lacks a column",
        "validate",
        drop_label,
        f"error: {MESSAGES}: columns_are_the_contract: missing: label; …\n"
        f"error: {MESSAGES}: label_is_a_string: cannot be checked, …",
        changed=GUARDED,
    ),
    damaged("validate", MESSAGES, NO_PARQUET),
    refused("vectorize", "a closed gate", remove(VALIDATED), f"{VALIDATED}: missing; …"),
    damaged("vectorize", VALIDATED, NO_PARQUET),
    refused(
        "train",
        "an unknown network",
        lambda folder: set_params(folder, {"train": {"model": "transformer"}}),
        NO_MODEL,
    ),
    refused(
        "train",
        "a read-only database, as of a newer SQLite",
        rewrite(DATABASE, lambda content: content[:18] + b"\x03" + content[19:]),
        READ_ONLY,
    ),
    damaged("train", SHARDS, NO_PARQUET),
    damaged("train", TEST_SHARDS, NO_PARQUET),
    damaged("train", TOKENIZER, NO_JSON),
    damaged("evaluate", TOKENIZER, NO_JSON),
    damaged("evaluate", NETWORK, NO_NETWORK),
    damaged("evaluate", EVALUATED, NO_NETWORK),
    damaged("evaluate", SPLITS, NO_PARQUET),
    damaged("register", TOKENIZER, NO_JSON),
    damaged("register", NETWORK, NO_NETWORK),
    damaged("register", SPLITS, NO_PARQUET),
    damaged("register", DECISION, NO_JSON),
    damaged("register", EVALUATION, NO_JSON),
    damaged("register", CURVES, NO_CSV),
    damaged("register", PLOT, NO_CSV),
]
FULL_DISKS = [
    full_disk("ingest", MESSAGES),
    full_disk("validate", "data/review/quarantine.parquet"),
    full_disk("vectorize", TOKENIZER),
    full_disk("train", NETWORK),
    full_disk("evaluate", DECISION),
    full_disk("register", "reports/register.json"),
]
DVC_CASES = [
    Case(
        "four rows of 94 with an unknown label",
        "dvc repro",
        append(INBOX, *SEVENS),
        f"error: {MESSAGES}: label_is_known: 4 of 94 rows (4.3 %)…\n{RESTORE_HINT}\n"
        "ERROR: failed to reproduce 'validate': …, exited with 1",
        reasons=frozenset(["label_is_known"]),
    ),
    Case(
        "HOME is not set, LANG is C, TMPDIR does not exist, the path has spaces and non-ASCII",
        "dvc repro -f -s ingest && dvc repro -f -s train",
        lambda folder: None,
        "train: …",
        variables={"HOME": None, "LANG": "C", "LC_ALL": "C", "TMPDIR": "/nowhere"},
    ),
]
