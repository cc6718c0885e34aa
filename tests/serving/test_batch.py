"""`score` keeps the columns of any format, adds answers, and can be interrupted."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import mlflow
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.schemas import SCORES
from pipeline.registry import versions
from pipeline.serving import resumable, scoring
from pipeline.serving.batch import main
from pipeline.sources.file_formats import FORMATS
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.validation import runner
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT

TIME, NOW = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "NOW"
HEADER = ",".join(SCORES.names)
REFUSALS = runner.refusals


class Model:
    """Like MLflow's model: spam if the text contains `win`, its length as probability."""

    def __init__(self):
        self.texts = []
        self.ends_after = None  # so many texts

    def predict(self, table):
        if len(self.texts) == self.ends_after:
            raise KeyboardInterrupt
        assert list(table) == ["text"]
        assert table["text"].dtype == "str"
        assert not table["text"].isna().any()
        texts = table["text"].tolist()
        self.texts += texts
        label = pd.Series(["spam" if "win" in text.lower() else "ham" for text in texts], dtype=str)
        probability = pd.Series([len(text) / 64 for text in texts], dtype="float64")
        return pd.DataFrame({"label": label, "probability": probability, "threshold": 0.5})


@pytest.fixture
def model():
    return Model()


def scored(path):
    """The content of an output, with NOW for each time."""
    if path.suffix != ".parquet":
        return TIME.sub(NOW, path.read_bytes().decode())
    return [row | {"scored_at": NOW} for row in pq.read_table(path).to_pylist()]


def refuse_empty(texts, params):
    """Replaces the guard, as Great Expectations takes 0.2 s a batch."""
    reasons = ["" if text and text.strip() else "text_is_not_null" for text in texts]
    return pd.Series(reasons, dtype="str")


@pytest.fixture
def run(tmp_path, monkeypatch, model):
    """Runs `python -m pipeline score INPUT OUTPUT` with the model above as champion."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr(runner, "refusals", refuse_empty)
    monkeypatch.setattr(versions, "load_champion", lambda: (model, "3"))
    monkeypatch.setattr(versions, "load_version", {"3": model}.__getitem__)

    def run(given, wanted, *options, content=None):
        if content is not None:
            Path(given).write_bytes(content if isinstance(content, bytes) else content.encode())
        main([given, wanted, *options])
        return None if wanted == "-" else scored(Path(wanted))

    return run


def files(folder):
    """The names of the files in a folder, without params.yaml."""
    return sorted(path.name for path in folder.iterdir() if path.name != "params.yaml")


def write_input(folder, suffix, rows):
    """Writes rows as an input of this format. Returns its name."""
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        rule = {"sep": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {}
        pd.DataFrame(rows).to_csv(path, index=False, **rule)
    return path.name


# ---- formats

ROWS = [
    {"id": "007", "text": 'Win "now"', "label": "spam", "probability": 9 / 64, "threshold": 0.5},
    {"id": "", "text": "hé", "label": "ham", "probability": 2 / 64, "threshold": 0.5},
    {"id": " 1 ", "text": ":)", "label": "ham", "probability": 2 / 64, "threshold": 0.5},
]


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_every_format_becomes_every_other(tmp_path, run, monkeypatch, given, wanted):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    given = write_input(tmp_path, given, [{"id": row["id"], "text": row["text"]} for row in ROWS])
    written = run(given, f"out{wanted}")
    if wanted == ".parquet":
        rows = written
    elif wanted == ".jsonl":
        rows = [json.loads(line) for line in written.splitlines()]
    else:
        rule = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if wanted == ".tsv" else {}
        rows = list(csv.DictReader(io.StringIO(written), **rule))
        for row in rows:
            row |= {name: float(row[name]) for name in ("probability", "threshold")}
            row["refused"] = row["refused"] or None
    assert rows == [row | {"model_version": "3", "scored_at": NOW, "refused": None} for row in ROWS]
    assert list(rows[0]) == ["id", "text", *SCORES.names]
    assert files(tmp_path) == [given, f"out{wanted}"]


def test_csv_keeps_its_columns_and_gets_six_more(run):
    content = '\ufeffn,body\r\n007,"a, ""b"""\r\n1e3,NA\r\n'
    assert run("in.csv", "out.csv", "--text", "body", content=content) == (
        "n,body,label,probability,threshold,model_version,scored_at,refused\n"
        '007,"a, ""b""",ham,0.09375,0.5,3,NOW,\n'
        "1e3,NA,ham,0.03125,0.5,3,NOW,\n"
    )


