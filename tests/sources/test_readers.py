"""Labelled files of every format become MESSAGES; what cannot be read is one clear line."""

import codecs
import csv
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ruamel.yaml

from pipeline.core.hashing import message_id
from pipeline.core.params import parse_params
from pipeline.core.schemas import MESSAGES
from pipeline.sources import readers
from pipeline.sources.file_formats import FORMATS
from pipeline.sources.readers import ColumnNames, InboxParams, SourceFile
from tests.harness.errors import error_of

NAMES = {"text": "body", "label": "kind", "received_at": "sent"}
LABELS = {"spam": ["spam", 1, "junk"], "ham": ["ham", 0, "ok"]}
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def inbox_params(**changes):
    """How to read a file; `changes`: glob, labels, encoding, format, header."""
    params = {"glob": "*", "columns": ColumnNames(**NAMES), "labels": LABELS}
    return InboxParams(**(params | changes))


def source_file(path, **changes):
    """A file to read with `inbox_params`; errors call it by its name."""
    return SourceFile(path, "files/mine", inbox_params(**changes), path.name)


def read_file(file):
    return pa.Table.from_batches(readers.read_file(file), MESSAGES)


@pytest.fixture
def read(tmp_path):
    """The text, label and number of each row of a file of this name and content."""

    def read(name, content, **changes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = read_file(source_file(path, **changes))
        return [tuple(row.values()) for row in table.select(["text", "label", "row"]).to_pylist()]

    return read


# ---- four formats, one table

ROWS = [
    ("007", "1", NOON),
    ('say "hi", éÜ 💰', " Junk ", None),
    ("", "ok", NOON),
    ("WIN", "1.0", None),
    ("again", "True", None),
    ("never", "FALSE", NOON),
    ("what", "perhaps", None),
]


def write(path, rows=ROWS):
    texts, labels, dates = zip(*rows, strict=True)
    sent = [date and date.isoformat() for date in dates]
    table = pa.table({"kind": labels, "sent": sent, "more": range(len(rows)), "body": texts})
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        rule = {"sep": "\t", "quoting": csv.QUOTE_NONE} if path.suffix == ".tsv" else {}
        table.to_pandas().to_csv(path, index=False, **rule)


@pytest.fixture(params=FORMATS)
def mine(tmp_path, request):
    """A file of ROWS in each format."""
    write(tmp_path / f"mine{request.param}")
    return source_file(tmp_path / f"mine{request.param}")


def test_every_format_gives_the_same_table(mine):
    labels = ["spam", "spam", "ham", "spam", "spam", "ham", "perhaps"]
    rows = zip(ROWS, labels, range(1, 8), strict=True)
    assert [tuple(row.values()) for row in read_file(mine).to_pylist()] == [
        (message_id(text), text, label, "files/mine", row, date)
        for (text, _, date), label, row in rows
    ]
    assert read_file(mine).column_names == MESSAGES.names


def test_row_without_a_time_gets_that_of_its_file(mine):
    dated = replace(mine, received_at=datetime(2026, 11, 20, tzinfo=UTC))
    dates = [date or dated.received_at for *_, date in ROWS]
    assert read_file(dated)["received_at"].to_pylist() == dates


def test_rows_are_numbered_across_batches(mine, monkeypatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 3)
    batches = list(readers.read_file(mine))
    assert [batch.column("row").to_pylist() for batch in batches] == [[1, 2, 3], [4, 5, 6], [7]]
    texts = [text for batch in batches for text in batch.column("text").to_pylist()]
    assert texts == [row[0] for row in ROWS]


LABEL_TABLE = {
    "spam": [1, 1.0, True, " JUNK\t"],
    "ham": [0, False, "Ok"],
    "2": [2],
    "0.5": [0.5],
    "Perhaps ": ["Perhaps "],
    "": [""],
    None: [None],
    "nan": [float("nan")],
    "inf": [float("inf")],
}


@pytest.mark.parametrize("label", LABEL_TABLE)
def test_label_is_mapped_in_any_spelling_or_kept(read, label):
    for written in LABEL_TABLE[label]:
        content = json.dumps({"body": "hi", "kind": written})
        assert read("mine.jsonl", content) == [("hi", label, 1)]


def test_parquet_file_may_have_other_types(tmp_path):
    path = tmp_path / "mine.parquet"
    columns = {
        "body": pa.array(["a", None, "c"]).dictionary_encode(),
        "kind": pa.array([1.0, float("nan"), None]),
        "sent": pa.array([1_709_208_000_123_456_789, None, 0], pa.timestamp("ns")),
    }
    pq.write_table(pa.table(columns), path)
    time = datetime(2024, 2, 29, 12, 0, 0, 123456, UTC)
    table = read_file(source_file(path)).select(["text", "label", "received_at"])
    assert [tuple(row.values()) for row in table.to_pylist()] == [
        ("a", "spam", time),
        (None, "nan", None),
        ("c", None, datetime(1970, 1, 1, tzinfo=UTC)),
    ]


def test_column_of_nulls_gives_null_labels(tmp_path):
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"body": ["a", "b"], "kind": pa.nulls(2)}), path)
    assert read_file(source_file(path))["label"].to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2024-02-29", NOON.replace(hour=0)),
        ("2024-02-29T14:00+02:00", NOON),
        ("2024-02-29 12:00:00Z", NOON),
        ("", None),
        (None, None),
    ],
)
def test_time_is_iso_8601_and_utc_without_a_zone(written, time):
    assert readers.as_time(written) == time


