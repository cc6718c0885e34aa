"""The edge: params are refused by name, files are whole or absent and canonical, errors are one line."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from pipeline.core.cli import parse_paths, project_root
from pipeline.core.errors import PipelineError, convert_os_errors, join_column_names
from pipeline.core.files import atomic_path, read_json, write_json, write_text
from pipeline.core.hashing import combined_sha256, file_sha256
from pipeline.core.params import PARAMS_FILE, choose, read_params
from pipeline.core.reports import Figure, write_report
from pipeline.core.tables import read_csv, read_parquet, write_csv, write_parquet, write_shards

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Inner:
    low: float
    high: float

    def __post_init__(self):
        if self.low >= self.high:
            raise ValueError("low must be below high")


@dataclass(frozen=True)
class Params:
    rows: int
    name: str
    bounds: Inner
    sources: list[str]
    years: tuple[int, int]
    budgets: dict[str, float]


GOOD = """\
clean:
  rows: 3
  name: "2026"
  bounds: {low: 0.5, high: 1}
  sources: [sms, files]
  years: [1992, 2100]
  budgets: {text: 0.25}
dirty: {}
"""


NOT_UTF_8 = "'utf-8' codec can't decode byte 0xff"
QUOTE = "a quotation mark is not closed or not doubled"
KEYS = "str, int, float, bool or None"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the section `clean` of a params file that holds these words."""
    monkeypatch.chdir(tmp_path)

    def read(content):
        PARAMS_FILE.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_params(Params, "clean")

    return read


def refusal(call, *arguments):
    with pytest.raises(PipelineError) as refused:
        call(*arguments)
    return str(refused.value)


# ---- params


def test_params_come_as_their_dataclass(read):
    params = read(GOOD)
    assert isinstance(params, Params)
    assert isinstance(params.bounds, Inner)
    assert asdict(params) == {
        "rows": 3,
        "name": "2026",
        "bounds": {"low": 0.5, "high": 1.0},
        "sources": ["sms", "files"],
        "years": (1992, 2100),
        "budgets": {"text": 0.25},
    }


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  rows: 3\n", "", "clean.rows: missing"),
        ("rows: 3", "rows: 3\n  row: 4", "clean.row: unknown key; remove it or mend its spelling"),
        ("rows: 3", "rows: three", "clean.rows: input should be a valid integer, not 'three'"),
        ("rows: 3", "rows: 3.5", "clean.rows: input should be a valid integer, not 3.5"),
        ("rows: 3", "rows: '3'", "clean.rows: input should be a valid integer, not '3'"),
        ("rows: 3", "rows:", "clean.rows: input should be a valid integer, not None"),
        ('"2026"', "2026", "clean.name: input should be a valid string, not 2026"),
        ("high: 1", "high: one", "clean.bounds.high: input should be a valid number, not 'one'"),
        ("low: 0.5, ", "", "clean.bounds.low: missing"),
        (
            "low: 0.5",
            "lo: 0, low: 0.5",
            "clean.bounds.lo: unknown key; remove it or mend its spelling",
        ),
        ("low: 0.5", "low: 2", "clean.bounds: low must be below high"),
        ("{low: 0.5, high: 1}", "7", "clean.bounds: input should be an object, not 7"),
        ("[sms, files]", "sms", "clean.sources: input should be a valid array, not 'sms'"),
        ("[sms, files]", "[sms, 1]", "clean.sources.1: input should be a valid string, not 1"),
        ("[1992, 2100]", "[1992]", "clean.years.1: missing"),
        ("0.25", "much", "clean.budgets.text: input should be a valid number, not 'much'"),
        ("0.25", ".nan", "clean.budgets.text: input should be a finite number, not nan"),
        ("high: 1", "high: .inf", "clean.bounds.high: input should be a finite number, not inf"),
        ("rows: 3", "2026-01-02: 3", f"clean: keys must be {KEYS}, not datetime.date; remove it"),
        ("[sms, files]", "&a [*a]", "clean: Circular reference detected; remove it"),
        (
            "rows: 3",
            f"rows: {'x' * 99}",
            f"clean.rows: input should be a valid integer, not '{'x' * 79}",
        ),
    ],
)
def test_a_wrong_key_is_refused_by_its_full_name(read, old, new, line):
    assert old in GOOD
    assert refusal(read, GOOD.replace(old, new)) == f"params.yaml: {line}"


