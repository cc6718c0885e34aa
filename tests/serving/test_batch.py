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

ROOT = Path(__file__).parents[2]
TIME, NOW = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "NOW"


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
        label = ["spam" if "win" in text.lower() else "ham" for text in texts]
        probability = pd.Series([len(text) / 64 for text in texts], dtype="float64")
        return pd.DataFrame(
            {"label": pd.Series(label, dtype="str"), "probability": probability, "threshold": 0.5}
        )


@pytest.fixture
def model():
    return Model()


def labelled(path):
    """The content of an output, with NOW for each time."""
    if path.suffix != ".parquet":
        return TIME.sub(NOW, path.read_bytes().decode())
    return [row | {"scored_at": NOW} for row in pq.read_table(path).to_pylist()]


@pytest.fixture
def run(tmp_path, monkeypatch, model):
    """Runs `python -m pipeline score INPUT OUTPUT` with the model above as champion."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr(versions, "load_champion", lambda: (model, "3"))
    monkeypatch.setattr(versions, "load_version", {"3": model}.__getitem__)

    def run(given, wanted, content=None, *options):
        if content is not None:
            (tmp_path / given).write_bytes(
                content if isinstance(content, bytes) else content.encode()
            )
        main([given, wanted, *options])
        if wanted == "-":
            return None
        return labelled(tmp_path / wanted)

    return run


@pytest.fixture
def no_guard(monkeypatch):
    """No message is refused: Great Expectations takes 0.2 s a batch."""

    def accept_all(texts, params):
        return pd.Series("", index=range(len(texts)), dtype="str")

    monkeypatch.setattr(runner, "refusals", accept_all)


def files(folder):
    """The names of the files in a folder, without params.yaml."""
    return sorted(path.name for path in folder.iterdir() if path.name != "params.yaml")


def refusal(run, *arguments):
    with pytest.raises(PipelineError) as refused:
        run(*arguments)
    return str(refused.value)


ROWS = [
    {"id": "007", "text": 'Win "now"', "label": "spam", "probability": 9 / 64, "threshold": 0.5},
    {"id": "", "text": "hé", "label": "ham", "probability": 2 / 64, "threshold": 0.5},
    {"id": " 1 ", "text": ":)", "label": "ham", "probability": 2 / 64, "threshold": 0.5},
]
WHOLE = [row | {"model_version": "3", "scored_at": NOW, "refused": None} for row in ROWS]
INPUTS = {
    ".csv": 'id,text\n007,"Win ""now"""\n,hé\n 1 ,:)\n',
    ".tsv": 'id\ttext\n007\tWin "now"\n\thé\n 1 \t:)\n',
    ".jsonl": "".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in ROWS),
}


def write_input(folder, suffix):
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        pq.write_table(
            pa.Table.from_pylist([{"id": r["id"], "text": r["text"]} for r in ROWS]), path
        )
    else:
        path.write_text(INPUTS[suffix], encoding="utf-8")
    return path.name


# ---- formats


