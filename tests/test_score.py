"""What came in goes out as it was, with the model's answer beside it, in every format."""

import csv
import io
import json
import shutil
import sys
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import registry, score
from pipeline.stage import PipelineError

ROOT = Path(__file__).parents[1]


class Model:
    """Says what MLflow's model says: spam where the text holds `win`, the length as its probability."""

    def __init__(self):
        self.texts = []

    def predict(self, table):
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


@pytest.fixture
def run(tmp_path, monkeypatch, model):
    """`python -m pipeline.score INPUT OUTPUT`, with the stand-in as champion, beside the files named."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr(registry, "load_champion", lambda: (model, "3"))

    def run(given, wanted, content=None, *options):
        if content is not None:
            (tmp_path / given).write_bytes(content if isinstance(content, bytes) else content.encode())
        score.main([given, wanted, *options])
        if wanted == "-":
            return None
        path = tmp_path / wanted
        return pq.read_table(path).to_pylist() if path.suffix == ".parquet" else path.read_bytes().decode()

    return run


def files(folder):
    """What lies in a folder, but for params.yaml."""
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
WHOLE = [row | {"model_version": "3", "refused": None} for row in ROWS]
INPUTS = {
    ".csv": 'id,text\n007,"Win ""now"""\n,hé\n 1 ,:)\n',
    ".tsv": 'id\ttext\n007\tWin "now"\n\thé\n 1 \t:)\n',
    ".jsonl": "".join(json.dumps({"id": row["id"], "text": row["text"]}) + "\n" for row in ROWS),
}


def write_input(folder, suffix):
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist([{"id": r["id"], "text": r["text"]} for r in ROWS]), path)
    else:
        path.write_text(INPUTS[suffix], encoding="utf-8")
    return path.name


# ---- formats


@pytest.mark.parametrize("batch", [1, 2, 4_096])
@pytest.mark.parametrize("wanted", score.WRITERS)
@pytest.mark.parametrize("given", score.READERS)
def test_every_format_goes_into_every_other(tmp_path, run, monkeypatch, given, wanted, batch):
    monkeypatch.setattr(score, "BATCH", batch)
    written = run(write_input(tmp_path, given), f"out{wanted}")
    if wanted == ".parquet":
        found = written
    elif wanted == ".jsonl":
        found = [json.loads(line) for line in written.splitlines()]
    else:
        rule = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if wanted == ".tsv" else {}
        found = list(csv.DictReader(io.StringIO(written), **rule))
        found = [
            r | {k: float(r[k]) for k in ("probability", "threshold")} | {"refused": r["refused"] or None}
            for r in found
        ]
    assert found == WHOLE
    assert list(found[0]) == ["id", "text", *score.ADDED]
    assert files(tmp_path) == [f"in{given}", f"out{wanted}"]


def test_a_csv_is_the_one_that_came_and_five_columns(run):
    assert run("in.csv", "out.csv", 'n,body\r\n007,"a, ""b"""\r\n1e3,NA\r\n', "--text", "body") == (
        "n,body,label,probability,threshold,model_version,refused\n"
        '007,"a, ""b""",ham,0.09375,0.5,3,\n'
        "1e3,NA,ham,0.03125,0.5,3,\n"
    )


def test_stray_quotation_marks_in_a_tsv_merge_nothing(run):
    assert run("in.tsv", "out.tsv", 'id\ttext\n1\t"hi\n2\tyo "win"\n') == (
        "id\ttext\tlabel\tprobability\tthreshold\tmodel_version\trefused\n"
        '1\t"hi\tham\t0.046875\t0.5\t3\t\n'
        '2\tyo "win"\tspam\t0.125\t0.5\t3\t\n'
    )


def test_json_lines_keep_their_values_and_hold_no_nan(run, model):
    lines = [
        {"text": "a", "id": 1, "tags": ["x", {"y": None}]},
        {"text": None, "id": None},
        {"id": 12345678901234567890, "text": 7, "ok": True},
    ]
    written = run("in.jsonl", "out.jsonl", "\n".join(map(json.dumps, lines)))
    assert "NaN" not in written
    found = [json.loads(line) for line in written.splitlines()]
    added = {"label": "ham", "probability": 1 / 64, "threshold": 0.5, "model_version": "3", "refused": None}
    null = added | {"label": None, "probability": None, "threshold": None, "refused": "text_is_not_null"}
    every = {"id": None, "text": None, "tags": None, "ok": None}
    for line, row in zip(lines, found, strict=True):
        assert row == every | line | (added if line["text"] else null)
    assert model.texts == ["a", "7"]


