"""What bad input and a bad machine do to the pipeline, and what the person at the keyboard sees.

`python -m benchmarks.bad_input` tries each of CASES in a copy of a small project that has run, and prints
a Markdown table; tests/test_bad_input.py tries the same ones. A new bad input is one entry here.
"""

import hashlib
import io
import itertools
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from filelock import FileLock
from tqdm import tqdm

from pipeline.core.cli import RESTORE_HINT, STAGE_LOCK
from pipeline.core.files import REBUILD_HINT
from pipeline.core.params import read_yaml
from pipeline.sources import fetch
from tests.harness import sandbox
from tests.harness.sandbox import Disk, Done, Environment
from tests.harness.small_project import ROOT, made, new_project, set_params

BIN = Path(sys.executable).parent
COMMANDS = {name: entry["cmd"] for name, entry in read_yaml(ROOT / "dvc.yaml")["stages"].items()}
NAME = "a ströng's project"  # of the folder that a case works in
WORKERS = 2  # cases at once

Spoil = Callable[[Path], object]  # what happens to a project's folder before


@dataclass(frozen=True, eq=False)
class Case:
    tried: str  # as the table names it
    runs: (
        str | Callable[[Path, Environment], Done]
    )  # stages or a command line; && for one after the other
    spoil: Spoil
    said: str  # the last lines on standard error; `…` is any text, and at the end any lines
    code: int = 1  # of the last command
    changes: tuple[
        str, ...
    ] = ()  # the files and folders that may change; all others keep their bytes
    reason: str = ""  # of the rows in quarantine
    environment: Mapping[str, str | None] = field(default_factory=dict)  # None: not set
    disk: Disk | None = None

    def __str__(self) -> str:
        return f"{self.runs if isinstance(self.runs, str) else self.runs.__name__}: {self.tried}"

    def where(self) -> str:
        """What says it: a stage, score or DVC."""
        last = self.runs.split(" && ")[-1] if isinstance(self.runs, str) else "dvc"
        return "score" if "pipeline.score" in last else "dvc repro" if "dvc" in last else last


# ---- what is done to the project


def nothing(folder: Path) -> None:
    """Leaves the project as it is."""


def both(*spoils: Spoil) -> Spoil:
    return lambda folder: [spoil(folder) for spoil in spoils]


def write(path: str, content: str | bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content if isinstance(content, bytes) else content.encode())

    return spoil