def test_several_wrong_keys_are_a_line_each(read):
    wrong = (
        GOOD.replace("rows: 3", "rows: x").replace("low: 0.5", "low: y").replace("years", "yeers")
    )
    assert refusal(read, wrong).splitlines() == [
        "params.yaml: clean.rows: input should be a valid integer, not 'x'",
        "error: params.yaml: clean.bounds.low: input should be a valid number, not 'y'",
        "error: params.yaml: clean.years: missing",
        "error: params.yaml: clean.yeers: unknown key; remove it or mend its spelling",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\n2: 3\n", "params.yaml: clean: missing; choose from a, 2"),
        ("clean: 2026-13-01\n", "params.yaml: not YAML: month must be in 1..12; mend the file"),
        (
            "clean: \0\n",
            "params.yaml: not YAML: unacceptable character #x0000: special characters are not allowed "
            'in "<unicode string>", position 7; mend the file',
        ),
        ("clean:\n", "params.yaml: clean: input should be an object, not None"),
        ("", "params.yaml: holds no sections; `git checkout params.yaml` brings them back"),
        ("[clean]", "params.yaml: holds no sections; `git checkout params.yaml` brings them back"),
        (
            "clean: [1\n",
            "params.yaml: line 2: not YAML: expected ',' or ']', but got '<stream end>'; mend the line",
        ),
        (
            "clean:\n  rows: 3\n  rows: 4\n",
            'params.yaml: line 3: not YAML: found duplicate key "rows" with value "4" (original value: "3"); '
            "mend the line",
        ),
        (
            b"clean: \xff\n",
            "params.yaml: not YAML: 'utf-8' codec can't decode byte 0xff in position 7: invalid start byte; "
            "mend the file",
        ),
    ],
)
def test_a_file_that_holds_no_params_is_refused_in_one_line(read, content, line):
    assert refusal(read, content) == line


def test_a_missing_params_file_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = "params.yaml: missing; run in the project's root, or `git checkout params.yaml` brings it back"
    assert refusal(read_params, Params, "clean") == line


def test_a_date_that_stands_for_a_text_is_that_text(read):
    assert read(GOOD.replace('"2026"', "2026-02-03")).name == "2026-02-03"


def test_a_byte_order_mark_changes_no_params(read):
    assert asdict(read(b"\xef\xbb\xbf" + GOOD.encode())) == asdict(read(GOOD))


def test_choose_lists_the_choices():
    assert choose({"sms": 1, "files": 2}, "files", "params.yaml: ingest.sources") == 2
    line = "params.yaml: ingest.sources: unknown 'sms_spm'; choose from sms, files"
    assert refusal(choose, {"sms": 1, "files": 2}, "sms_spm", "params.yaml: ingest.sources") == line
    assert refusal(choose, {}, "sms", "lock") == "lock: unknown 'sms'; choose from nothing"


def test_column_names_are_listed_without_what_may_be_a_message():
    names = ["text", "sent_at", "größe-2", "see you later", "a,b", "x" * 41, "", 7]
    assert join_column_names(names) == "text, sent_at, größe-2, …, …, …, …, 7"


# ---- writing


def batches(table, rows):
    """The table cut anew: each batch has buffers of its own, `rows` long in turn."""
    start = turn = 0
    while start < table.num_rows:
        part = table.slice(start, rows[turn % len(rows)])
        yield from part.combine_chunks().to_batches()
        start, turn = start + part.num_rows, turn + 1