def test_a_parquet_file_keeps_its_types(tmp_path, run, model):
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
    assert out.schema.names == [*columns, *score.ADDED]
    for name in ("text", "id", "at", "tags", "none"):
        assert out[name].to_pylist() == given[name].to_pylist()
        assert out.schema.field(name).type == given.schema.field(name).type
    assert model.texts == ["Win", "c"]
    lines = [json.loads(line) for line in run("in.parquet", "out.jsonl").splitlines()]
    assert [line["id"] for line in lines] == [1, None, 12345678901234567]
    assert [line["at"] for line in lines] == ["2024-02-29 12:00:00", None, "2024-02-29 12:00:00"]
    assert [line["tags"] for line in lines] == [[1], None, [2, 3]]
    assert [line["share"] for line in lines] == [0.25, None, None]


def test_half_a_surrogate_pair_stops_nothing(run, model):
    written = run("in.jsonl", "out.jsonl", '{"text": "a\\ud83d"}\n{"text": "\\ud83d\\udcb0"}\n')
    assert [json.loads(line)["text"] for line in written.splitlines()] == ["a?", "💰"]
    assert model.texts == ["a?", "💰"]


def test_a_byte_order_mark_is_no_part_of_the_first_column(run):
    assert run("in.csv", "out.csv", b"\xef\xbb\xbftext\nhi\n").startswith("text,label,")
    assert json.loads(run("in.jsonl", "out.jsonl", b'\xef\xbb\xbf{"text": "hi"}'))["text"] == "hi"


def test_lines_that_differ_come_under_the_columns_of_the_first(run):
    written = run("in.jsonl", "out.csv", '{"id": 1, "text": "a"}\n{"text": "b", "id": 2}\n{"text": "c"}\n')
    assert [line.split(",")[:3] for line in written.splitlines()[1:]] == [
        ["1", "a", "ham"],
        ["2", "b", "ham"],
        ["", "c", "ham"],
    ]


def test_later_lines_in_another_order_stay_under_their_columns(run, monkeypatch):
    monkeypatch.setattr(score, "BATCH", 1)
    content = '{"id": "1", "text": "a"}\n{"text": "b", "id": "2"}\n{"text": "c"}\n'
    columns = [("1", "a"), ("2", "b"), (None, "c")]
    assert [(row["id"], row["text"]) for row in run("in.jsonl", "out.parquet", content)] == columns
    lines = run("in.jsonl", "out.csv").splitlines()[1:]
    assert [line.split(",")[:2] for line in lines] == [["1", "a"], ["2", "b"], ["", "c"]]


# ---- the guard


REFUSED = {
    "": "text_is_not_blank, text_length_is_within_bounds",
    "caf\ufffd": "text_decodes",
    "x" * 2001: "text_length_is_within_bounds",
}


def test_a_refused_row_has_a_reason_and_no_label_and_the_others_stay_in_their_places(run, model):
    texts = ["a", "", "Win", "caf\ufffd", "x" * 2001, "b"]
    written = run("in.jsonl", "out.jsonl", "".join(json.dumps({"text": text}) + "\n" for text in texts))
    found = [json.loads(line) for line in written.splitlines()]
    assert [row["text"] for row in found] == texts
    assert [row["label"] for row in found] == ["ham", None, "spam", None, None, "ham"]
    assert [row["refused"] for row in found] == [REFUSED.get(text) for text in texts]
    assert model.texts == ["a", "Win", "b"]


def test_a_warning_refuses_nothing(run, model, tmp_path):
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text().replace("warnings: []", "warnings: [text_decodes]"))
    written = run("in.csv", "out.csv", "text\ncaf\ufffd\n")
    assert written.splitlines()[1].startswith("caf\ufffd,ham,")