@pytest.mark.parametrize(
    "written", ["29/02/2024", 0, 1_711_220_012, "0001-01-01T00:00+05:00", "2023-02-29"]
)
def test_invalid_time_is_refused_with_its_row(read, written):
    good = json.dumps({"body": "hi", "kind": 1})
    bad = json.dumps({"body": "hi", "kind": 1, "sent": written})
    assert error_of(read, "mine.jsonl", f"{good}\n{bad}\n") == (
        "mine.jsonl: row 2: received_at is not an ISO 8601 time; "
        "correct the row, or set ingest.files.columns.received_at to a column that does not exist"
    )


# ---- encodings and the shapes that files come in

TWO = {
    "a.csv": "body,kind\nZürich £5,1\nété,0\n",
    "a.tsv": "body\tkind\nZürich £5\t1\nété\t0\n",
    "a.jsonl": '{"body": "Zürich £5", "kind": 1}\n{"body": "été", "kind": 0}\n',
}


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "UTF8", "utf_8", "utf-8-sig"]
)
@pytest.mark.parametrize("name", TWO)
def test_text_files_are_read_in_their_encoding(read, name, encoding):
    rows = read(name, TWO[name].encode(encoding), encoding=encoding)
    assert rows == [("Zürich £5", "spam", 1), ("été", "ham", 2)]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "utf-8-sig"])
@pytest.mark.parametrize("name", TWO)
def test_broken_utf_8_becomes_a_replacement_character(read, name, encoding):
    content = TWO[name].replace("£", "").encode("latin-1")
    rows = read(name, content, encoding=encoding)
    assert rows == [("Z�rich 5", "spam", 1), ("�t�", "ham", 2)]


def test_lone_surrogate_becomes_replacement_characters(read):
    ((text, _, _),) = read("a.jsonl", '{"body": "a\\ud83d", "kind": 1}')
    assert set(text) == {"a", "�"}


@pytest.mark.parametrize("name", TWO)
def test_byte_order_mark_is_not_part_of_the_first_column(read, name):
    content = codecs.BOM_UTF8 + TWO[name].encode()
    assert read(name, content) == [("Zürich £5", "spam", 1), ("été", "ham", 2)]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", "body,kind\r\nhi,1\r\nyo,0\r\n", [("hi", "spam", 1), ("yo", "ham", 2)]),
        ("a.csv", "body,kind\rhi,1\ryo,0\r", [("hi", "spam", 1), ("yo", "ham", 2)]),
        ("a.csv", 'body,kind\n"a\nb, ""c""\r\nd",1\n', [('a\nb, "c"\r\nd', "spam", 1)]),
        ("a.tsv", 'body\tkind\n"hi\t1\nyo "x\t0\n', [('"hi', "spam", 1), ('yo "x', "ham", 2)]),
        ("a.csv", "body,kind\na\0b,1\n", [("a\0b", "spam", 1)]),  # validate refuses it
        ("a.csv", "\n\nbody,kind\n007,1\n\nb,0\n\n", [("007", "spam", 1), ("b", "ham", 2)]),
        ("a.csv", "body,kind\n", []),
        ("a.tsv", "body\tkind\n", []),
        ("a.jsonl", "", []),
    ],
    ids=["CRLF", "CR", "quoted", "stray", "NUL", "blank", "empty CSV", "empty TSV", "empty JSONL"],
)
def test_unusual_shapes_of_a_file_are_read(read, name, content, rows):
    assert read(name, content) == rows