@pytest.mark.parametrize("rows", [(777,), (65_536,), (1_000, 60_000, 3), (70_001, 1)])
def test_equal_rows_are_equal_bytes_however_they_were_cut(tmp_path, rows):
    rng = np.random.default_rng(1)
    words = rng.integers(1e9, size=140_000)
    columns = {
        "text": [f"message {word:x}" for word in words],
        "n": words,
        "ids": [[w, 7] for w in words % 9],
    }
    table = pa.table(columns)
    assert write_parquet(tmp_path / "whole", table.to_batches(), table.schema) == 140_000
    assert write_parquet(tmp_path / "cut", batches(table, rows), table.schema) == 140_000
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    assert pq.read_table(tmp_path / "cut").equals(table)
    of_file = pq.read_metadata(tmp_path / "cut")
    assert [of_file.row_group(i).num_rows for i in range(of_file.num_row_groups)] == [
        65_536,
        65_536,
        8_928,
    ]


def test_no_rows_are_a_table_with_its_columns(tmp_path):
    schema = pa.schema({"text": pa.string()})
    assert write_parquet(tmp_path / "none.parquet", [], schema) == 0
    assert read_parquet(tmp_path / "none.parquet").schema == schema


def test_shards_are_numbered_and_replace_all_earlier_ones(tmp_path):
    folder = tmp_path / "train"
    tables = [pa.table({"n": [number]}) for number in range(3)]
    write_shards(folder, tables)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["shard-00000.parquet", "shard-00001.parquet", "shard-00002.parquet"]
    assert read_parquet(folder)["n"].to_pylist() == [0, 1, 2]
    write_shards(folder, tables[:1])
    assert [path.name for path in tmp_path.rglob("*")] == ["train", "shard-00000.parquet"]


def test_replacing_makes_folders_and_leaves_the_new_file_alone(tmp_path):
    write_text(tmp_path / "deep" / "er" / "file", "old\n")
    write_text(tmp_path / "deep" / "er" / "file", "new é\n")
    assert [p.name for p in (tmp_path / "deep" / "er").iterdir()] == ["file"]
    assert (tmp_path / "deep" / "er" / "file").read_bytes() == "new é\n".encode()


def write_half(temporary, folder):
    if folder:
        temporary.mkdir()
        temporary /= "inside"
    temporary.write_text("half")


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_what_fails_halfway_leaves_the_old_and_nothing_temporary(tmp_path, folder, before):
    old = tmp_path / "out"
    if before:
        with atomic_path(old) as temporary:
            write_half(temporary, folder)
    names = sorted(path.name for path in tmp_path.rglob("*"))

    def fail():
        with atomic_path(old) as temporary:
            write_half(temporary, folder)
            (temporary / "inside" if folder else temporary).write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in tmp_path.rglob("*")) == names
    if before:
        assert (old / "inside" if folder else old).read_text() == "half"


@pytest.mark.parametrize("folder", [False, True])
def test_what_stands_in_the_way_of_an_output_is_refused_and_stays(tmp_path, folder):
    old = tmp_path / "out"
    if folder:
        old.write_text("a file")
    else:
        (old / "deep").mkdir(parents=True)

    def write():
        with atomic_path(old) as temporary:
            write_half(temporary, folder)

    problem = (
        "Not a directory; move what is in the way"
        if folder
        else "Is a directory; move it out of the way"
    )
    assert refusal(write) == f"{old}: {problem}, then run it again"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert old.is_dir() == (not folder)


def test_a_file_in_place_of_a_folder_is_refused_and_stays(tmp_path):
    (tmp_path / "reports").write_text("a file")
    line = f"{tmp_path}/reports: File exists; move it out of the way, then run it again"
    assert refusal(write_text, tmp_path / "reports" / "report.json", "") == line
    assert (tmp_path / "reports").read_text() == "a file"


def test_what_a_killed_process_left_goes_and_what_others_write_stays(tmp_path, monkeypatch):
    killed = subprocess.Popen([sys.executable, "-c", ""])
    killed.wait()
    mine, others = f".out.{os.getpid()}.tmp", ".out.1.tmp"
    for name in (f".out.{killed.pid}.tmp", f".other.{killed.pid}.tmp", ".out.x.tmp", mine, others):
        (tmp_path / name).touch()
    kill = os.kill

    def as_a_user(pid, signal):
        if pid == 1:
            raise PermissionError
        kill(pid, signal)

    monkeypatch.setattr(os, "kill", as_a_user)
    write_text(tmp_path / "out", "new")
    assert {path.name for path in tmp_path.iterdir()} == {
        "out",
        ".out.x.tmp",
        others,
        f".other.{killed.pid}.tmp",
    }


