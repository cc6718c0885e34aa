"""The edge: params are refused by name, files are whole or absent and canonical, errors are one line."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import stage
from pipeline.stage import Figure, PipelineError


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


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the section `clean` of a params file that holds these words."""
    monkeypatch.chdir(tmp_path)

    def read(content):
        stage.PARAMS_FILE.write_bytes(content if isinstance(content, bytes) else content.encode())
        return stage.read_params(Params, "clean")

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
        ("low: 0.5", "lo: 0, low: 0.5", "clean.bounds.lo: unknown key; remove it or mend its spelling"),
        ("low: 0.5", "low: 2", "clean.bounds: low must be below high"),
        ("{low: 0.5, high: 1}", "7", "clean.bounds: input should be an object, not 7"),
        ("[sms, files]", "sms", "clean.sources: input should be a valid array, not 'sms'"),
        ("[sms, files]", "[sms, 1]", "clean.sources.1: input should be a valid string, not 1"),
        ("[1992, 2100]", "[1992]", "clean.years.1: missing"),
        ("0.25", "much", "clean.budgets.text: input should be a valid number, not 'much'"),
    ],
)
def test_a_wrong_key_is_refused_by_its_full_name(read, old, new, line):
    assert old in GOOD
    assert refusal(read, GOOD.replace(old, new)) == f"params.yaml: {line}"