def test_message_may_have_three_million_characters(read):
    ((text, _, row), _) = read("a.csv", "body,kind\n" + "x" * 3_000_000 + ",1\nb,0\n")
    assert (len(text), row) == (3_000_000, 1)


# ---- errors

SET = "set ingest.files.columns"
ENCODING = "set ingest.files.encoding"
EMPTY = "empty; give it a header and rows, or remove it"
QUOTE = "a quotation mark is not closed or not doubled"
OPEN_QUOTE = f"{QUOTE} (unexpected end of data); correct the row"
BAD_QUOTE = f"{QUOTE} (',' expected after '\"'); correct the row"
TOO_DEEP = "maximum recursion depth exceeded while decoding a JSON array from a unicode string"
NO_PARQUET = (
    "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a "
    "parquet file"
)
UTF_16 = "body,kind\na,1\n".encode("utf-16")
TWO_BODIES = f"more than one column 'body' among body, kind, body; {SET}"
TWO_SENT = f"more than one column 'sent' among body, kind, sent, sent; {SET}"
NO_VALUE = "Expecting value: line 1 column 10 (char 9); correct the line"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "text,kind\na,1\n", f"no column 'body' among text, kind; {SET}"),
        ("a.csv", "body,label\n", f"no column 'kind' among body, label; {SET}"),
        ("a.tsv", "body,kind\na,1\n", f"no column 'body' among …; {SET}"),
        ("a.csv", "body,kind,body\na,1,b\n", TWO_BODIES),
        ("a.csv", "body,kind,sent,sent\na,1,,\n", TWO_SENT),
        ("a.csv", "", EMPTY),
        ("a.csv", "\n\n", EMPTY),
        ("a.csv", "ham,see you\n", f"no column 'body' among ham, …; {SET}"),
        ("a.csv", b"k\xefnd,body\n", f"no column 'kind' among …, body; {ENCODING}"),
        ("a.csv", UTF_16, f"no column 'body' among …, …; {ENCODING}"),
        ("a.csv", "body,kind\na,1\nsecret, words,1\n", "row 2: 3 columns, not 2; correct the row"),
        ("a.csv", 'body,kind\na,1\n"b,0\nc,1\n', f"row 2: {OPEN_QUOTE}"),
        ("a.csv", 'kind,body\n0,"c" d\n', f"row 1: {BAD_QUOTE}"),
        ("a.csv", '"body,kind\na,1\n', f"the header: {OPEN_QUOTE}"),
        ("a.csv", 'body,kind\n"a\nb",1\n\nb\n', "row 2: 1 columns, not 2; correct the row"),
        ("a.tsv", "body\tkind\na\t1\nb\t\t0\n", "row 2: 3 columns, not 2; correct the row"),
        ("a.jsonl", '{"body": "a", "kind": 1}\n{"body": secret}\n', f"line 2: {NO_VALUE}"),
        ("a.jsonl", '{"body": "a"}\n', f"line 1: no key 'kind'; correct the line, or {SET}"),
        ("a.jsonl", "[1, 2]\n", "line 1: not an object; correct the line"),
        ("a.jsonl", "[" * 100_000, f"line 1: {TOO_DEEP}; correct the line"),
        ("a.parquet", "body,kind\n", f"{NO_PARQUET}; correct or remove the file"),
        ("a.txt", "hello", "format: unknown '.txt'; choose from .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_unreadable_file_is_refused_in_one_line(read, name, content, problem):
    assert error_of(read, name, content) == f"{name}: {problem}"


def test_parquet_file_without_rows_needs_its_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": pa.array([], pa.string())}), path)
    line = f"a.parquet: no column 'kind' among body; {SET}"
    assert error_of(read_file, source_file(path)) == line


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_file_is_one_line(tmp_path, suffix):
    line = error_of(read_file, source_file(tmp_path / f"none{suffix}"))
    assert line.startswith(f"none{suffix}: ")
    assert line.endswith("No such file or directory; correct or remove the file")


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "body,kind\né,1\n"), ("a.jsonl", '{"body": "é"}\n')]
)
def test_wrong_encoding_is_named(read, name, content):
    problem = "'ascii' codec can't decode byte 0xc3 in position 10: ordinal not in range(128)"
    assert error_of(read, name, content, encoding="ascii") == f"{name}: {problem}; {ENCODING}"