@pytest.mark.usefixtures("no_guard")
@pytest.mark.parametrize("batch", [1, 2, 4_096])
@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_every_format_becomes_every_other(tmp_path, run, monkeypatch, given, wanted, batch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", batch)
    written = run(write_input(tmp_path, given), f"out{wanted}")
    if wanted == ".parquet":
        rows = written
    elif wanted == ".jsonl":
        rows = [json.loads(line) for line in written.splitlines()]
    else:
        rule = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if wanted == ".tsv" else {}
        rows = list(csv.DictReader(io.StringIO(written), **rule))
        rows = [
            r
            | {k: float(r[k]) for k in ("probability", "threshold")}
            | {"refused": r["refused"] or None}
            for r in rows
        ]
    assert rows == WHOLE
    assert list(rows[0]) == ["id", "text", *SCORES.names]
    assert files(tmp_path) == [f"in{given}", f"out{wanted}"]


def test_csv_keeps_its_columns_and_gets_six_more(run):
    assert run(
        "in.csv", "out.csv", '\ufeffn,body\r\n007,"a, ""b"""\r\n1e3,NA\r\n', "--text", "body"
    ) == (
        "n,body,label,probability,threshold,model_version,scored_at,refused\n"
        '007,"a, ""b""",ham,0.09375,0.5,3,NOW,\n'
        "1e3,NA,ham,0.03125,0.5,3,NOW,\n"
    )


def test_stray_quotation_marks_in_a_tsv_merge_no_rows(run):
    assert run("in.tsv", "out.tsv", 'id\ttext\n1\t"hi\n2\tyo "win"\n') == (
        "id\ttext\tlabel\tprobability\tthreshold\tmodel_version\tscored_at\trefused\n"
        '1\t"hi\tham\t0.046875\t0.5\t3\tNOW\t\n'
        '2\tyo "win"\tspam\t0.125\t0.5\t3\tNOW\t\n'
    )


def test_json_lines_keep_their_values_and_hold_no_nan(run, model):
    lines = [
        {"text": "a", "id": 1, "tags": ["x", {"y": None}]},
        {"text": None, "id": None},
        {"id": 12345678901234567890, "text": 7, "ok": True},
    ]
    written = run("in.jsonl", "out.jsonl", "\n".join(map(json.dumps, lines)))
    assert "NaN" not in written
    rows = [json.loads(line) for line in written.splitlines()]
    added = {"label": "ham", "probability": 1 / 64, "threshold": 0.5, "model_version": "3"}
    added |= {"scored_at": NOW, "refused": None}
    null = added | {
        "label": None,
        "probability": None,
        "threshold": None,
        "refused": "text_is_not_null",
    }
    every = {"id": None, "text": None, "tags": None, "ok": None}
    for line, row in zip(lines, rows, strict=True):
        assert row == every | line | (added if line["text"] else null)
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
    assert [line["id"] for line in lines] == [1, None, 12345678901234567]
    assert [line["at"] for line in lines] == ["2024-02-29 12:00:00", None, "2024-02-29 12:00:00"]
    assert [line["tags"] for line in lines] == [[1], None, [2, 3]]
    assert [line["share"] for line in lines] == [0.25, None, None]


def test_half_a_surrogate_pair_becomes_a_question_mark(run, model):
    written = run("in.jsonl", "out.jsonl", '{"text": "a\\ud83d"}\n{"text": "\\ud83d\\udcb0"}\n')
    assert [json.loads(line)["text"] for line in written.splitlines()] == ["a?", "💰"]
    assert model.texts == ["a?", "💰"]


@pytest.mark.usefixtures("no_guard")
def test_later_lines_keep_their_columns(run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    content = '{"id": "1", "text": "a"}\n{"text": "b", "id": "2"}\n{"text": "c"}\n'
    columns = [("1", "a"), ("2", "b"), (None, "c")]
    assert [(row["id"], row["text"]) for row in run("in.jsonl", "out.parquet", content)] == columns
    lines = run("in.jsonl", "out.csv").splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [["1", "a"], ["2", "b"], ["", "c"]]


@pytest.mark.parametrize("wanted", FORMATS)
def test_file_of_refused_rows_has_only_reasons(run, model, wanted):
    written = run("in.jsonl", f"out{wanted}", '{"text": null}\n{"text": " "}\n')
    assert model.texts == []
    assert "text_is_not_null" in str(written)


# ---- time of scoring


@pytest.mark.usefixtures("no_guard")
def test_each_batch_has_its_own_scoring_time(tmp_path, run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    times = [pd.Timestamp(2026, 11, 25, 14, 20, second, tz="UTC") for second in (0, 7)]
    for wanted in ("out.csv", "out.tsv", "out.jsonl"):
        monkeypatch.setattr(scoring, "scoring_time", iter(times).__next__)
        run("in.csv", wanted, "text\na\nb\nc\n")
        rows = TIME.findall((tmp_path / wanted).read_text())
        assert rows == ["2026-11-25T14:20:00+00:00"] * 2 + ["2026-11-25T14:20:07+00:00"]
    monkeypatch.setattr(scoring, "scoring_time", iter(times).__next__)
    run("in.csv", "out.parquet")
    rows = pq.read_table(tmp_path / "out.parquet")["scored_at"]
    assert rows.type == pa.timestamp("us", "UTC")
    assert rows.to_pylist() == [times[0], times[0], times[1]]


# ---- nothing in


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize(
    ("given", "content"),
    [
        ("in.csv", "id,text\n"),
        ("in.tsv", "id\ttext\n"),
        ("in.jsonl", ""),
        ("in.parquet", pd.DataFrame({"id": [], "text": []}, dtype="str").to_parquet()),
    ],
)
def test_input_without_rows_gives_a_header_only(tmp_path, run, given, content, wanted):
    run(given, f"out{wanted}", content)
    columns = ["text"] if given == "in.jsonl" else ["id", "text"]
    if wanted == ".jsonl":
        assert (tmp_path / "out.jsonl").read_bytes() == b""
    elif wanted == ".parquet":
        out = pq.read_table(tmp_path / "out.parquet")
        assert (out.num_rows, out.schema.names) == (0, [*columns, *SCORES.names])
        assert out.schema.field("scored_at").type == pa.timestamp("us", "UTC")
    else:
        mark = "," if wanted == ".csv" else "\t"
        assert (tmp_path / f"out{wanted}").read_text() == mark.join(
            [*columns, *SCORES.names]
        ) + "\n"


# ---- standard input and output


@pytest.fixture
def say(monkeypatch):
    def say(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return say


def test_standard_streams_are_lines_and_json_lines(run, say, capsys):
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
    assert run("-", "out.csv", None, "--text", "body") == (
        "body,label,probability,threshold,model_version,scored_at,refused\nhi,ham,0.03125,0.5,3,NOW,\n"
    )
    run("in.csv", "-", "text,n\nhi,007\n")
    assert json.loads(capsys.readouterr().out)["n"] == "007"


def test_standard_input_must_be_utf_8(run, say):
    say(b"hi\n\xff\n")
    problem = "'utf-8' codec can't decode byte 0xff in position 3: invalid start byte"
    assert refusal(run, "-", "-") == f"-: {problem}; save it as UTF-8"


# ---- what is refused, and leaves no output


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("in.csv", "id,body\n1,a\n", "no column 'text' among id, body; name it with --text"),
        ("in.csv", "see you later\nhi\n", "no column 'text' among …; name it with --text"),
        ("in.jsonl", '{"body": 1}\n', "no column 'text' among body; name it with --text"),
        ("in.csv", "text,label\na,1\n", "already has a column 'label'; rename it"),
        (
            "in.jsonl",
            '{"text": "a", "model_version": 1}\n',
            "already has a column 'model_version'; rename it",
        ),
        ("in.csv", "text,id,id\na,1,2\n", "more than one column 'id'; rename one"),
        ("in.csv", "", "empty; give it a header and rows, or remove it"),
        ("in.csv", "id,text\n1,a\n2,b,c\n", "row 2: 3 columns, not 2; correct the row"),
        (
            "in.csv",
            b"text\n\xe9\xe9\n",
            "'utf-8' codec can't decode byte 0xe9 in position 5: invalid continuation byte; "
            "save it as UTF-8",
        ),
        (
            "in.jsonl",
            '{"text": "a"}\n{"text"\n',
            "line 2: Expecting ':' delimiter: line 2 column 1 (char 8); correct the line",
        ),
        (
            "in.parquet",
            "no",
            "Parquet file size is 2 bytes, smaller than the minimum file footer (8 bytes); "
            "correct or remove the file",
        ),
        ("in.txt", "hi", "format: unknown '.txt'; choose from .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_input_that_cannot_be_scored_is_one_line(tmp_path, run, name, content, problem):
    assert refusal(run, name, "out.csv", content) == f"{name}: {problem}"
    assert files(tmp_path) == [name]


def test_unknown_output_format_is_refused_at_once(run, monkeypatch):
    monkeypatch.setattr(versions, "load_champion", None)
    line = "out.xlsx: format: unknown '.xlsx'; choose from .csv, .tsv, .jsonl, .parquet"
    assert refusal(run, "in.csv", "out.xlsx") == line


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_input_is_refused_at_once(run, monkeypatch, suffix):
    monkeypatch.setattr(versions, "load_champion", None)
    line = refusal(run, f"none{suffix}", "out.csv")
    assert line.startswith(f"none{suffix}: ")
    assert line.endswith("No such file or directory; correct or remove the file")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("content", "wanted", "line"),
    [
        (
            '{"text": "a"}\n{"text": "b", "new": 1}\n',
            "out.csv",
            "the input has a column 'new' that its first 1 rows do not have; write .jsonl",
        ),
        (
            '{"text": "a\\tb"}\n',
            "out.tsv",
            "out.tsv: a cell holds a tab or a line break; write .jsonl",
        ),
        (
            '{"text": "a\\nb"}\n',
            "out.tsv",
            "out.tsv: a cell holds a tab or a line break; write .jsonl",
        ),
        (
            '{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n',
            "out.parquet",
            "out.parquet: Failed to parse string: 'x' as a scalar of type int64; write .jsonl",
        ),
        (
            '{"text": "a\\ud83d"}\n',
            "out.parquet",
            "out.parquet: 'utf-8' codec can't encode character '\\ud83d' in position 1: "
            "surrogates not allowed; write .jsonl",
        ),
    ],
)
def test_value_that_a_format_cannot_hold_is_one_line(
    tmp_path, run, monkeypatch, content, wanted, line
):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    assert refusal(run, "in.jsonl", wanted, content) == line
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
        run("in.csv", "out.csv", "text\na\nb\nc\n")
    assert seen[2] == [".out.csv.lock", ".out.csv.parts", "in.csv", "out.csv"]
    assert (tmp_path / "out.csv").read_text() == "the last good one"
    assert files(tmp_path) == [".out.csv.parts", "in.csv", "out.csv"]


def test_input_may_be_its_own_output(run):
    assert run("in.csv", "in.csv", "text\na\nb\n").count("\n") == 3
    assert refusal(run, "in.csv", "in.csv") == "in.csv: already has a column 'label'; rename it"


# ---- interruptions


SEVEN = [{"id": str(n), "text": f"Win {n}" if n % 2 else f"{n}", "n": n} for n in range(7)]


def seven(folder, suffix):
    """An input of seven rows."""
    path = folder / f"in{suffix}"
    if suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in SEVEN))
    elif suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(SEVEN), path)
    else:
        pd.DataFrame(SEVEN).to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    return path.name


@pytest.fixture
def interrupted(tmp_path, run, monkeypatch, model, no_guard):
    """A run on seven rows, two at a time, that ends before the fifth."""

    def interrupted(given, wanted, *options):
        monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
        model.texts, model.ends_after = [], 4
        with pytest.raises(KeyboardInterrupt):
            run(given, wanted, None, *options)
        assert not (tmp_path / wanted).exists()
        model.texts, model.ends_after = [], None

    return interrupted


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_resumed_run_equals_an_undisturbed_one(
    tmp_path, run, interrupted, monkeypatch, model, caplog, given, wanted
):
    """With the model that it began with, whichever is the champion now."""
    given, wanted = seven(tmp_path, given), f"out{wanted}"
    whole = run(given, wanted)
    (tmp_path / wanted).unlink()
    model.texts = []
    interrupted(given, wanted)
    assert caplog.messages == [f"{wanted}: keeps 4 rows for --resume"]
    monkeypatch.setattr(versions, "load_champion", lambda: (None, "4"))
    caplog.set_level("INFO")
    assert run(given, wanted, None, "--resume") == whole
    assert caplog.messages[1:] == [f"{wanted}: continues after row 4, with version 3"]
    assert model.texts == [row["text"] for row in SEVEN[4:]]
    assert files(tmp_path) == [given, wanted]


@pytest.mark.parametrize("batch", [1, 3, 4, 100])
def test_resumed_run_may_use_other_batches(tmp_path, run, interrupted, monkeypatch, model, batch):
    given = seven(tmp_path, ".csv")
    whole = run(given, "whole.csv")
    interrupted(given, "out.csv")
    monkeypatch.setattr(scoring, "SCORED_ROWS", batch)
    assert run(given, "out.csv", None, "--resume") == whole
    assert model.texts == [row["text"] for row in SEVEN[4:]]


def test_later_parquet_parts_have_the_first_types(tmp_path, run, interrupted):
    """Numbers in the rows before the interruption, and none after it."""
    rows = [row | {"n": row["n"] if row["n"] < 4 else None} for row in SEVEN]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    interrupted("in.jsonl", "out.parquet")
    assert [row["n"] for row in run("in.jsonl", "out.parquet", None, "--resume")] == [
        0,
        1,
        2,
        3,
    ] + [None] * 3


def test_progress_bar_counts_finished_rows(tmp_path, run, interrupted, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    given = seven(tmp_path, ".csv")
    interrupted(given, "out.csv")
    monkeypatch.setattr(sys, "stderr", Terminal())
    run(given, "out.csv", None, "--resume")
    first, *_, last = sys.stderr.getvalue().strip().split("\r")
    assert first.startswith("4 messages")
    assert last.startswith("7 messages")


def test_run_without_resume_logs_what_it_removes(tmp_path, run, interrupted, model, caplog):
    given = seven(tmp_path, ".csv")
    interrupted(given, "out.csv")
    caplog.clear()
    assert run(given, "out.csv").count("\n") == 8
    assert len(model.texts) == 7
    line = "out.csv: removes 4 rows of an interrupted run"
    assert caplog.messages == [f"{line}; --resume would have kept them"]
    interrupted(given, "out.tsv")
    caplog.clear()
    run("other.csv", "out.tsv", "text\na\n")
    assert caplog.messages == [f"{line.replace('csv', 'tsv')}"]
    assert files(tmp_path) == ["in.csv", "other.csv", "out.csv", "out.tsv"]


def test_parts_stay_when_there_is_no_champion(tmp_path, run, interrupted, monkeypatch):
    def none():
        raise PipelineError("none")

    given = seven(tmp_path, ".csv")
    interrupted(given, "out.csv")
    with monkeypatch.context() as changed:
        changed.setattr(versions, "load_champion", none)
        assert refusal(run, given, "out.csv") == "none"
    assert run(given, "out.csv", None, "--resume").count("\n") == 8


def other_rows(path):
    (path / "in.csv").write_text((path / "in.csv").read_text().replace("6,6", "6,7"))


def other_params(path):
    params = path / "params.yaml"
    params.write_text(params.read_text().replace("warnings: []", "warnings: [text_decodes]"))


@pytest.mark.parametrize(
    ("change", "options", "what"),
    [
        (other_rows, [], "input"),
        (lambda path: None, ["--text", "id"], "--text"),
        (other_params, [], "section validate of params.yaml"),
    ],
)
def test_run_with_other_settings_is_not_resumed(tmp_path, run, interrupted, change, options, what):
    given = seven(tmp_path, ".csv")
    before = {name: (tmp_path / name).read_text() for name in ("in.csv", "params.yaml")}
    interrupted(given, "out.csv")
    change(tmp_path)
    line = f"out.csv: was started with another {what}; restore it, or start again without --resume"
    assert refusal(run, given, "out.csv", None, "--resume", *options) == line
    for name, content in before.items():
        (tmp_path / name).write_text(content)
    assert run(given, "out.csv", None, "--resume").count("\n") == 8


def test_same_bytes_in_another_format_are_another_input(run, interrupted):
    Path("in.csv").write_text("text\na\nb\nc\nd\ne\n")
    interrupted("in.csv", "out.csv")
    shutil.copyfile("in.csv", "in.tsv")
    line = refusal(run, "in.tsv", "out.csv", None, "--resume")
    assert line.startswith("out.csv: was started with another input; ")


def test_resume_without_an_interrupted_run_is_a_new_run(run, model):
    assert run("in.csv", "out.csv", "text\na\n", "--resume").count("\n") == 2


@pytest.mark.parametrize("files", [("-", "out.csv"), ("in.csv", "-"), ("-", "-")])
def test_standard_streams_cannot_be_resumed(run, files):
    line = "--resume: - cannot be read or written again; name two files"
    assert refusal(run, *files, None, "--resume") == line


def test_interrupted_standard_input_leaves_nothing(tmp_path, run, say, interrupted, caplog):
    say(b"a\nb\nc\nd\ne\n")
    interrupted("-", "out.csv")
    assert caplog.messages == []
    assert files(tmp_path) == []


def test_bad_input_leaves_nothing_to_resume(tmp_path, run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    assert refusal(run, "in.csv", "out.csv", "text,n\na,1\nb\n").startswith("in.csv: row 2: ")
    assert files(tmp_path) == ["in.csv"]


def test_second_run_on_one_output_is_refused(tmp_path, run, monkeypatch, model):
    answer, lines = model.predict, []

    def answer_amid_a_second_run(table):
        lines.append(refusal(run, "in.csv", "out.csv"))
        return answer(table)

    monkeypatch.setattr(model, "predict", answer_amid_a_second_run)
    assert run("in.csv", "out.csv", "text\na\n").count("\n") == 2
    assert lines == ["out.csv: another run is writing it; wait for it, or name another output"]


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
    pd.DataFrame({"n": range(rows), "text": [f"Win {n:x}" for n in range(rows)]}).to_csv(
        "in.csv", index=False
    )
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
    assert labelled(output) == labelled(whole)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