# ---- what the machine refuses


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device; free space"),
        (errno.EDQUOT, "Disk quota exceeded; free space"),
        (errno.EROFS, "Read-only file system; give permission"),
        (errno.EACCES, "Permission denied; give permission"),
        (errno.EPERM, "Operation not permitted; give permission"),
        (errno.EISDIR, "Is a directory; move it out of the way"),
        (errno.ENOTDIR, "Not a directory; move what is in the way"),
        (errno.EEXIST, "File exists; move it out of the way"),
        (errno.EMFILE, "Too many open files; raise `ulimit -n`"),
        (errno.EIO, "Input/output error; check the disk"),
    ],
)
def test_what_the_machine_refuses_says_place_problem_and_way_out(number, said):
    def fail(*where):
        with convert_os_errors("models"):
            raise OSError(number, "in its own words", *where)

    assert refusal(fail) == f"models: {said}, then run it again"
    assert (
        refusal(fail, "models/.model.keras.77.tmp/a")
        == f"models/model.keras/a: {said}, then run it again"
    )
    assert refusal(fail, "from", None, "to") == f"to: {said}, then run it again"


@pytest.mark.parametrize(
    "problem", ["No space left on device", "Disk quota exceeded", "Read-only file system"]
)
def test_a_full_disk_is_known_in_any_librarys_words(problem):
    def fail():
        with convert_os_errors("models"):
            raise RuntimeError(f"{{{{node SaveV2}}}} /tmp/x; {problem} [Op:SaveV2]")

    assert refusal(fail).startswith(f"models: {problem}; ")


def test_a_machine_without_a_temporary_directory_says_which_it_tried():
    def fail():
        with convert_os_errors("models"):
            raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp', '/x']")

    problem = "No usable temporary directory found in ['/tmp', '/x']"
    assert refusal(fail) == f"{problem}; free space or give permission, then run it again"


@pytest.mark.parametrize(
    "error",
    [KeyError("x"), FileNotFoundError(2, "x"), PipelineError("a: No space left on device; b")],
)
def test_what_is_not_the_machines_stays_as_it_is(error):
    with pytest.raises(type(error)) as raised, convert_os_errors("models"):
        raise error
    assert raised.value is error


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("one", "two"):
        with atomic_path(tmp_path / "docs") as temporary:
            temporary.mkdir()
            (temporary / name).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["docs", "two"]


def test_a_report_has_the_one_schema_and_rounded_figures(tmp_path):
    figures = {
        "f1": Figure(np.float32(0.1), low=0.12345649, high=1, n=np.int64(7)),
        "auc": Figure(float("nan")),
        "slope": Figure(None),
        "zero": Figure(-1e-9),
        "rows": Figure(np.int64(12)),
    }
    write_report(tmp_path / "report.json", 12, figures, "12 é rows")
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == (
        '{\n  "rows": 12,\n  "figures": {\n'
        '    "f1": {\n      "value": 0.1,\n      "low": 0.123456,\n      "high": 1,\n      "n": 7\n    },\n'
        '    "auc": {\n      "value": null\n    },\n'
        '    "slope": {\n      "value": null\n    },\n'
        '    "zero": {\n      "value": 0.0\n    },\n'
        '    "rows": {\n      "value": 12\n    }\n'
        '  },\n  "verdict": "12 é rows"\n}\n'
    )


def test_a_plot_table_is_rounded_as_figures_are(tmp_path):
    write_csv(tmp_path / "roc.csv", ["x", "y"], [[1, 0.12345678], ["a,b", float("inf")]])
    assert (tmp_path / "roc.csv").read_bytes() == b'x,y\n1,0.123457\n"a,b",\n'


# ---- reading


MAKE = "`dvc repro` or `dvc pull` makes it"