TWICE = {"spam": [1, "junk"], "ham": ["Junk ", True]}
NO_GLOB = "glob: matches no file; use * for every file of data/inbox"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": TWICE}, "labels: 1, junk: listed twice; list each value once"),
        ({"labels": {"spam": [1]}}, "labels: must map ham and spam, not spam"),
        ({"labels": {}}, "labels: must map ham and spam, not nothing"),
        ({"encoding": "latin-x"}, "encoding: unknown 'latin-x'; use utf-8, latin-1 or cp1252, say"),
        *(({"glob": glob}, NO_GLOB) for glob in ("", ".", "..", "./")),
        ({"format": "xlsx"}, "format: unknown 'xlsx'; choose from csv, tsv, jsonl, parquet"),
    ],
)
def test_contradictory_params_are_refused(changes, problem):
    value = {"glob": "*", "columns": NAMES, "labels": LABELS} | changes
    line = error_of(parse_params, InboxParams, value, "params.yaml: ingest.files")
    assert line == f"params.yaml: ingest.files.{problem}"


def test_header_and_format_may_come_from_params(read):
    rows = read("data", "1\thi\n0\tyo\n", header=["kind", "body"], format="tsv")
    assert rows == [("hi", "spam", 1), ("yo", "ham", 2)]


def test_row_longer_than_the_given_header_is_refused(read):
    line = error_of(read, "a.csv", "1,hi,there\n", header=["kind", "body"])
    assert line == "a.csv: row 1: 3 columns, not 2; correct the row"


# ---- any file as a table


@pytest.fixture
def params(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"glob": "*", "columns": NAMES, "labels": LABELS, "encoding": "utf-8"}
    ruamel.yaml.YAML().dump({"ingest": {"files": files}}, tmp_path / "params.yaml")


@pytest.mark.usefixtures("params")
def test_any_file_is_read_as_params_say():
    write(Path("a.csv"))
    table = readers.read_messages(Path("a.csv"))
    assert table.columns.tolist() == MESSAGES.names
    assert table["text"].tolist() == [row[0] for row in ROWS]
    assert set(table["source"]) == {"a.csv"}


@pytest.mark.usefixtures("params")
@pytest.mark.parametrize("suffix", FORMATS)
def test_file_without_labels_is_read_if_none_are_needed(suffix):
    content = {".csv": "body\nhi\n", ".tsv": "n\tbody\n1\thi\n", ".jsonl": '{"body": "hi"}\n'}
    path = Path(f"a{suffix}")
    if suffix == ".parquet":
        pq.write_table(pa.table({"body": ["hi"]}), path)
    else:
        path.write_text(content[suffix])
    table = readers.read_messages(path, labels=False)
    assert table["text"].tolist() == ["hi"]
    assert table["label"].isna().all()
    assert "'kind'" in error_of(readers.read_messages, path)


def test_table_of_ingest_or_validate_is_read_as_it_is(tmp_path):
    write(tmp_path / "a.csv")
    table = read_file(source_file(tmp_path / "a.csv"))
    more = table.append_column("copies", pa.array([1] * len(ROWS)))
    pq.write_table(more, tmp_path / "messages.parquet")
    read = readers.read_messages(tmp_path / "messages.parquet")
    assert pa.Table.from_pandas(read, MESSAGES).equals(table)
