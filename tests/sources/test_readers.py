"""Labelled files of every format become MESSAGES; what cannot be read is one clear line."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import message_id
from pipeline.core.params import PARAMS_FILE, parse_params
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


@pytest.fixture(params=FORMATS)
def mine(tmp_path, request):
    """A file of ROWS in each format."""
    texts, labels, dates = zip(*ROWS, strict=True)
    sent = [date and date.isoformat() for date in dates]
    table = pd.DataFrame({"kind": labels, "sent": sent, "more": range(7), "body": texts})
    path = tmp_path / f"mine{request.param}"
    FORMATS[request.param].write(path, table, None)
    return source_file(path)


def test_every_format_gives_the_same_table(mine, monkeypatch):
    monkeypatch.setattr(readers, "BATCH_ROWS", 3)
    assert [batch.num_rows for batch in readers.read_file(mine)] == [3, 3, 1]
    labels = ["spam", "spam", "ham", "spam", "spam", "ham", "perhaps"]
    rows = zip(ROWS, labels, range(1, 8), strict=True)
    assert [tuple(row.values()) for row in read_file(mine).to_pylist()] == [
        (message_id(text), text, label, "files/mine", row, date)
        for (text, _, date), label, row in rows
    ]


LABEL_TABLE = {
    "spam": [1, 1.0, True, " JUNK\t"],
    "ham": [0, False, "Ok"],
    "0.5": [0.5],
    "Perhaps ": ["Perhaps "],
    "": [""],
    None: [None],
    "nan": [float("nan")],
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


def test_time_is_iso_8601_and_utc_without_a_zone():
    assert readers.as_time("2024-02-29") == NOON.replace(hour=0)
    assert readers.as_time("2024-02-29T14:00+02:00") == NOON


@pytest.mark.parametrize("written", ["29/02/2024", 0, "0001-01-01T00:00+05:00"])
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
    ("written", "encoding", "texts"),
    [
        ("latin-1", "latin-1", ("Zürich £5", "été")),
        ("utf-16", "utf-16", ("Zürich £5", "été")),
        ("utf-8-sig", "utf_8", ("Zürich £5", "été")),
        ("utf-8", "utf-8-sig", ("Zürich £5", "été")),
        ("latin-1", "UTF_8", ("Z�rich �5", "�t�")),
    ],
)
@pytest.mark.parametrize("name", TWO)
def test_text_files_are_read_in_their_encoding(read, name, written, encoding, texts):
    rows = read(name, TWO[name].encode(written), encoding=encoding)
    assert rows == [(texts[0], "spam", 1), (texts[1], "ham", 2)]


def test_lone_surrogate_becomes_replacement_characters(read):
    ((text, _, _),) = read("a.jsonl", '{"body": "a\\ud83d", "kind": 1}')
    assert set(text) == {"a", "�"}


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("a.csv", '\n\nbody,kind\r\n"a\nb, ""c""\r\nd",1\r\n\r\n', [('a\nb, "c"\r\nd', "spam", 1)]),
        ("a.tsv", 'body\tkind\n"hi\t1\nyo "x\t0\n', [('"hi', "spam", 1), ('yo "x', "ham", 2)]),
        ("a.csv", "body,kind\n", []),
        ("a.jsonl", "", []),
    ],
    ids=["quoted CRLF", "stray", "empty CSV", "empty JSONL"],
)
def test_unusual_shapes_of_a_file_are_read(read, name, content, rows):
    assert read(name, content) == rows


# ---- errors

SET = "set ingest.files.columns"
ENCODING = "set ingest.files.encoding"
EMPTY = "empty; give it a header and rows, or remove it"
QUOTE = "a quotation mark is not closed or not doubled (unexpected end of data); correct the row"
TOO_DEEP = "maximum recursion depth exceeded while decoding a JSON array from a unicode string"
NO_PARQUET = (
    "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a "
    "parquet file"
)
TWO_SENT = f"more than one column 'sent' among body, kind, sent, sent; {SET}"
NO_VALUE = "Expecting value: line 1 column 10 (char 9); correct the line"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "text,kind\na,1\n", f"no column 'body' among text, kind; {SET}"),
        ("a.csv", "body,kind,sent,sent\na,1,,\n", TWO_SENT),
        ("a.csv", "\n\n", EMPTY),
        ("a.csv", "ham,see you\n", f"no column 'body' among ham, …; {SET}"),
        ("a.csv", b"k\xefnd,body\n", f"no column 'kind' among …, body; {ENCODING}"),
        ("a.csv", '"body,kind\na,1\n', f"the header: {QUOTE}"),
        ("a.csv", 'body,kind\n"a\nb",1\n\nb\n', "row 2: 1 columns, not 2; correct the row"),
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


def test_missing_file_is_one_line(tmp_path):
    line = error_of(read_file, source_file(tmp_path / "none.parquet"))
    assert line.startswith("none.parquet: ")
    assert line.endswith("No such file or directory; correct or remove the file")


def test_wrong_encoding_is_named(read):
    problem = "'ascii' codec can't decode byte 0xc3 in position 10: ordinal not in range(128)"
    line = error_of(read, "a.csv", "body,kind\né,1\n", encoding="ascii")
    assert line == f"a.csv: {problem}; {ENCODING}"


TWICE = {"spam": [1, "junk"], "ham": ["Junk ", True]}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": TWICE}, "labels: 1, junk: listed twice; list each value once"),
        ({"labels": {}}, "labels: must map ham and spam, not nothing"),
        ({"encoding": "latin-x"}, "encoding: unknown 'latin-x'; use utf-8, latin-1 or cp1252, say"),
        ({"glob": "../"}, "glob: matches no file; use * for every file of data/inbox"),
        ({"format": "xlsx"}, "format: unknown 'xlsx'; choose from csv, tsv, jsonl, parquet"),
    ],
)
def test_contradictory_params_are_refused(changes, problem):
    value = {"glob": "*", "columns": NAMES, "labels": LABELS} | changes
    line = error_of(parse_params, InboxParams, value, "params.yaml: ingest.files")
    assert line == f"params.yaml: ingest.files.{problem}"


def test_row_longer_than_the_given_header_is_refused(read):
    line = error_of(read, "a.csv", "1,hi,there\n", header=["kind", "body"])
    assert line == "a.csv: row 1: 3 columns, not 2; correct the row"


# ---- any file as a table


@pytest.mark.parametrize("suffix", FORMATS)
def test_file_without_labels_is_read_if_none_are_needed(tmp_path, monkeypatch, suffix):
    monkeypatch.chdir(tmp_path)
    PARAMS_FILE.write_text('ingest: {files: {glob: "*", columns: {text: body, label: kind}}}')
    path = Path(f"a{suffix}")
    FORMATS[suffix].write(path, pd.DataFrame({"n": [1], "body": ["hi"]}), None)
    [row] = readers.read_messages(path, labels=False).to_dict("records")
    assert list(row) == MESSAGES.names
    assert (row["text"], row["source"]) == ("hi", path.name)
    assert pd.isna(row["label"])
    assert "'kind'" in error_of(readers.read_messages, path)


def test_table_of_ingest_or_validate_is_read_as_it_is(tmp_path, mine):
    table = read_file(mine)
    more = table.append_column("copies", pa.array([1] * len(ROWS)))
    pq.write_table(more, tmp_path / "messages.parquet")
    read = readers.read_messages(tmp_path / "messages.parquet")
    assert pa.Table.from_pandas(read, MESSAGES).equals(table)