def test_json_lines_keep_their_values_and_hold_no_nan(run, model):
    lines = [
        {"text": "a", "id": 1, "tags": ["x", {"y": None}]},
        {"text": None, "id": None},
        {"id": 12345678901234567890, "text": 7, "ok": True},
    ]
    written = run("in.jsonl", "out.jsonl", content="\n".join(map(json.dumps, lines)))
    assert "NaN" not in written
    ham = {"label": "ham", "probability": 1 / 64, "threshold": 0.5, "refused": None}
    null = dict.fromkeys(ham) | {"refused": "text_is_not_null"}
    every = {"id": None, "text": None, "tags": None, "ok": None}
    every |= {"model_version": "3", "scored_at": NOW}
    assert [json.loads(line) for line in written.splitlines()] == [
        every | line | answer for line, answer in zip(lines, [ham, null, ham], strict=True)
    ]
    assert model.texts == ["a", "7"]


def test_parquet_keeps_its_types(tmp_path, run, model):
    noon = datetime(2024, 2, 29, 12)
    columns = {
        "text": pa.array(["Win", None, "c"]),
        "id": pa.array([1, None, 12345678901234567], pa.int64()),
        "at": pa.array([noon, None, noon], pa.timestamp("us")),
        "tags": pa.array([[1], None, [2, 3]], pa.list_(pa.int32())),
        "share": pa.array([0.25, float("nan"), None]),
        "none": pa.nulls(3),
    }
    given = pa.table(columns)
    pq.write_table(given, tmp_path / "in.parquet")
    run("in.parquet", "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema.names == [*columns, *SCORES.names]
    for name in ("text", "id", "at", "tags", "none"):
        assert out[name].to_pylist() == given[name].to_pylist()
        assert out.schema.field(name).type == given.schema.field(name).type
    assert model.texts == ["Win", "c"]
    lines = [json.loads(line) for line in run("in.parquet", "out.jsonl").splitlines()]
    time = "2024-02-29 12:00:00"
    assert [(line["id"], line["at"], line["tags"], line["share"]) for line in lines] == [
        (1, time, [1], 0.25),
        (None, None, None, None),
        (12345678901234567, time, [2, 3], None),
    ]


def test_half_a_surrogate_pair_becomes_a_question_mark(run, model):
    content = '{"text": "a\\ud83d"}\n{"text": "\\ud83d\\udcb0"}\n'
    written = run("in.jsonl", "out.jsonl", content=content)
    assert [json.loads(line)["text"] for line in written.splitlines()] == ["a?", "💰"]
    assert model.texts == ["a?", "💰"]


def test_later_lines_keep_their_columns(run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    content = '{"id": "1", "text": "a"}\n{"text": "b", "id": "2"}\n{"text": "c"}\n'
    rows = run("in.jsonl", "out.parquet", content=content)
    assert [(row["id"], row["text"]) for row in rows] == [("1", "a"), ("2", "b"), (None, "c")]
    lines = run("in.jsonl", "out.csv").splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [["1", "a"], ["2", "b"], ["", "c"]]


@pytest.mark.parametrize("wanted", FORMATS)
def test_file_of_refused_rows_has_only_reasons(run, model, wanted):
    written = run("in.jsonl", f"out{wanted}", content='{"text": null}\n{"text": " "}\n')
    assert model.texts == []
    assert "text_is_not_null" in str(written)


def test_each_batch_has_its_own_scoring_time(tmp_path, run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    times = [pd.Timestamp(2026, 11, 25, 14, 20, second, tz="UTC") for second in (0, 7)]
    for wanted in ("out.csv", "out.tsv", "out.jsonl", "out.parquet"):
        monkeypatch.setattr(scoring, "scoring_time", iter(times).__next__)
        run("in.csv", wanted, content="text\na\nb\nc\n")
        if wanted != "out.parquet":
            rows = TIME.findall((tmp_path / wanted).read_text())
            assert rows == ["2026-11-25T14:20:00+00:00"] * 2 + ["2026-11-25T14:20:07+00:00"]
    rows = pq.read_table(tmp_path / "out.parquet")["scored_at"]
    assert rows.type == pa.timestamp("us", "UTC")
    assert rows.to_pylist() == [times[0], times[0], times[1]]


EMPTY = {
    "in.csv": "id,text\n",
    "in.tsv": "id\ttext\n",
    "in.jsonl": "",
    "in.parquet": pd.DataFrame({"id": [], "text": []}, dtype="str").to_parquet(),
}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", EMPTY)
def test_input_without_rows_gives_a_header_only(tmp_path, run, given, wanted):
    run(given, f"out{wanted}", content=EMPTY[given])
    columns = ["text"] if given == "in.jsonl" else ["id", "text"]
    output = tmp_path / f"out{wanted}"
    if wanted == ".jsonl":
        assert output.read_bytes() == b""
    elif wanted == ".parquet":
        out = pq.read_table(output)
        assert (out.num_rows, out.schema.names) == (0, [*columns, *SCORES.names])
        assert out.schema.field("scored_at").type == pa.timestamp("us", "UTC")
    else:
        mark = "," if wanted == ".csv" else "\t"
        assert output.read_text() == mark.join([*columns, *SCORES.names]) + "\n"


# ---- standard input and output


@pytest.fixture
def say(monkeypatch):
    """Sets the standard input."""

    def say(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return say


def test_standard_streams_are_lines_and_json_lines(run, say, capsys, monkeypatch):
    monkeypatch.setattr(runner, "refusals", REFUSALS)
    say('Win é\r\n\nsay "hi"'.encode())
    run("-", "-")
    added = '"threshold": 0.5, "model_version": "3", "scored_at": "NOW", "refused": null}'
    assert TIME.sub(NOW, capsys.readouterr().out).splitlines() == [
        f'{{"text": "Win é", "label": "spam", "probability": 0.078125, {added}',
        '{"text": "", "label": null, "probability": null, "threshold": null, "model_version": "3", '
        '"scored_at": "NOW", "refused": "text_is_not_blank, text_length_is_within_bounds"}',
        f'{{"text": "say \\"hi\\"", "label": "ham", "probability": 0.125, {added}',
    ]


def test_standard_stream_and_file_can_be_combined(run, say, capsys):
    say(b"hi\n")
    written = run("-", "out.csv", "--text", "body")
    assert written == f"body,{HEADER}\nhi,ham,0.03125,0.5,3,NOW,\n"
    run("in.csv", "-", content="text,n\nhi,007\n")
    assert json.loads(capsys.readouterr().out)["n"] == "007"


def test_standard_input_must_be_utf_8(run, say):
    say(b"hi\n\xff\n")
    problem = "'utf-8' codec can't decode byte 0xff in position 3: invalid start byte"
    assert error_of(run, "-", "-") == f"-: {problem}; save it as UTF-8"


# ---- what is refused, and leaves no output

BAD_BYTE = "'utf-8' codec can't decode byte 0xe9 in position 5: invalid continuation byte"
CHOICES = "choose from .csv, .tsv, .jsonl, .parquet"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("in.csv", "id,body\n1,a\n", "no column 'text' among id, body; name it with --text"),
        ("in.csv", "see you later\nhi\n", "no column 'text' among …; name it with --text"),
        ("in.jsonl", '{"body": 1}\n', "no column 'text' among body; name it with --text"),
        ("in.csv", "text,label\na,1\n", "already has a column 'label'; rename it"),
        ("in.jsonl", '{"text": "a", "refused": 1}\n', "already has a column 'refused'; rename it"),
        ("in.csv", "text,id,id\na,1,2\n", "more than one column 'id'; rename one"),
        ("in.csv", b"text\n\xe9\xe9\n", f"{BAD_BYTE}; save it as UTF-8"),
        ("in.txt", "hi", f"format: unknown '.txt'; {CHOICES}"),
    ],
)
def test_input_that_cannot_be_scored_is_one_line(tmp_path, run, name, content, problem):
    assert error_of(run, name, "out.csv", content=content) == f"{name}: {problem}"
    assert files(tmp_path) == [name]


@pytest.mark.parametrize(
    ("given", "wanted", "line"),
    [
        ("in.csv", "out.xlsx", f"out.xlsx: format: unknown '.xlsx'; {CHOICES}"),
        ("no.csv", "out.csv", "no.csv: No such file or directory; correct or remove the file"),
    ],
)
def test_wrong_name_is_refused_before_the_model_loads(run, monkeypatch, given, wanted, line):
    monkeypatch.setattr(versions, "load_champion", None)
    assert error_of(run, given, wanted) == line


NEW = "the input has a column 'new' that its first 1 rows do not have"
TAB = "out.tsv: a cell holds a tab or a line break"
TYPE = "out.parquet: Failed to parse string: 'x' as a scalar of type int64"
PAIR = "'utf-8' codec can't encode character '\\ud83d' in position 1: surrogates not allowed"


@pytest.mark.parametrize(
    ("content", "wanted", "problem"),
    [
        ('{"text": "a"}\n{"text": "b", "new": 1}\n', "out.csv", NEW),
        ('{"text": "a\\tb"}\n', "out.tsv", TAB),
        ('{"text": "a\\nb"}\n', "out.tsv", TAB),
        ('{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n', "out.parquet", TYPE),
        ('{"text": "a\\ud83d"}\n', "out.parquet", f"out.parquet: {PAIR}"),
    ],
)
def test_value_that_a_format_cannot_hold_is_one_line(
    tmp_path, run, monkeypatch, content, wanted, problem
):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    line = error_of(run, "in.jsonl", wanted, content=content)
    assert line == f"{problem}; write .jsonl"
    assert files(tmp_path) == ["in.jsonl"]


def test_output_appears_only_when_it_is_complete(tmp_path, run, monkeypatch, model):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    (tmp_path / "out.csv").write_text("the last good one")
    answer, seen = model.predict, []

    def fail_at_the_third(table):
        seen.append(files(tmp_path))
        if len(seen) == 3:
            raise RuntimeError
        return answer(table)

    monkeypatch.setattr(model, "predict", fail_at_the_third)
    with pytest.raises(RuntimeError):
        run("in.csv", "out.csv", content="text\na\nb\nc\n")
    assert seen[2] == [".out.csv.lock", ".out.csv.parts", "in.csv", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "the last good one"
    assert files(tmp_path) == [".out.csv.parts", "in.csv", "out.csv"]


def test_input_may_be_its_own_output(run):
    assert run("in.csv", "in.csv", content="text\na\nb\n").count("\n") == 3
    assert error_of(run, "in.csv", "in.csv") == "in.csv: already has a column 'label'; rename it"


def test_bad_input_leaves_nothing_to_resume(tmp_path, run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    line = error_of(run, "in.csv", "out.csv", content="text,n\na,1\nb\n")
    assert line == "in.csv: row 2: 1 columns, not 2; correct the row"
    assert files(tmp_path) == ["in.csv"]


# ---- interruptions

SEVEN = [{"id": str(n), "text": f"Win {n}" if n % 2 else f"{n}", "n": n} for n in range(7)]


@pytest.fixture
def seven(run, tmp_path):
    """The name of a CSV of seven rows."""
    return write_input(tmp_path, ".csv", SEVEN)


@pytest.fixture
def interrupt(tmp_path, run, monkeypatch, model):
    """Makes a run, two rows at a time, that ends before the fifth."""

    def interrupt(given, wanted):
        monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
        model.texts, model.ends_after = [], 4
        with pytest.raises(KeyboardInterrupt):
            run(given, wanted)
        assert not (tmp_path / wanted).exists()
        model.texts, model.ends_after = [], None

    return interrupt


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_resumed_run_equals_an_undisturbed_one(
    tmp_path, run, interrupt, monkeypatch, model, caplog, given, wanted
):
    """With the model that it began with, whichever is the champion now."""
    given, wanted = write_input(tmp_path, given, SEVEN), f"out{wanted}"
    whole = run(given, wanted)
    (tmp_path / wanted).unlink()
    interrupt(given, wanted)
    assert caplog.messages == [f"{wanted}: keeps 4 rows for --resume"]
    monkeypatch.setattr(versions, "load_champion", lambda: (None, "4"))
    caplog.set_level("INFO")
    assert run(given, wanted, "--resume") == whole
    assert caplog.messages[1:] == [f"{wanted}: continues after row 4, with version 3"]
    assert model.texts == [row["text"] for row in SEVEN[4:]]
    assert files(tmp_path) == [given, wanted]


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
def test_resumed_run_may_use_other_batches(run, seven, interrupt, monkeypatch, model, batch):
    whole = run(seven, "whole.csv")
    interrupt(seven, "out.csv")
    monkeypatch.setattr(scoring, "SCORED_ROWS", batch)
    assert run(seven, "out.csv", "--resume") == whole
    assert model.texts == [row["text"] for row in SEVEN[4:]]


def test_later_parquet_parts_have_the_first_types(tmp_path, run, interrupt):
    """Numbers in the rows before the interruption, and none after it."""
    numbers = [0, 1, 2, 3, None, None, None]
    rows = [row | {"n": number} for row, number in zip(SEVEN, numbers, strict=True)]
    given = write_input(tmp_path, ".jsonl", rows)
    interrupt(given, "out.parquet")
    assert [row["n"] for row in run(given, "out.parquet", "--resume")] == numbers


def test_progress_bar_counts_finished_rows(run, seven, interrupt, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    interrupt(seven, "out.csv")
    monkeypatch.setattr(sys, "stderr", terminal)
    run(seven, "out.csv", "--resume")
    first, *_, last = terminal.getvalue().strip().split("\r")
    assert first.startswith("4 messages")
    assert last.startswith("7 messages")


def test_run_without_resume_logs_what_it_removes(tmp_path, run, seven, interrupt, model, caplog):
    interrupt(seven, "out.csv")
    caplog.clear()
    assert run(seven, "out.csv").count("\n") == 8
    assert len(model.texts) == 7
    line = "out.csv: removes 4 rows of an interrupted run"
    assert caplog.messages == [f"{line}; --resume would have kept them"]
    interrupt(seven, "out.tsv")
    caplog.clear()
    run("other.csv", "out.tsv", content="text\na\n")
    assert caplog.messages == [f"{line.replace('csv', 'tsv')}"]
    assert files(tmp_path) == ["in.csv", "other.csv", "out.csv", "out.tsv"]


def test_parts_stay_when_there_is_no_champion(run, seven, interrupt, monkeypatch):
    def fail():
        raise PipelineError("none")

    interrupt(seven, "out.csv")
    monkeypatch.setattr(versions, "load_champion", fail)
    assert error_of(run, seven, "out.csv") == "none"
    assert run(seven, "out.csv", "--resume").count("\n") == 8


@pytest.mark.parametrize(
    ("file", "old", "new", "options", "what"),
    [
        ("in.csv", "6,6", "6,7", [], "input"),
        ("in.csv", "", "", ["--text", "id"], "--text"),
        ("params.yaml", "warnings: []", "warnings: [text_decodes]", [], "section validate of FILE"),
    ],
)
def test_run_with_other_settings_is_not_resumed(
    tmp_path, run, seven, interrupt, file, old, new, options, what
):
    interrupt(seven, "out.csv")
    before = (tmp_path / file).read_text()
    (tmp_path / file).write_text(before.replace(old, new))
    changed = f"was started with another {what.replace('FILE', file)}"
    line = f"out.csv: {changed}; restore it, or start again without --resume"
    assert error_of(run, seven, "out.csv", "--resume", *options) == line
    (tmp_path / file).write_text(before)
    assert run(seven, "out.csv", "--resume").count("\n") == 8


def test_same_bytes_in_another_format_are_another_input(run, interrupt):
    Path("in.csv").write_text("text\na\nb\nc\nd\ne\n")
    interrupt("in.csv", "out.csv")
    shutil.copyfile("in.csv", "in.tsv")
    line = error_of(run, "in.tsv", "out.csv", "--resume")
    assert line.startswith("out.csv: was started with another input; ")


def test_resume_without_an_interrupted_run_is_a_new_run(run):
    assert run("in.csv", "out.csv", "--resume", content="text\na\n").count("\n") == 2


@pytest.mark.parametrize("files", [("-", "out.csv"), ("in.csv", "-"), ("-", "-")])
def test_standard_streams_cannot_be_resumed(run, files):
    line = "--resume: - cannot be read or written again; name two files"
    assert error_of(run, *files, "--resume") == line


def test_interrupted_standard_input_leaves_nothing(tmp_path, say, interrupt, caplog):
    say(b"a\nb\nc\nd\ne\n")
    interrupt("-", "out.csv")
    assert caplog.messages == []
    assert files(tmp_path) == []


# ---- a real process, and a real registry

MODEL = """
import mlflow, pandas as pd

class Model(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        lengths = model_input["text"].str.len()
        label = lengths.gt({length}).map({{True: "spam", False: "ham"}})
        answers = {{"label": label, "probability": lengths / 64, "threshold": {length} / 64}}
        return pd.DataFrame(answers)

mlflow.models.set_model(Model())
"""


@pytest.fixture
def champions(store, tmp_path):
    """Makes versions that differ in one number, each the champion from then on."""
    store.create_registered_model(MODEL_NAME)

    def champion(length):
        folder = tmp_path / f"spam is longer than {length}"
        (tmp_path / "model.py").write_text(MODEL.format(length=length))
        mlflow.pyfunc.save_model(folder, python_model="model.py", pip_requirements=[])
        version = store.create_model_version(MODEL_NAME, folder.as_uri()).version
        store.set_registered_model_alias(MODEL_NAME, "champion", version)

    return champion


@pytest.mark.slow
def test_killed_run_is_resumed_without_lost_rows(champions, tmp_path):
    rows, whole, output = 40_000, tmp_path / "whole.csv", tmp_path / "out.csv"
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    table = pd.DataFrame({"n": range(rows), "text": [f"Win {n:x}" for n in range(rows)]})
    table.to_csv("in.csv", index=False)
    command = [sys.executable, "-m", "pipeline", "score", "in.csv"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    champions(6)
    subprocess.run([*command, whole], env=environment, check=True)

    child = subprocess.Popen([*command, output], env=environment)
    while not resumable.part_files(output):
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {child.wait(timeout=0.01)}")
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not output.exists()
    assert 0 < resumable.finished_rows(output) < rows

    champions(7)
    subprocess.run([*command, output, "--resume"], env=environment, check=True)
    assert scored(output) == scored(whole)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