def rewrite(path: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda folder: (folder / path).write_bytes(change((folder / path).read_bytes()))


def append(path: str, *rows: str) -> Spoil:
    return rewrite(path, lambda content: content + "".join(f"{row}\n" for row in rows).encode())


def replace(path: str, pattern: str, by: str) -> Spoil:
    return rewrite(path, lambda content: re.sub(pattern.encode(), by.encode(), content, count=1))


def truncate(path: str) -> Spoil:
    return rewrite(path, lambda content: content[: len(content) // 2])


def garble(path: str) -> Spoil:
    return rewrite(path, lambda content: random.Random(1).randbytes(len(content)))


def remove(*paths: str) -> Spoil:
    def spoil(folder: Path) -> None:
        for path in paths:
            shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()

    return spoil


def folder_at(path: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / path).unlink(missing_ok=True)
        (folder / path).mkdir(parents=True)

    return spoil


def without_column(path: str, column: str) -> Spoil:
    def spoil(folder: Path) -> None:
        pq.write_table(pq.read_table(folder / path).drop_columns([column]), folder / path)

    return spoil


def params(**sections: Mapping[str, Any]) -> Spoil:
    return lambda folder: set_params(folder, dict(sections))


# ---- files, and what often happens to them

LOCK, INBOX, PARAMS = "data/sources.lock.json", "data/inbox/messages.csv", "params.yaml"
MESSAGES, VALIDATED = "data/ingested/messages.parquet", "data/validated/messages.parquet"
SPLITS, SHARD = "data/vectorized/splits.parquet", "data/vectorized/train/shard-00000.parquet"
TOKENIZER, NETWORK, DECISION = "models/tokenizer.json", "models/model.keras", "models/decision.json"
CURVES, EVALUATION = "reports/curves.csv", "reports/evaluate.json"
GATE = (VALIDATED,)  # validate removes it before it reads anything: the path is the gate
READ = ("data/ingested", "reports/ingest.json")  # what changes when ingest reads other files
REFUSALS = ("data/review/quarantine.parquet", "reports/quarantine.csv")
GUARDED = (*READ, *GATE, *REFUSALS, "data/docs", "reports/validate.json")
REVIEWED = "data/reviewed.csv"

SMS = params(ingest={"sources": ["sms"]})
PIN = fetch.read_pins(ROOT / LOCK)["sms"]
PACKAGE = f"{PIN.declared['package']}=={PIN.declared['version']}"
DOWNLOAD = f".downloads/{PIN.sha256}"
SOURCES, FETCH = "data/sources.yaml", "python -m pipeline fetch mine"
NO_NETWORK = {  # whatever the developer's pip is told
    "PIP_CONFIG_FILE": os.devnull,
    "PIP_INDEX_URL": "http://localhost:9/simple",
    "PIP_RETRIES": "0",
    **dict.fromkeys(["PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_NO_INDEX"]),
}
PLAIN = [
    f"0,a plain message that has the number {n}" for n in range(20)
]  # so that one bad row is 0.9 %
SEVENS = [f"7,a message of a label that nobody knows {n}" for n in range(4)]


def pinned(member: str, content: str, name: str = "data.csv") -> Spoil:
    """A package with a file of this name lies in `.downloads/`, and `member` of it is pinned."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as file:
        file.writestr(name, content)
    sha256 = hashlib.sha256(package.getvalue()).hexdigest()
    read = {"format": "tsv", "header": ["label", "text"]}
    declared = {"kind": "package", "package": "a", "version": "1", "member": member, "read": read}
    pin = json.dumps({"sms": {"declared": declared, "sha256": sha256}})
    return both(SMS, write(LOCK, pin), write(f".downloads/{sha256}", package.getvalue()))


def declared(mine: str) -> Spoil:
    """A source `mine` in data/sources.yaml."""
    return append(SOURCES, f"mine: {{{mine}}}")


def inbox(name: str, content: str | bytes, **files: str) -> Spoil:
    """A file in `data/inbox/`, which `ingest.files` takes."""

    def spoil(folder: Path) -> None:
        now = read_yaml(folder / PARAMS)["ingest"]["files"]
        set_params(folder, {"ingest": {"files": now | {"glob": name} | files}})
        write(f"data/inbox/{name}", content)(folder)

    return spoil


def move_database(folder: Path) -> None:
    (folder / "db").mkdir()
    (folder / "mlflow.db").rename(folder / "db" / "mlflow.db")


def two_at_once(folder: Path, environment: Environment) -> Done:
    """A second `dvc repro` while a stage of the first is at work; the first must end well."""
    command, where = (
        ["dvc", "repro", "--force", "ingest"],
        {"cwd": folder, "env": environment, "text": True},
    )
    with FileLock(folder / STAGE_LOCK):  # the first one's stage waits for it
        first = subprocess.Popen(command, **where, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while not (line := first.stdout.readline()).startswith("Running stage") and line:
            pass
        second = subprocess.run(command, **where, capture_output=True)
    rest = first.communicate()[0]
    return Done(second.returncode, second.stderr if first.returncode == 0 else rest)


# ---- the cases

SCORE = "python -m pipeline score in.csv out.csv"
MAKE = REBUILD_HINT
NO_PARQUET = "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a parquet file"
NO_ROOM = "No space left on device; free space, then run it again"
BOUNDS = (
    "if the data is right, set section validate of params.yaml; "
    f"`python -m pipeline review --propose {MESSAGES}` works it out"
)
REVIEW = "see data/review/quarantine.parquet, or `python -m pipeline review`"
NO_LABEL = f"of 94 rows (4.3 %) break it, the budget is 1.0 %; {REVIEW}"
NO_FILE = (
    "no file matches ingest.files.glob '*.csv'; put a .csv, .tsv, .jsonl, .parquet file there, "
    "or take 'files' out of ingest.sources"
)
MORE_HAM = "evaluate.lost_ham_budget: 0.002 needs 499 ham in val, there are 4; raise the budget or bring more ham"
DECISIONS = f"mend the row, or `git checkout {REVIEWED}` brings it back"
DATABASE = "see that the file is an MLflow database and may be written, and that the disk has room"


def refused(
    runs: str, place: str, *entries: tuple[str, Spoil, str], **of_all: Any
) -> Iterator[Case]:
    """Cases that end in an error line about one place: what is tried, its spoil, and how the line goes on."""
    for tried, spoil, problem in entries:
        yield Case(
            tried.replace("FILE", f"`{place}`"), runs, spoil, f"error: {place}: {problem}", **of_all
        )


def accepted(tried: str, spoil: Spoil, said: str, reason: str = "") -> Case:
    """A file that ingest reads, and of which validate lets through what holds."""
    return Case(tried, "ingest && validate", spoil, f"validate: {said}", 0, GUARDED, reason)


def stopped(
    tried: str, spoil: Spoil, *problems: str, reason: str = "", runs: str = "ingest && validate"
) -> Case:
    """A file that ingest reads, and that validate stops."""
    said = "\n".join(f"error: {MESSAGES}: {problem}" for problem in problems)
    return Case(tried, runs, spoil, said, 1, GUARDED, reason)


def full(runs: str, folder: str, place: str, spoil: Spoil = nothing) -> Case:
    """A stage that writes a file into a folder without room."""
    changes = GATE if runs == "validate" else ()
    return Case(
        f"a full disk under `{folder}`",
        runs,
        spoil,
        f"error: {place}: {NO_ROOM}",
        1,
        changes,
        disk=Disk(folder),
    )


def under_dvc(tried: str, spoil: Spoil, said: str, stopped_at: str, reason: str = "") -> Case:
    """What `dvc repro` says, and that the way back, which it names, leads there."""
    said = f"error: {said}\n{RESTORE_HINT}\nERROR: failed to reproduce '{stopped_at}': …, exited with 1"
    return Case(tried, "dvc repro", spoil, said, 255, (), reason)


CASES = [
    Case(
        "no network and nothing downloaded",
        "ingest",
        SMS,
        f"error: {PACKAGE}: pip could not download it (No matching distribution found for "
        f"{PACKAGE}); check the network and `pip config list`, or put the file at "
        f"{DOWNLOAD}",
        environment=NO_NETWORK,
    ),
    Case(
        "the download has another sha256",
        "ingest",
        both(SMS, write(DOWNLOAD, "other bytes")),
        f"error: {DOWNLOAD}: sha256 is {hashlib.sha256(b'other bytes').hexdigest()}, {LOCK} pins "
        f"{PIN.sha256}; delete it and run again",
    ),
    *refused(
        "ingest",
        DOWNLOAD,
        (
            "FILE is a folder",
            both(SMS, folder_at(DOWNLOAD)),
            "Is a directory; delete it and run again",
        ),
    ),
    *refused(
        "ingest",
        LOCK,
        (
            "FILE is missing",
            both(SMS, remove(LOCK)),
            f"missing; `git checkout {LOCK}` brings it back",
        ),
        (
            "FILE is a folder",
            both(SMS, folder_at(LOCK)),
            f"Is a directory; `git checkout {LOCK}` brings it back",
        ),
        (
            "FILE is truncated",
            both(SMS, truncate(LOCK)),
            f"not JSON: Unterminated string starting at: …; `git checkout {LOCK}` brings it back",
        ),
        (
            "FILE is a list",
            both(SMS, write(LOCK, "[]")),
            f"not an object of pins; `git checkout {LOCK}` brings it back",
        ),
        (
            "FILE has a mistyped key",
            both(SMS, replace(LOCK, "member", "memer")),
            f"sms.member: missing\nerror: {LOCK}: sms.memer: unknown key; remove it or mend its spelling",
        ),
        (
            "FILE names a file that the package does not hold",
            pinned("dota.csv", "ham\thello\n"),
            "sms.member: unknown 'dota.csv'; choose from data.csv",
        ),
    ),
    Case(
        f"`{LOCK}` names a file of another kind",
        "ingest",
        pinned("data.csv", "hello\n"),
        "error: .downloads/…: data.csv: row 1: 1 columns, not 2; mend the row",
    ),
    Case(
        f"`{LOCK}` pins nothing",
        "ingest",
        both(SMS, write(LOCK, "{}")),
        f"error: {PARAMS}: ingest.sources: unknown 'sms'; choose from files, feedback, or declare it in "
        f"{SOURCES} and run `python -m pipeline fetch`",
    ),
    Case(
        "a hostile archive",
        "ingest",
        pinned("data.csv", "ham\thello\n", "../data.csv"),
        "error: .downloads/…: '../data.csv': leads out of the archive; the archive is refused: get it from "
        "elsewhere",
    ),
    Case(
        "a broken file of two, where `ingest.on_broken_file` is `quarantine`",
        "ingest",
        both(
            params(ingest={"on_broken_file": "quarantine"}),
            write("data/inbox/a.csv", "kind,body\n0\n"),
        ),
        "warning: left out: data/inbox/a.csv: row 1: 1 columns, not 2; mend the row\n"
        "ingest: 90 rows from files, as they came; left out, as they cannot be read: files/a.csv",
        code=0,
        changes=("reports/ingest.json",),
    ),
    Case(
        "every file is broken, where `ingest.on_broken_file` is `quarantine`",
        "ingest",
        both(params(ingest={"on_broken_file": "quarantine"}), append(INBOX, "0")),
        f"warning: left out: {INBOX}: row 91: 1 columns, not 2; mend the row\n"
        f"error: data/inbox: no file can be read: {INBOX}: row 91: 1 columns, not 2; mend the row",
    ),
    *refused(
        FETCH,
        SOURCES,
        (
            "FILE is missing",
            remove(SOURCES),
            "missing; run in the project's root, or …",
        ),
        ("an unknown source", nothing, "unknown 'mine'; choose from sms, uci"),
        (
            "an unknown kind",
            declared("kind: ftp"),
            "mine.kind: unknown 'ftp'; choose from package, …",
        ),
        ("a mistyped key", declared("kind: url, ulr: x"), "mine.url: missing\nerror: …"),
        (
            "a variable that is not set",
            declared("kind: url, url: $NOT_SET/a.csv"),
            "url: $NOT_SET is not set in the environment; set it",
        ),
    ),
    Case(
        "an address that is none",
        FETCH,
        declared("kind: url, url: 'htp://user:secret@x/y'"),
        "error: htp://***@x/y: Protocol not known: htp; mend the address",
    ),
    Case(
        "a file that is not there",
        FETCH,
        declared("kind: url, url: /nowhere/a.csv"),
        "error: /nowhere/a.csv: no such file; mend the address",
    ),
    Case(
        "a filesystem that is not installed",
        FETCH,
        declared("kind: url, url: 'gs://bucket/a.csv'"),
        "error: gs://bucket/a.csv: Please install gcsfs to access Google Storage",
    ),
    Case(
        "a database that is not there",
        FETCH,
        declared("kind: sql, url: 'sqlite:////nowhere/a.db', query: SELECT 1"),
        f"error: mine: unable to open database file; see to the database, and to url and query in {SOURCES}",
    ),
    Case(
        "a query that returns something else",
        FETCH,
        declared("kind: sql, url: 'sqlite://', query: SELECT 1 AS body"),
        "error: mine: the query returns body, not one 'text'; name it with AS",
    ),
    *refused(
        "ingest",
        "data/inbox",
        ("nothing in FILE", remove(INBOX), NO_FILE),
        ("no FILE", remove("data/inbox"), NO_FILE),
        ("a folder in FILE that is called as a file is", folder_at(INBOX), NO_FILE),
    ),
    *refused(
        "ingest",
        INBOX,
        ("an empty file", write(INBOX, ""), "empty; give it a header and rows, or remove it"),
        (
            "a link that leads nowhere",
            both(remove(INBOX), lambda folder: (folder / INBOX).symlink_to("nowhere")),
            "No such file or directory; mend or remove the file",
        ),
        ("random bytes", garble(INBOX), "no column 'body' among …; set ingest.files.encoding"),
        (
            "not UTF-8: a file in UTF-16",
            rewrite(INBOX, lambda rows: rows.decode().encode("utf-16")),
            "no column 'body' among …; set ingest.files.encoding",
        ),
        (
            "a ragged row",
            append(INBOX, "0,see you, my friend"),
            "row 91: 3 columns, not 2; mend the row",
        ),
        (
            "a quotation mark that is not closed",
            append(INBOX, '0,"see you', "0,later"),
            "row 91: a quotation mark is not closed or not doubled (unexpected end of data); mend the row",
        ),
        (
            "a quotation mark that is not doubled",
            append(INBOX, '0,"see" you', "0,later"),
            "row 91: a quotation mark is not closed or not doubled (',' expected after '\"'); mend the row",
        ),
        (
            "a missing column",
            replace(INBOX, "body", "words"),
            "no column 'body' among kind, words; set ingest.files.columns",
        ),
        (
            "a doubled column",
            rewrite(INBOX, lambda rows: rows.replace(b"\n", b",kind\n", 1)),
            "more than one column 'kind' among kind, body, kind; set ingest.files.columns",
        ),
        (
            "no header: the message in its place stays out of the logs",
            rewrite(INBOX, lambda rows: rows.split(b"\n", 1)[1]),
            "no column 'body' among 0, …; set ingest.files.columns",
        ),
    ),
    *refused(
        "ingest",
        "data/inbox/a.csv",
        (
            "bytes that the given encoding does not have",
            inbox("a.csv", "kind,body\n0,café\n", encoding="ascii"),
            "'ascii' codec can't decode byte 0xc3 in position 15: ordinal not in range(128); "
            "set ingest.files.encoding",
        ),
    ),
    *refused(
        "ingest",
        "data/inbox/a.docx",
        (
            "a file of another kind",
            inbox("a.docx", "PK"),
            "format: unknown '.docx'; choose from .csv, .tsv, .jsonl, .parquet",
        ),
    ),
    *refused(
        "ingest",
        "data/inbox/a.jsonl",
        (
            "a line of JSON that is none",
            inbox("a.jsonl", '{"body": "hi"\n'),
            "line 1: not an object with 'body' and 'kind' (Expecting ',' delimiter: line 2 column 1 "
            "(char 14)); mend the line or set ingest.files.columns",
        ),
        (
            "a hundred thousand brackets",
            inbox("a.jsonl", "[" * 100_000),
            "line 1: not an object with 'body' and 'kind' (maximum recursion depth exceeded…); "
            "mend the line or set ingest.files.columns",
        ),
        (
            "a time that is none",
            inbox("a.jsonl", '{"body": "hi", "kind": 0, "received_at": "at noon"}\n'),
            "row 1: received_at is not an ISO 8601 time; mend the row, or name no such column in "
            "ingest.files.columns.received_at",
        ),
    ),
    *refused(
        "ingest",
        "data/inbox/a.parquet",
        (
            "a Parquet file that is none",
            inbox("a.parquet", "neither header nor footer"),
            f"{NO_PARQUET}; mend or remove the file",
        ),
    ),
    *(
        Case(
            f"{tried} is read as if it were not there",
            "ingest",
            spoil,
            "ingest: 90 rows from files, as they came",
            0,
        )
        for tried, spoil in (
            ("a BOM in a file", rewrite(INBOX, lambda rows: b"\xef\xbb\xbf" + rows)),
            ("CRLF in a file", rewrite(INBOX, lambda rows: rows.replace(b"\n", b"\r\n"))),
            ("a BOM in `params.yaml`", rewrite(PARAMS, lambda content: b"\xef\xbb\xbf" + content)),
        )
    ),
    accepted(
        "not UTF-8: one row of 111 in Latin-1",
        rewrite(
            INBOX,
            lambda rows: rows + "\n".join([*PLAIN, "0,meet me at the café"]).encode("latin-1"),
        ),
        "110 of 111 rows hold",
        "text_decodes",
    ),
    accepted(
        "one message of 111 with a NUL",
        append(INBOX, *PLAIN, "0,see you\0 later"),
        "110 of 111 rows hold",
        "text_has_no_control_characters",
    ),
    accepted(
        "one message of 111 of 5 MB",
        append(INBOX, *PLAIN, "0," + "long " * 1_000_000),
        "110 of 111 rows hold",
        "text_length_is_within_bounds",
    ),
    accepted(
        "one row of 111 with an unknown label",
        append(INBOX, *PLAIN, SEVENS[0]),
        "110 of 111 rows hold",
        "label_is_known",
    ),
    accepted("a message of emoji alone", append(INBOX, "0,🦊🦊💰"), "91 of 91 rows hold"),
    stopped(
        "four rows of 94 with an unknown label",
        append(INBOX, *SEVENS),
        f"label_is_known: 4 {NO_LABEL}",
        reason="label_is_known",
    ),
    stopped(
        "one class only",
        rewrite(INBOX, lambda rows: re.sub(rb"\n1,.*", b"", rows)),
        f"spam_share_is_within_bounds: found 0, the bounds are 0.05 to 0.6; {BOUNDS}",
        f"both_labels_are_present: found 1, the bounds are 2 to 2; {BOUNDS}",
    ),
    stopped(
        "three rows",
        write(INBOX, "kind,body\n0,see you soon\n0,hello there\n1,win a prize\n"),
        f"row_count_is_within_bounds: found 3, the bounds are 20 to 1,000; {BOUNDS}",
    ),
    *refused(
        "ingest",
        PARAMS,
        (
            "FILE is missing",
            remove(PARAMS),
            f"missing; run in the project's root, or `git checkout {PARAMS}` brings it back",
        ),
        (
            "FILE is a folder",
            folder_at(PARAMS),
            f"Is a directory; run in the project's root, or `git checkout {PARAMS}` brings it back",
        ),
        (
            "FILE is empty",
            write(PARAMS, ""),
            f"holds no sections; `git checkout {PARAMS}` brings them back",
        ),
        (
            "FILE is not UTF-8",
            write(PARAMS, b"ingest: \xff\n"),
            "not YAML: 'utf-8' codec can't decode byte 0xff in position 8: invalid start byte; mend the file",
        ),
        (
            "a tab in FILE",
            write(PARAMS, "ingest:\n\tsources: []\n"),
            "line 2: not YAML: found character '\\t' that cannot start any token; mend the line",
        ),
        (
            "a key that stands twice",
            write(PARAMS, "ingest: 1\ningest: 2\n"),
            'line 2: not YAML: found duplicate key "ingest" with value "2" (original value: "1"); '
            "mend the line",
        ),
        (
            "a Python object",
            write(PARAMS, "ingest: !!python/name:os.system x\n"),
            "line 1: not YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/name:os.system'; mend the line",
        ),
        (
            "a missing section",
            write(PARAMS, "ingset:\n2: 1\n"),
            "ingest: missing; choose from ingset, 2",
        ),
        (
            "an unknown source",
            params(ingest={"sources": ["sms_spm"]}),
            "ingest.sources: unknown 'sms_spm'; choose from files, feedback, sms, or declare it in "
            "data/sources.yaml and run `python -m pipeline fetch`",
        ),
    ),
    *refused(
        "vectorize",
        PARAMS,
        (
            "an unknown key",
            replace(PARAMS, "salt:", "pepper: 1\n  salt:"),
            "vectorize.pepper: unknown key; remove it or mend its spelling",
        ),
        ("a missing key", replace(PARAMS, "  salt:.*\n", ""), "vectorize.salt: missing"),
        (
            "a mistyped key",
            replace(PARAMS, "salt:", "slat:"),
            "vectorize.salt: missing\n"
            f"error: {PARAMS}: vectorize.slat: unknown key; remove it or mend its spelling",
        ),
        (
            "a text for a number",
            params(vectorize={"sequence_length": "long"}),
            "vectorize.sequence_length: input should be a valid integer, not 'long'",
        ),
        (
            "NaN for a share",
            params(vectorize={"split": {"train": float("nan"), "val": 0.5, "test": 0.5}}),
            "vectorize.split.train: input should be a finite number, not nan",
        ),
        (
            "a number of thirty digits",
            params(vectorize={"shard_rows": 10**30}),
            "vectorize: sequence_length must be 2 to 100,000 and shard_rows 1 to 1,000,000",
        ),
        (
            "a number of five thousand digits",
            replace(PARAMS, "shard_rows: ", "shard_rows: " + 5000 * "1"),
            "not YAML: Exceeds the limit (4300 digits) for integer string conversion: …; mend the file",
        ),
        (
            "the 45th of January",
            replace(PARAMS, "salt: .*", "salt: 2026-01-45"),
            "not YAML: day is out of range for month; mend the file",
        ),
        (
            "a date for a key",
            replace(PARAMS, "salt: .*", "2026-01-04: 1"),
            "vectorize: keys must be str, int, float, bool or None, not datetime.date; remove it",
        ),
        (
            "a list that holds itself",
            replace(PARAMS, "salt: .*", "salt: &a [*a]"),
            "vectorize: Circular reference detected; remove it",
        ),
    ),
    *refused(
        "train",
        PARAMS,
        (
            "an unknown network",
            params(train={"model": "transformer"}),
            "train.model: unknown 'transformer'; choose from bilstm_article, bilstm, lstm, rnn, dense",
        ),
    ),
    *refused(
        "evaluate",
        PARAMS,
        ("a budget that needs more ham", params(evaluate={"lost_ham_budget": 0.002}), MORE_HAM),
    ),
    *refused(
        "register",
        PARAMS,
        (
            "an unknown criterion",
            params(register={"criteria": {"f2": {"min": 0.9}}}),
            "register.criteria: unknown 'f2'; choose from accuracy, …",
        ),
    ),
    *refused(
        "validate",
        MESSAGES,
        ("FILE is missing", remove(MESSAGES), f"missing; {MAKE}"),
        ("FILE is a folder", folder_at(MESSAGES), f"a folder without Parquet; {MAKE}"),
        (
            "FILE is truncated",
            truncate(MESSAGES),
            f"not readable as Parquet: …{NO_PARQUET}; {MAKE}",
        ),
        ("FILE is garbled", garble(MESSAGES), f"not readable as Parquet: …{NO_PARQUET}; {MAKE}"),
        changes=GATE,
    ),
    stopped(
        f"`{MESSAGES}` lacks a column",
        without_column(MESSAGES, "label"),
        "columns_are_the_contract: missing: label; it must be MESSAGES of pipeline/sources/readers.py",
        "label_is_a_string: cannot be checked, for want of its column; it must be MESSAGES of "
        "pipeline/sources/readers.py",
        runs="validate",
    ),
    *refused(
        "validate",
        REVIEWED,
        ("FILE is missing", remove(REVIEWED), f"missing; {DECISIONS}"),
        ("FILE is a folder", folder_at(REVIEWED), f"Is a directory; {DECISIONS}"),
        ("FILE is garbled", garble(REVIEWED), f"not CSV: …; {DECISIONS}"),
        (
            "FILE lacks a column",
            write(REVIEWED, "id,verdict\n"),
            f"no column 'message_id' among id, verdict; {DECISIONS}",
        ),
        (
            "FILE has an id that is none",
            append(REVIEWED, "hello,ban,it is rude"),
            f"row 1: 'hello' is no message_id; {DECISIONS}",
        ),
        (
            "FILE has an unknown verdict",
            append(REVIEWED, "0123456789abcdef,keep,"),
            "row 1: verdict: unknown 'keep'; choose from release, ban",
        ),
        (
            "FILE releases and bans one message",
            append(REVIEWED, "0123456789abcdef,ban,", "0123456789abcdef,release,"),
            "row 2: 0123456789abcdef is released and banned; leave one of the two rows",
        ),
        changes=GATE,
    ),
    *refused(
        "python -m pipeline review none.parquet",
        "none.parquet",
        ("nothing to review", nothing, f"missing; {MAKE}"),
    ),
    *refused(
        "validate",
        PARAMS,
        (
            "a warning that may be none",
            params(validate={"warnings": ["label_is_known"]}),
            "validate: warnings: 'label_is_known' cannot be one; choose from …",
        ),
        changes=GATE,
    ),
    *refused(
        "vectorize",
        VALIDATED,
        ("FILE is missing, as after a stop", remove(VALIDATED), f"missing; {MAKE}"),
        (
            "FILE is empty",
            write(VALIDATED, ""),
            f"not readable as Parquet: …Parquet file size is 0 bytes; {MAKE}",
        ),
        (
            "FILE is truncated",
            truncate(VALIDATED),
            f"not readable as Parquet: …{NO_PARQUET}; {MAKE}",
        ),
        ("FILE is garbled", garble(VALIDATED), f"not readable as Parquet: …{NO_PARQUET}; {MAKE}"),
        (
            "FILE lacks a column",
            without_column(VALIDATED, "label"),
            f"not readable as Parquet: No match for FieldRef.Name(label) in …; {MAKE}",
        ),
    ),
    *refused(
        "train",
        "data/vectorized/train",
        ("no shard in FILE", remove(SHARD), f"a folder without Parquet; {MAKE}"),
        (
            "a shard is truncated",
            truncate(SHARD),
            f"not readable as Parquet: …'{SHARD}'…{NO_PARQUET}; {MAKE}",
        ),
        (
            "a shard is garbled",
            garble(SHARD),
            f"not readable as Parquet: …'{SHARD}'…{NO_PARQUET}; {MAKE}",
        ),
    ),
    *(
        case
        for path, readers, problem in (
            (TOKENIZER, ("train", "evaluate", "register"), "not JSON: …"),
            (NETWORK, ("evaluate", "register"), "not a Keras network (it is no zip file)"),
            (SPLITS, ("evaluate", "register"), f"not readable as Parquet: …{NO_PARQUET}"),
            (DECISION, ("register",), "not JSON: …"),
            (EVALUATION, ("register",), "not JSON: …"),
            (CURVES, ("register",), "not CSV: …"),
            ("reports/plots/roc.csv", ("register",), "not CSV: …"),
        )
        for reader in readers
        for case in refused(
            reader,
            path,
            ("FILE is truncated", truncate(path), f"{problem}; {MAKE}"),
            ("FILE is garbled", garble(path), f"{problem}; {MAKE}"),
        )
    ),
    Case(
        "`mlflow.db` is garbled",
        "register",
        garble("mlflow.db"),
        f"error: MLflow at sqlite:///…/mlflow.db: (sqlite3.DatabaseError) file is not a database; {DATABASE}",
    ),
    *refused(
        SCORE,
        "in.csv",
        ("a missing file", nothing, "No such file or directory; mend the input"),
        ("a folder", folder_at("in.csv"), "Is a directory; mend the input"),
        (
            "an empty file",
            write("in.csv", ""),
            "no header, or one that has a name twice; mend the input",
        ),
        (
            "a missing column",
            write("in.csv", "id,body\n1,hi\n"),
            "no column 'text' among id, body; name it with --text",
        ),
        (
            "a ragged row",
            write("in.csv", "id,text\n1,hi\n2,see you, my friend\n"),
            "row 2: 3 columns, not 2; mend the input",
        ),
        (
            "not UTF-8",
            write("in.csv", b"text\ncaf\xe9 au lait\n"),
            "'utf-8' codec can't decode byte 0xe9 in position 8: invalid continuation byte; mend the input",
        ),
    ),
    Case(
        "an output of another kind",
        "python -m pipeline score in.csv out.xlsx",
        write("in.csv", "text\nhi\n"),
        "error: out.xlsx: format: unknown '.xlsx'; choose from .csv, .tsv, .jsonl, .parquet",
    ),
    Case(
        "no model is in service",
        SCORE,
        both(remove("mlflow.db"), write("in.csv", "text\nhi\n")),
        "error: models:/spam-detector@champion: there is none yet; run `make repro`",
    ),
    Case(
        "a folder in place of the output",
        SCORE,
        both(write("in.csv", "text\nhi\n"), folder_at("out.csv")),
        "error: out.csv: Is a directory; move it out of the way, then run it again",
    ),
    Case(
        "a NUL, emoji alone, nothing at all and 5 MB",
        SCORE,
        write("in.csv", 'text\na\0b\n🦊💰\n""\n' + "long " * 1_000_000),
        "",
        code=0,
    ),
    full("ingest", "data/ingested", MESSAGES),
    full("ingest", "reports", "reports/ingest.json"),
    full("validate", "data", "data/docs/….html"),
    full("validate", "data/review", "data/review/quarantine.parquet"),
    full("validate", "reports", "reports/validate.json"),
    full(
        "validate", "data/validated", VALIDATED, remove(VALIDATED)
    ),  # or what it replaces leaves room
    full("vectorize", "models", TOKENIZER),
    full("vectorize", "data/vectorized", SHARD),
    full("vectorize", "reports", "reports/vectorize.json"),
    full("train", ".checkpoints", ".checkpoints/….npz"),
    full("train", "models", NETWORK),
    full("train", "reports", CURVES),
    full("evaluate", "models", DECISION),
    full("evaluate", "data/review", "data/review/mistakes.parquet"),
    full("evaluate", "reports", "reports/plots/….csv"),
    full("register", "reports", "reports/register.json"),
    full(
        SCORE.replace("out.csv", "out/out.csv"),
        "out",
        "out/out.csv",
        both(write("in.csv", "text\nhi\n"), folder_at("out")),
    ),
    full(
        "register",
        "mlartifacts",
        "MLflow at sqlite:///…/mlflow.db",
        both(remove("mlflow.db", "mlartifacts"), folder_at("mlartifacts")),
    ),
    Case(
        "a full disk under `mlflow.db`",
        "train",
        move_database,
        "error: MLflow at sqlite:///db/mlflow.db: (sqlite3.OperationalError) database or disk is full; "
        f"{DATABASE}",
        environment={"MLFLOW_TRACKING_URI": "sqlite:///db/mlflow.db"},
        disk=Disk("db"),
    ),
    *(
        Case(
            "a full disk under `TMPDIR`",
            runs,
            folder_at("tmp"),
            f"error: …/tmp/…: {NO_ROOM}",
            environment={"TMPDIR": "tmp"},
            disk=Disk("tmp", room=8192),
        )
        for runs in ("train", "evaluate")
    ),
    Case(
        "a folder that may not be written",
        "ingest",
        nothing,
        f"error: {MESSAGES}: Read-only file system; give permission, then run it again",
        disk=Disk("data/ingested", room=None),
    ),
    Case(
        "a project that may not be written",
        "ingest",
        nothing,
        "error: …/.checkpoints/lock: Read-only file system; give permission, then run it again",
        disk=Disk(".", room=None),
    ),
    Case(
        "a file in place of a folder",
        "ingest",
        both(remove("data/ingested"), write("data/ingested", "")),
        "error: data/ingested: File exists; move it out of the way, then run it again",
    ),
    Case(
        "a folder in place of a file",
        "ingest",
        folder_at(MESSAGES),
        f"error: {MESSAGES}: Is a directory; move it out of the way, then run it again",
    ),
    Case(
        "`HOME` unset, `LANG=C`, a path with spaces and non-ASCII",
        "dvc repro --force",
        nothing,
        "register: first: it meets the criteria, and there is no champion",
        code=0,
        environment={"HOME": None, "LANG": "C", "LC_ALL": "C"},
    ),
    under_dvc(
        "a ragged row",
        append(INBOX, "0"),
        f"{INBOX}: row 91: 1 columns, not 2; mend the row",
        "ingest",
    ),
    under_dvc(
        "four rows of 94 with an unknown label",
        append(INBOX, *SEVENS),
        f"{MESSAGES}: label_is_known: 4 {NO_LABEL}",
        "validate",
        "label_is_known",
    ),
    under_dvc(
        "a budget that needs more ham",
        params(evaluate={"lost_ham_budget": 0.002}),
        f"{PARAMS}: {MORE_HAM}",
        "evaluate",
    ),
    Case(
        "`params.yaml` is no YAML: DVC says so, and touches nothing",
        "dvc repro",
        append(PARAMS, "["),
        f"ERROR: unable to read: '{PARAMS}', YAML file structure is corrupted: …",
        code=255,
    ),
    Case(
        "two at once: the second one is refused, and the first one ends well",
        two_at_once,
        nothing,
        "ERROR: failed to reproduce 'ingest': '…/reports/ingest.json' is busy, it is being blocked by:…",
        code=255,
    ),
    Case(
        "`python` is not on PATH: activate `.venv`, or use make",
        f"'{BIN}/dvc' repro",
        append(INBOX, "0,see you soon"),
        "…python: …not found\nERROR: failed to reproduce 'ingest': …, exited with 127",
        code=255,
        environment={"PATH": "/nowhere", "SHELL": "/bin/sh"},
    ),
]


# ---- trying one


def flaws(case: Case, project: Path, folder: Path) -> list[str]:
    """Tries the case in a copy of the project, made at `folder`. Returns what did not hold.

    The copy stays where something did not.
    """
    if case.disk and not sandbox.may_mount():
        return ["not tried, as this machine lets us have no disk without room"]
    shutil.copytree(project, folder, symlinks=True)
    case.spoil(folder)
    before, registry = made(folder), registry_of(folder)
    done = run_all(case, folder)
    found = [*flaws_of_words(case, done)]
    if (reasons := reasons_of(folder)) != {case.reason} - {""}:
        found.append(f"in quarantine: {reasons}")
    after = made(folder)
    if case.where() == "dvc repro" and after != before:
        back = sandbox.run(RESTORE_HINT.partition(": ")[2], folder, environment_of())
        found += [f"the way back: {back.said}"] * (back.code != 0)
        after = made(folder)
    touched = [name for name in before | after if before.get(name) != after.get(name)]
    if touched := [
        name for name in touched if not (case.changes and name.startswith(case.changes))
    ]:
        found.append(f"changed: {', '.join(touched)}")
    if registry_of(folder) != registry:
        found.append("the registry changed")
    if left := [path.name for path in folder.rglob(".*.tmp")]:
        found.append(f"left behind: {', '.join(left)}")
    if not found:
        shutil.rmtree(folder)
    return found


def run_all(case: Case, folder: Path) -> Done:
    """The case's commands, one after the other; how the last one ended."""
    environment = environment_of(**case.environment)
    if callable(case.runs):
        return case.runs(folder, environment)
    for command in case.runs.split(" && "):
        done = sandbox.run(COMMANDS.get(command, command), folder, environment, case.disk)
    return done


def environment_of(**changes: str | None) -> Environment:
    """This process's, with our programs on PATH, and the changes."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    changed = {**os.environ, "PATH": path, "PYTHONUNBUFFERED": "1", **changes}
    return {name: value for name, value in changed.items() if value is not None}


def flaws_of_words(case: Case, done: Done) -> Iterator[str]:
    """What is not as the case says in the exit code and on standard error."""
    lines = [
        line for line in done.said.splitlines() if line and not re.fullmatch(r"\d+\.\d s", line)
    ]
    if done.code != case.code:
        yield f"exit code {done.code}, not {case.code}"
    if not re.search(rf"(\A|\n){pattern_of(case.said)}\Z", "\n".join(lines)):
        yield f"said {' | '.join(lines[-4:])}"
    if errors_in(lines) != errors_in(case.said.splitlines()):
        yield f"{errors_in(lines)} errors"
    if "Traceback (most recent call last):" in lines:
        yield "a traceback"


def errors_in(lines: Iterable[str]) -> int:
    return sum(line.startswith("error: ") for line in lines)


def pattern_of(said: str) -> str:
    """A regular expression; `…` is any text in a line, and at the end any lines."""
    last = r"[\s\S]*" if said.endswith("…") else ""
    return ".*".join(map(re.escape, said.removesuffix("…").split("…"))) + last


def reasons_of(folder: Path) -> set[str]:
    """Why the rows in quarantine are there."""
    path = folder / "data/review/quarantine.parquet"
    return set(pq.read_table(path)["reasons"].to_pylist()) if path.exists() else set()


def registry_of(folder: Path) -> Any:
    """All versions and aliases; the bytes of a database that is none."""
    for database in folder.rglob("mlflow.db"):
        with closing(sqlite3.connect(database)) as registry:
            try:
                versions = registry.execute(
                    "SELECT name, version, source FROM model_versions"
                ).fetchall()
                return versions, registry.execute(
                    "SELECT * FROM registered_model_aliases"
                ).fetchall()
            except sqlite3.DatabaseError:
                return database.read_bytes()
    return [], []


# ---- the table


def rows_of(results: Iterable[tuple[Case, list[str]]]) -> Iterator[str]:
    """The rows of the README's table; what follows one another and is answered alike shares one."""

    def answer(result: tuple[Case, list[str]]) -> tuple[str, str]:
        case, _ = result
        reason = f"\nin quarantine: {case.reason}" if case.reason and not case.code else ""
        return case.where(), f"{case.said or 'nothing, and writes its output'}{reason}"

    for (where, said), group in itertools.groupby(results, answer):
        cases, found = zip(*group, strict=True)
        tried, wrong = "; ".join(case.tried for case in cases), "; ".join(itertools.chain(*found))
        cells = f"{where}: {tried}", f"no: {wrong}" if wrong else "yes", said
        line = " | ".join(cell.replace("|", "\\|").replace("\n", "<br>") for cell in cells)
        yield "| " + re.sub(r"\b([0-9a-f]{8})[0-9a-f]{56}\b", r"\1…", line) + " |"


def table() -> bool:
    """Tries every case, and prints the README's table. Returns whether all of them held."""
    with tempfile.TemporaryDirectory() as home, ThreadPoolExecutor(WORKERS) as pool:
        project = Path(home) / "project"
        project.mkdir()
        run = new_project(project)
        run("dvc", "repro")
        run("git", "add", "--all")
        run("git", "commit", "--quiet", "--message", "The first run")
        folders = [Path(home) / str(number) / NAME for number in range(len(CASES))]
        results = pool.map(flaws, CASES, [project] * len(CASES), folders)
        bar = tqdm(zip(CASES, results, strict=True), total=len(CASES), unit="case", disable=None)
        tried = list(bar)
    print("| tried | held | what the user sees |\n|---|---|---|")
    print("\n".join(rows_of(tried)))
    return not any(found for _, found in tried)


if __name__ == "__main__":
    sys.exit(not table())