@pytest.mark.parametrize("wanted", score.WRITERS)
def test_a_file_of_which_every_row_is_refused_has_reasons_alone(run, model, wanted):
    written = run("in.jsonl", f"out{wanted}", '{"text": null}\n{"text": " "}\n')
    assert model.texts == []
    assert "text_is_not_null" in str(written)


# ---- nothing in


@pytest.mark.parametrize("wanted", score.WRITERS)
@pytest.mark.parametrize(
    ("given", "content"), [("in.csv", "id,text\n"), ("in.tsv", "id\ttext\n"), ("in.jsonl", "")]
)
def test_nothing_in_is_nothing_out_under_a_header(tmp_path, run, given, content, wanted):
    run(given, f"out{wanted}", content)
    came = ["text"] if given == "in.jsonl" else ["id", "text"]
    if wanted == ".jsonl":
        assert (tmp_path / "out.jsonl").read_bytes() == b""
    elif wanted == ".parquet":
        out = pq.read_table(tmp_path / "out.parquet")
        assert (out.num_rows, out.schema.names) == (0, [*came, *score.ADDED])
    else:
        mark = "," if wanted == ".csv" else "\t"
        assert (tmp_path / f"out{wanted}").read_text() == mark.join([*came, *score.ADDED]) + "\n"


def test_a_parquet_file_without_rows_keeps_its_columns(tmp_path, run):
    pq.write_table(pa.table({"text": pa.array([], pa.string()), "n": pa.array([], pa.int64())}), "in.parquet")
    assert run("in.parquet", "out.csv") == "text,n,label,probability,threshold,model_version,refused\n"
    assert run("in.parquet", "out.parquet") == []


# ---- standard input and output


@pytest.fixture
def say(monkeypatch):
    def say(content):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))

    return say


def test_lines_in_are_json_lines_out(run, say, capsys):
    say('Win é\r\n\nsay "hi"'.encode())
    run("-", "-")
    added = '"threshold": 0.5, "model_version": "3", "refused": null}'
    assert capsys.readouterr().out.splitlines() == [
        f'{{"text": "Win é", "label": "spam", "probability": 0.078125, {added}',
        '{"text": "", "label": null, "probability": null, "threshold": null, "model_version": "3", '
        '"refused": "text_is_not_blank, text_length_is_within_bounds"}',
        f'{{"text": "say \\"hi\\"", "label": "ham", "probability": 0.125, {added}',
    ]


def test_lines_go_to_a_file_and_a_file_to_lines(run, say, capsys):
    say(b"hi\n")
    assert run("-", "out.csv", None, "--text", "body") == (
        "body,label,probability,threshold,model_version,refused\nhi,ham,0.03125,0.5,3,\n"
    )
    run("in.csv", "-", "text,n\nhi,007\n")
    assert json.loads(capsys.readouterr().out)["n"] == "007"


def test_no_lines_in_are_no_lines_out(run, say, capsys):
    say(b"")
    run("-", "-")
    assert capsys.readouterr().out == ""


def test_lines_that_are_not_utf_8_are_refused_in_one_line(run, say):
    say(b"hi\n\xff\n")
    line = "-: 'utf-8' codec can't decode byte 0xff in position 3: invalid start byte; mend the input"
    assert refusal(run, "-", "-") == line