@pytest.mark.parametrize("read", [read_parquet, read_json, read_csv, combined_sha256])
def test_a_missing_file_says_what_makes_it(tmp_path, read):
    path = tmp_path / "none"
    assert refusal(read, path) == f"{path}: missing; {MAKE}"


@pytest.mark.parametrize(
    ("read", "problem"),
    [
        (read_parquet, "a folder without Parquet"),
        (read_json, "Is a directory"),
        (read_csv, "Is a directory"),
        (combined_sha256, "Is a directory"),
    ],
)
def test_a_folder_in_place_of_a_file_is_refused_in_one_line(tmp_path, read, problem):
    assert refusal(read, tmp_path) == f"{tmp_path}: {problem}; {MAKE}"


NOT_PARQUET = (
    "not readable as Parquet: Could not open Parquet input source 'PATH': Parquet magic bytes not found in "
    "footer. Either the file is corrupted or this is not a parquet file"
)


@pytest.mark.parametrize(
    ("read", "content", "problem"),
    [
        (read_json, "neither", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        (read_json, b'{"a": "\xff"}', f"not JSON: {NOT_UTF_8} in position 7: invalid start byte"),
        (read_parquet, "neither header nor footer", NOT_PARQUET),
        (read_csv, "", "not CSV: not enough values to unpack (expected at least 1, got 0)"),
        (read_csv, "a,b\n1,2\n1\n", "not CSV: row 2: 1 columns, not 2"),
        (read_csv, "a,b\n1,2,3\n", "not CSV: row 1: 3 columns, not 2"),
        (read_csv, 'a,b\n\n1,"2\n', f"not CSV: row 1: {QUOTE} (unexpected end of data)"),
        (read_csv, b"a,b\n\xff,2\n", f"not CSV: {NOT_UTF_8} in position 4: invalid start byte"),
    ],
)
def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path, read, content, problem):
    path = tmp_path / "file"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert refusal(read, path) == f"{path}: {problem.replace('PATH', str(path))}; {MAKE}"


def test_a_parquet_file_with_a_damaged_page_is_refused_in_one_line(tmp_path):
    path = tmp_path / "file"
    texts = ["hello you " * n for n in range(3000)]
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", use_dictionary=False)
    content = bytearray(path.read_bytes())
    content[200:260] = 60 * b"\xff"  # header and footer stay
    path.write_bytes(content)
    problem = "not readable as Parquet: ZSTD decompression failed: Data corruption detected"
    assert refusal(read_parquet, path) == f"{path}: {problem}; {MAKE}"


def test_a_column_that_a_parquet_file_lacks_is_refused_in_one_line(tmp_path):
    pq.write_table(pa.table({"text": ["hello"], "n": [1]}), tmp_path / "file")
    problem = "not readable as Parquet: No match for FieldRef.Name(label) in text: string"
    line = f"{tmp_path}/file: {problem}; {MAKE}"
    assert refusal(read_parquet, tmp_path / "file", ["text", "label"]) == line


def test_a_plot_table_is_read_as_it_was_written(tmp_path):
    write_csv(tmp_path / "roc.csv", ["x", "the y"], [[1, 0.25], ["a,b", None]])
    assert read_csv(tmp_path / "roc.csv") == {"x": ["1", "a,b"], "the y": ["0.25", ""]}
    write_csv(tmp_path / "roc.csv", ["x", "y"], [])
    assert read_csv(tmp_path / "roc.csv") == {"x": [], "y": []}


def test_sha256_depends_on_the_order_and_the_cut_of_the_files(tmp_path):
    for name, content in {"a": "xy", "b": "z", "c": "x", "d": "yz"}.items():
        (tmp_path / name).write_text(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert (
        len(
            {
                combined_sha256(a, b),
                combined_sha256(b, a),
                combined_sha256(c, d),
                combined_sha256(a),
            }
        )
        == 4
    )


# ---- the command line


@pytest.fixture
def run(tmp_path):
    """A stage whose main does this, as a process of its own."""

    def run(body, **environment):
        program = f"import os\nfrom pipeline import stage\ndef main():\n    {body}\nstage.run(main)"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        command = [sys.executable, "-c", program]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True
        )

    return run