def test_several_wrong_keys_are_a_line_each(read):
    wrong = GOOD.replace("rows: 3", "rows: x").replace("low: 0.5", "low: y").replace("years", "yeers")
    assert refusal(read, wrong).splitlines() == [
        "params.yaml: clean.rows: input should be a valid integer, not 'x'",
        "error: params.yaml: clean.bounds.low: input should be a valid number, not 'y'",
        "error: params.yaml: clean.years: missing",
        "error: params.yaml: clean.yeers: unknown key; remove it or mend its spelling",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\nb: 2\n", "params.yaml: clean: missing; choose from a, b"),
        ("clean:\n", "params.yaml: clean: input should be an object, not None"),
        ("", "params.yaml: holds no sections; see the one that came with the project"),
        ("[clean]", "params.yaml: holds no sections; see the one that came with the project"),
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
    line = "params.yaml: No such file or directory; run from the project's root"
    assert refusal(stage.read_params, Params, "clean") == line


def test_a_date_that_stands_for_a_text_is_that_text(read):
    assert read(GOOD.replace('"2026"', "2026-02-03")).name == "2026-02-03"


def test_choose_lists_the_choices():
    assert stage.choose({"sms": 1, "files": 2}, "files", "params.yaml: ingest.sources") == 2
    line = "params.yaml: ingest.sources: unknown 'sms_spm'; choose from sms, files"
    assert refusal(stage.choose, {"sms": 1, "files": 2}, "sms_spm", "params.yaml: ingest.sources") == line


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
    assert stage.write_parquet(tmp_path / "whole", table.to_batches(), table.schema) == 140_000
    assert stage.write_parquet(tmp_path / "cut", batches(table, rows), table.schema) == 140_000
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    assert pq.read_table(tmp_path / "cut").equals(table)
    of_file = pq.read_metadata(tmp_path / "cut")
    assert [of_file.row_group(i).num_rows for i in range(of_file.num_row_groups)] == [65_536, 65_536, 8_928]


def test_no_rows_are_a_table_with_its_columns(tmp_path):
    schema = pa.schema({"text": pa.string()})
    assert stage.write_parquet(tmp_path / "none.parquet", [], schema) == 0
    assert stage.read_parquet(tmp_path / "none.parquet").schema == schema


def test_shards_are_numbered_and_replace_all_earlier_ones(tmp_path):
    folder = tmp_path / "train"
    tables = [pa.table({"n": [number]}) for number in range(3)]
    stage.write_shards(folder, tables)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["shard-00000.parquet", "shard-00001.parquet", "shard-00002.parquet"]
    assert stage.read_parquet(folder)["n"].to_pylist() == [0, 1, 2]
    stage.write_shards(folder, tables[:1])
    assert [path.name for path in tmp_path.rglob("*")] == ["train", "shard-00000.parquet"]


def test_replacing_makes_folders_and_leaves_the_new_file_alone(tmp_path):
    stage.write_text(tmp_path / "deep" / "er" / "file", "old\n")
    stage.write_text(tmp_path / "deep" / "er" / "file", "new é\n")
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
        with stage.replacing(old) as temporary:
            write_half(temporary, folder)
    names = sorted(path.name for path in tmp_path.rglob("*"))

    def fail():
        with stage.replacing(old) as temporary:
            write_half(temporary, folder)
            (temporary / "inside" if folder else temporary).write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert sorted(path.name for path in tmp_path.rglob("*")) == names
    if before:
        assert (old / "inside" if folder else old).read_text() == "half"


def test_a_folder_is_replaced_whole(tmp_path):
    for name in ("one", "two"):
        with stage.replacing(tmp_path / "docs") as temporary:
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
    stage.write_report(tmp_path / "report.json", 12, figures, "12 é rows")
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
    stage.write_csv(tmp_path / "roc.csv", ["x", "y"], [[1, 0.12345678], ["a,b", float("inf")]])
    assert (tmp_path / "roc.csv").read_bytes() == b'x,y\n1,0.123457\n"a,b",\n'


# ---- reading


@pytest.mark.parametrize("read", [stage.read_parquet, stage.read_json, stage.sha256])
def test_a_missing_file_says_what_makes_it(tmp_path, read):
    path = tmp_path / "none"
    assert refusal(read, path) == f"{path}: missing; `dvc repro` or `dvc pull` makes it"


def test_a_file_of_another_kind_is_refused_in_one_line(tmp_path):
    path = tmp_path / "file"
    path.write_text("neither")
    assert refusal(stage.read_json, path) == f"{path}: not JSON: Expecting value: line 1 column 1 (char 0)"
    line = refusal(stage.read_parquet, path)
    assert line.startswith(f"{path}: not readable as Parquet: ")
    assert "\n" not in line


def test_sha256_depends_on_the_order_and_the_cut_of_the_files(tmp_path):
    for name, content in {"a": "xy", "b": "z", "c": "x", "d": "yz"}.items():
        (tmp_path / name).write_text(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    assert len({stage.sha256(a, b), stage.sha256(b, a), stage.sha256(c, d), stage.sha256(a)}) == 4


# ---- the command line


def run(body):
    """A command whose main does this, as its own process."""
    program = f"import sys\nfrom pipeline import stage\ndef main():\n    {body}\nstage.run(main)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)


def test_what_the_person_can_mend_is_one_line_and_exit_1():
    done = run("raise stage.PipelineError('params.yaml: rows: missing')")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: params.yaml: rows: missing\n")


def test_a_bug_keeps_its_traceback():
    done = run("{}['no such key']")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback (most recent call last):")
    assert done.stderr.endswith("KeyError: 'no such key'\n")


def test_a_command_that_ends_well_says_how_long_it_took():
    done = run("stage.log.info('12 rows')")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[0] == "12 rows"
    assert done.stderr.splitlines()[1].endswith(" s")


def test_a_reader_that_went_away_is_no_traceback():
    command = f"'{sys.executable}' -c 'from pipeline import stage; stage.run(lambda: print(chr(10) * 10**6))'"
    done = subprocess.run(f"{command} | head -n 1", shell=True, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_paths_come_in_the_order_of_the_command():
    assert [str(p) for p in stage.paths(["a", "b/c"], "A stage.", "messages", "report")] == ["a", "b/c"]


def test_the_root_is_dvcs_where_dvc_runs_us(monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    assert str(stage.root()) == "/somewhere"
    monkeypatch.delenv("DVC_ROOT")
    assert str(stage.root()) == "."


def test_json_is_canonical_and_refuses_what_json_cannot_say(tmp_path):
    stage.write_json(tmp_path / "a.json", {"b": "é", "a": [1]})
    assert (tmp_path / "a.json").read_bytes() == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'.encode()
    with pytest.raises(ValueError, match="JSON"):
        stage.write_json(tmp_path / "a.json", float("nan"))
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == stage.read_json(
        tmp_path / "a.json"
    )