# ---- what is refused, and leaves no output


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("in.csv", "id,body\n1,a\n", "in.csv: no column 'text' among id, body; name it with --text"),
        ("in.jsonl", '{"body": 1}\n', "in.jsonl: no column 'text' among body; name it with --text"),
        ("in.csv", "text,label\na,1\n", "in.csv: has a column 'label' already; rename it"),
        (
            "in.jsonl",
            '{"text": "a", "model_version": 1}\n',
            "in.jsonl: has a column 'model_version' already; rename it",
        ),
        ("in.csv", "", "in.csv: no header, or one that has a name twice; mend the input"),
        ("in.csv", "text,id,id\na,1,2\n", "in.csv: no header, or one that has a name twice; mend the input"),
        ("in.csv", "id,text\n1,a,b\n", "in.csv: row 1: 3 columns, not 2; mend the input"),
        ("in.csv", "id,text\n1,a\n2\n", "in.csv: row 2: 1 columns, not 2; mend the input"),
        (
            "in.csv",
            "id,text\n1,a\n2,b,c\n",
            "in.csv: row 2: 3 columns, not 2; mend the input",
        ),
        (
            "in.csv",
            b"text\n\xe9\xe9\n",
            "in.csv: 'utf-8' codec can't decode byte 0xe9 in position 5: invalid continuation byte; "
            "mend the input",
        ),
        (
            "in.jsonl",
            '{"text": "a"}\n{"text"\n',
            "in.jsonl: line 2: Expecting ':' delimiter: line 2 column 1 (char 8); mend the input",
        ),
        ("in.jsonl", '{"text": "a"}\n7\n', "in.jsonl: line 2: not an object; mend the input"),
        (
            "in.jsonl",
            "[" * 100_000,
            "in.jsonl: line 1: maximum recursion depth exceeded while decoding a JSON array from a unicode "
            "string; mend the input",
        ),
        (
            "in.csv",
            'text\n"a\nb\n',
            "in.csv: row 1: a quotation mark is not closed or not doubled (unexpected end of data); "
            "mend the input",
        ),
        ("in.csv", "see you later\nhi\n", "in.csv: no column 'text' among …; name it with --text"),
        (
            "in.parquet",
            "no",
            "in.parquet: Parquet file size is 2 bytes, smaller than the minimum file footer (8 bytes); "
            "mend the input",
        ),
        ("in.txt", "hi", "in.txt: format: unknown '.txt'; choose from .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_an_input_that_cannot_be_scored_is_refused_in_one_line(tmp_path, run, name, content, line):
    assert refusal(run, name, "out.csv", content) == line
    assert files(tmp_path) == [name]


def test_an_output_of_no_known_kind_is_refused_before_the_model_is_loaded(run, monkeypatch):
    monkeypatch.setattr(registry, "load_champion", None)
    line = "out.xlsx: format: unknown '.xlsx'; choose from .csv, .tsv, .jsonl, .parquet"
    assert refusal(run, "in.csv", "out.xlsx") == line


@pytest.mark.parametrize("suffix", score.READERS)
def test_an_input_that_is_not_there_is_one_line_before_the_model_is_loaded(run, monkeypatch, suffix):
    monkeypatch.setattr(registry, "load_champion", None)
    line = refusal(run, f"none{suffix}", "out.csv")
    assert line.startswith(f"none{suffix}: ")
    assert line.endswith("No such file or directory; mend the input")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("content", "wanted", "line"),
    [
        (
            '{"text": "a"}\n{"text": "b", "new": 1}\n',
            "out.csv",
            "the input has a column 'new' that its first 1 rows do not have; write .jsonl",
        ),
        ('{"text": "a\\tb"}\n', "out.tsv", "out.tsv: a cell holds a tab or a line break; write .jsonl"),
        ('{"text": "a\\nb"}\n', "out.tsv", "out.tsv: a cell holds a tab or a line break; write .jsonl"),
        (
            '{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n',
            "out.parquet",
            "out.parquet: Failed to parse string: 'x' as a scalar of type int64; write .jsonl",
        ),
        (
            '{"text": "a\\ud83d"}\n',
            "out.parquet",
            "out.parquet: 'utf-8' codec can't encode character '\\ud83d' in position 1: surrogates not "
            "allowed; write .jsonl",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_one_line_and_no_file(tmp_path, run, monkeypatch, content, wanted, line):
    monkeypatch.setattr(score, "BATCH", 1)
    assert refusal(run, "in.jsonl", wanted, content) == line
    assert files(tmp_path) == ["in.jsonl"]


def test_an_output_appears_only_when_it_is_whole(tmp_path, run, monkeypatch, model):
    monkeypatch.setattr(score, "BATCH", 1)
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
    assert len(seen[2]) == 3  # input, the last good output and a temporary file
    assert (tmp_path / "out.csv").read_text() == "the last good one"
    assert files(tmp_path) == ["in.csv", "out.csv"]


def test_an_input_may_be_its_own_output(run):
    assert run("in.csv", "in.csv", "text\na\nb\n").count("\n") == 3
    assert refusal(run, "in.csv", "in.csv") == "in.csv: has a column 'label' already; rename it"