def test_what_the_person_can_mend_is_one_line_and_exit_1(run):
    done = run("raise stage.PipelineError('params.yaml: rows: missing')")
    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "error: params.yaml: rows: missing\n",
    )


def test_a_bug_keeps_its_traceback(run):
    done = run("{}['no such key']")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("KeyError: 'no such key'\n")


def test_a_bug_is_told_without_the_passwords_that_it_holds(run):
    done = run("{}['http://me:secret@host:5000/x and sqlite:///mlflow.db']")
    assert done.stderr.endswith("KeyError: 'http://***@host:5000/x and sqlite:///mlflow.db'\n")
    assert "secret" not in done.stderr


def test_log_lines_hold_no_password_whoever_wrote_them(run):
    done = run(
        "import logging; logging.getLogger('urllib3').warning('no answer from http://%s@host', 'me:secret')"
    )
    assert done.stderr.splitlines()[0] == "no answer from http://***@host"


def test_what_the_machine_refuses_is_one_line_and_exit_1(run):
    done = run("raise OSError(28, 'x')")
    line = "error: this machine: No space left on device; free space, then run it again\n"
    assert (done.returncode, done.stderr) == (1, line)


def test_an_interruption_is_one_word(run):
    done = run("raise KeyboardInterrupt")
    assert (done.returncode, done.stderr) == (1, "interrupted\n")


@pytest.mark.parametrize(
    "body", ["raise stage.PipelineError('x')", "{}[0]", "raise KeyboardInterrupt"]
)
def test_under_dvc_whatever_stops_a_stage_is_followed_by_the_way_back(run, tmp_path, body):
    assert (
        "git checkout" not in run(body, DVC_STAGE="ingest").stderr
    )  # a first run has nothing to go back to
    (tmp_path / "dvc.lock").touch()
    assert "git checkout" not in run(body).stderr
    assert run(body, DVC_STAGE="ingest").stderr.splitlines()[-1] == (
        "the last good outputs come back with: git checkout dvc.lock reports && dvc checkout --force dvc.yaml"
    )


def test_a_stage_waits_for_the_one_that_is_at_work_in_its_folder(run, tmp_path):
    with FileLock(tmp_path / ".checkpoints" / "lock"):
        waiting = subprocess.Popen(
            [sys.executable, "-c", "from pipeline import stage; stage.run(lambda: print('alone'))"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        line = "a stage that outlived its `dvc repro` is at work in this folder: waiting for it\n"
        assert waiting.stderr.readline() == line
        assert waiting.poll() is None
    assert waiting.communicate()[0] == "alone\n"
    assert waiting.returncode == 0


def test_a_command_that_ends_well_says_how_long_it_took(run):
    done = run("stage.log.info('12 rows')")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[0] == "12 rows"
    assert done.stderr.splitlines()[1].endswith(" s")


def test_a_reader_that_went_away_is_no_traceback():
    command = f"'{sys.executable}' -c 'from pipeline import stage; stage.run(lambda: print(chr(10) * 10**6))'"
    done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_paths_come_in_the_order_of_the_command():
    assert [str(p) for p in parse_paths(["a", "b/c"], "A stage.", "messages", "report")] == [
        "a",
        "b/c",
    ]


def test_the_root_is_dvcs_where_dvc_runs_us(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert str(project_root()) == "/somewhere"
    monkeypatch.delenv("DVC_ROOT")
    assert str(project_root()) == "."


def test_json_is_canonical_and_refuses_what_json_cannot_say(tmp_path):
    write_json(tmp_path / "a.json", {"b": "é", "a": [1]})
    assert (
        tmp_path / "a.json"
    ).read_bytes() == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == read_json(
        tmp_path / "a.json"
    )


def test_the_sha256_of_a_file_is_that_of_its_bytes_and_what_is_no_file_is_one_line(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"hello").hexdigest()
    for name, problem in (("none", "missing"), (".", "Is a directory")):
        with pytest.raises(PipelineError) as refused:
            file_sha256(tmp_path / name, "look for it")
        assert str(refused.value) == f"{tmp_path / name}: {problem}; look for it"
