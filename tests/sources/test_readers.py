"""Labelled files of every format become MESSAGES; what cannot be read is one clear line."""

import codecs
import csv
import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ruamel.yaml

from pipeline.core.errors import PipelineError
from pipeline.core.params import parse_params
from pipeline.core.schemas import MESSAGES
from pipeline.sources import readers
from pipeline.sources.file_formats import FORMATS
from pipeline.sources.readers import ColumnNames, InboxParams, SourceFile, read_file

NAMES = {"text": "body", "label": "kind", "received_at": "sent"}
LABELS = {"spam": ["spam", 1, "junk"], "ham": ["ham", 0, "ok"]}
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def inbox_params(**changes):
    """How to read a file; `changes`: glob, labels, encoding, format, header."""
    params = {"glob": "*", "columns": ColumnNames(**NAMES), "labels": LABELS}
    return InboxParams(**(params | changes))


def source_file(path, source="x", **changes):
    """A file to read with `inbox_params`; errors call it by its path."""
    return SourceFile(path, source, inbox_params(**changes), str(path))


@pytest.fixture
def read(tmp_path):
    """The rows of a file of this name and content, without id and source."""

    def read(name, content, **changes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = pa.Table.from_batches(
            read_file(source_file(path, f"files/{name}", **changes)), MESSAGES
        )
        return [tuple(row.values()) for row in table.select(["text", "label", "row"]).to_pylist()]

    return read


@pytest.fixture
def refusal(tmp_path, read):
    """The line that a file is refused with, its folder cut off."""

    def refusal(name, content, **changes):
        with pytest.raises(PipelineError) as refused:
            read(name, content, **changes)
        return str(refused.value).removeprefix(f"{tmp_path}/")

    return refusal


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
    if path.suffix == ".jsonl":
        lines = zip(texts, labels, sent, strict=True)
        content = "".join(
            json.dumps(dict(zip(("body", "kind", "sent"), row, strict=True))) + "\n"
            for row in lines
        )
        path.write_text(content, encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"kind": labels, "body": texts, "sent": dates}), path)
    else:
        tab = path.suffix == ".tsv"
        with path.open("w", encoding="utf-8", newline="") as out_file:
            rule = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if tab else {}
            out = csv.writer(out_file, lineterminator="\n", **rule)
            out.writerow(["kind", "sent", "more", "body"])
            out.writerows(
                zip(labels, [x or "" for x in sent], range(len(rows)), texts, strict=True)
            )


@pytest.mark.parametrize("suffix", FORMATS)
def test_every_format_gives_the_same_table(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    write(path)
    table = pa.Table.from_batches(read_file(source_file(path, "files/mine")), MESSAGES)
    labels = ["spam", "spam", "ham", "spam", "spam", "ham", "perhaps"]
    assert table.to_pylist() == [
        {
            "message_id": hashlib.sha256(text.encode()).hexdigest()[:16],
            "text": text,
            "label": label,
            "source": "files/mine",
            "row": number,
            "received_at": date,
        }
        for number, ((text, _, date), label) in enumerate(zip(ROWS, labels, strict=True), 1)
    ]


@pytest.mark.parametrize("suffix", FORMATS)
def test_row_without_a_time_gets_that_of_its_file(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    write(path)
    dated = replace(source_file(path), received_at=datetime(2026, 11, 20, tzinfo=UTC))
    table = pa.Table.from_batches(read_file(dated), MESSAGES)
    assert table["received_at"].to_pylist() == [date or dated.received_at for *_, date in ROWS]


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_are_numbered_across_batches(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(readers, "BATCH_ROWS", 3)
    path = tmp_path / f"mine{suffix}"
    write(path)
    batches = list(read_file(source_file(path, "files/mine")))
    assert [batch.column("row").to_pylist() for batch in batches] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [text for batch in batches for text in batch.column("text").to_pylist()] == [
        row[0] for row in ROWS
    ]


@pytest.mark.parametrize(
    ("written", "label"),
    [
        (1, "spam"),
        (1.0, "spam"),
        (True, "spam"),
        (" JUNK\t", "spam"),
        (0, "ham"),
        (False, "ham"),
        ("Ok", "ham"),
        (2, "2"),
        (0.5, "0.5"),
        ("Perhaps ", "Perhaps "),
        ("", ""),
        (None, None),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_label_is_mapped_in_any_spelling_or_kept(read, written, label):
    assert read("mine.jsonl", json.dumps({"body": "hi", "kind": written})) == [("hi", label, 1)]


def test_parquet_file_may_have_other_types(tmp_path):
    path = tmp_path / "mine.parquet"
    columns = {
        "body": pa.array(["a", None, "c"]).dictionary_encode(),
        "kind": pa.array([1.0, float("nan"), None]),
        "sent": pa.array([1_709_208_000_123_456_789, None, 0], pa.timestamp("ns")),
    }
    pq.write_table(pa.table(columns), path)
    rows = pa.Table.from_batches(read_file(source_file(path)), MESSAGES).to_pylist()
    assert [row["text"] for row in rows] == ["a", None, "c"]
    assert [row["label"] for row in rows] == ["spam", "nan", None]
    dates = [datetime(2024, 2, 29, 12, 0, 0, 123456, UTC), None, datetime(1970, 1, 1, tzinfo=UTC)]
    assert [row["received_at"] for row in rows] == dates


def test_column_of_nulls_gives_null_labels(tmp_path):
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"body": ["a", "b"], "kind": pa.nulls(2)}), path)
    (batch,) = read_file(source_file(path))
    assert batch.column("label").to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T14:00+02:00", NOON),
        ("2024-02-29 12:00:00Z", NOON),
        ("", None),
        (None, None),
    ],
)
def test_time_is_iso_8601_and_utc_without_a_zone(tmp_path, written, time):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"body": "hi", "kind": 1, "sent": written}))
    (batch,) = read_file(source_file(path))
    assert batch.column("received_at").to_pylist() == [time]


@pytest.mark.parametrize(
    "written", ["29/02/2024", 0, 1_711_220_012, "0001-01-01T00:00+05:00", "2023-02-29"]
)
def test_invalid_time_is_refused_with_its_row(refusal, written):
    good = json.dumps({"body": "hi", "kind": 1})
    bad = json.dumps({"body": "hi", "kind": 1, "sent": written})
    assert refusal("mine.jsonl", f"{good}\n{bad}\n") == (
        "mine.jsonl: row 2: received_at is not an ISO 8601 time; "
        "correct the row, or set ingest.files.columns.received_at to a column that does not exist"
    )


# ---- encodings and the shapes that files come in


@pytest.mark.parametrize(
    "encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "UTF8", "utf_8", "utf-8-sig"]
)
def test_text_files_are_read_in_their_encoding(read, encoding):
    expected = [("Zürich £5", "spam", 1), ("été", "ham", 2)]
    assert (
        read("a.csv", "body,kind\nZürich £5,1\nété,0\n".encode(encoding), encoding=encoding)
        == expected
    )
    assert (
        read("a.tsv", "body\tkind\nZürich £5\t1\nété\t0\n".encode(encoding), encoding=encoding)
        == expected
    )
    lines = '{"body": "Zürich £5", "kind": 1}\n{"body": "été", "kind": 0}\n'
    assert read("a.jsonl", lines.encode(encoding), encoding=encoding) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "utf-8-sig"])
def test_broken_utf_8_becomes_a_replacement_character(read, encoding):
    content = "body,kind\nZürich,1\n".encode("latin-1")
    assert read("a.csv", content, encoding=encoding) == [("Z�rich", "spam", 1)]
    content = '{"body": "Zürich", "kind": 1}'.encode("latin-1")
    assert read("a.jsonl", content, encoding=encoding) == [("Z�rich", "spam", 1)]


def test_lone_surrogate_becomes_replacement_characters(read):
    ((text, _, _),) = read("a.jsonl", '{"body": "a\\ud83d", "kind": 1}')
    assert set(text) == {"a", "�"}


def test_byte_order_mark_is_not_part_of_the_first_column(read):
    assert read("a.csv", codecs.BOM_UTF8 + b"body,kind\n007,1\n") == [("007", "spam", 1)]
    assert read("a.tsv", codecs.BOM_UTF8 + b"body\tkind\n007\t1\n") == [("007", "spam", 1)]
    assert read("a.jsonl", codecs.BOM_UTF8 + b'{"body": "007", "kind": 1}') == [("007", "spam", 1)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_are_not_part_of_a_message(read, newline):
    assert read("a.csv", newline.join(["body,kind", "hi,1", "yo,0", ""])) == [
        ("hi", "spam", 1),
        ("yo", "ham", 2),
    ]


def test_quoted_message_may_have_commas_and_line_breaks(read):
    content = 'body,kind\n"a\nb, ""c""\r\nd",1\nyo,0\n'
    assert read("a.csv", content) == [('a\nb, "c"\r\nd', "spam", 1), ("yo", "ham", 2)]


def test_stray_quotation_marks_in_a_tsv_merge_no_rows(read):
    assert read("a.tsv", 'body\tkind\n"hi\t1\nyo "x\t0\n') == [
        ('"hi', "spam", 1),
        ('yo "x', "ham", 2),
    ]


def test_nul_byte_stays_for_validate_to_refuse(read):
    assert read("a.csv", "body,kind\na\0b,1\n") == [("a\0b", "spam", 1)]


def test_blank_lines_of_a_csv_are_not_rows(read):
    assert read("a.csv", "\n\nbody,kind\n007,1\n\nb,0\n\n") == [("007", "spam", 1), ("b", "ham", 2)]


def test_message_may_have_three_million_characters(read):
    ((text, _, row), _) = read("a.csv", "body,kind\n" + "x" * 3_000_000 + ",1\nb,0\n")
    assert (len(text), row) == (3_000_000, 1)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "body,kind\n"), ("a.tsv", "body\tkind\n"), ("a.jsonl", "")]
)
def test_file_without_rows_gives_none(read, name, content):
    assert read(name, content) == []


# ---- errors

SET = "set ingest.files.columns"
QUOTE = "a quotation mark is not closed or not doubled"
TOO_DEEP = "maximum recursion depth exceeded while decoding a JSON array from a unicode string"
NO_PARQUET = (
    "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a "
    "parquet file"
)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "text,kind\na,1\n", f"no column 'body' among text, kind; {SET}"),
        ("a.csv", "body,label\n", f"no column 'kind' among body, label; {SET}"),
        ("a.tsv", "body,kind\na,1\n", f"no column 'body' among …; {SET}"),
        (
            "a.csv",
            "body,kind,body\na,1,b\n",
            f"more than one column 'body' among body, kind, body; {SET}",
        ),
        (
            "a.csv",
            "body,kind,sent,sent\na,1,,\n",
            f"more than one column 'sent' among body, kind, sent, sent; {SET}",
        ),
        ("a.csv", "", "empty; give it a header and rows, or remove it"),
        ("a.csv", "\n\n", "empty; give it a header and rows, or remove it"),
        ("a.csv", "ham,see you\n", f"no column 'body' among ham, …; {SET}"),
        ("a.csv", b"k\xefnd,body\n", "no column 'kind' among …, body; set ingest.files.encoding"),
        (
            "a.csv",
            "body,kind\na,1\n".encode("utf-16"),
            "no column 'body' among …, …; set ingest.files.encoding",
        ),
        ("a.csv", "body,kind\na,1\nsecret, words,1\n", "row 2: 3 columns, not 2; correct the row"),
        (
            "a.csv",
            'body,kind\na,1\n"b,0\nc,1\n',
            f"row 2: {QUOTE} (unexpected end of data); correct the row",
        ),
        (
            "a.csv",
            'body,kind\na,1\nb,0\n"c" d,0\n',
            f"row 3: {QUOTE} (',' expected after '\"'); correct the row",
        ),
        (
            "a.csv",
            '"body,kind\na,1\n',
            f"the header: {QUOTE} (unexpected end of data); correct the row",
        ),
        ("a.csv", 'body,kind\n"a\nb",1\n\nb\n', "row 2: 1 columns, not 2; correct the row"),
        ("a.tsv", "body\tkind\na\t1\nb\t\t0\n", "row 2: 3 columns, not 2; correct the row"),
        (
            "a.jsonl",
            '{"body": "a", "kind": 1}\n{"body": secret}\n',
            "line 2: Expecting value: line 1 column 10 (char 9); correct the line",
        ),
        ("a.jsonl", '{"body": "a"}\n', f"line 1: no key 'kind'; correct the line, or {SET}"),
        ("a.jsonl", "[1, 2]\n", "line 1: not an object; correct the line"),
        ("a.jsonl", "[" * 100_000, f"line 1: {TOO_DEEP}; correct the line"),
        ("a.parquet", "body,kind\n", f"{NO_PARQUET}; correct or remove the file"),
        ("a.txt", "hello", "format: unknown '.txt'; choose from .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_unreadable_file_is_refused_in_one_line(refusal, name, content, problem):
    assert refusal(name, content) == f"{name}: {problem}"


def test_parquet_file_without_rows_needs_its_columns(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": pa.array([], pa.string())}), path)
    with pytest.raises(PipelineError) as refused:
        list(read_file(source_file(path)))
    assert str(refused.value) == f"{path}: no column 'kind' among body; {SET}"


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_file_is_one_line(tmp_path, suffix):
    path = tmp_path / f"none{suffix}"
    with pytest.raises(PipelineError, match="No such file or directory") as refused:
        list(read_file(source_file(path)))
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "body,kind\né,1\n"), ("a.jsonl", '{"body": "é"}\n')]
)
def test_wrong_encoding_is_named(refusal, name, content):
    assert refusal(name, content, encoding="ascii") == (
        f"{name}: 'ascii' codec can't decode byte 0xc3 in position 10: ordinal not in range(128); "
        "set ingest.files.encoding"
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"labels": {"spam": [1, "junk"], "ham": ["Junk ", True]}},
            "labels: 1, junk: listed twice; list each value once",
        ),
        ({"labels": {"spam": [1]}}, "labels: must map ham and spam, not spam"),
        ({"labels": {}}, "labels: must map ham and spam, not nothing"),
        ({"encoding": "latin-x"}, "encoding: unknown 'latin-x'; use utf-8, latin-1 or cp1252, say"),
        *(
            ({"glob": glob}, "glob: matches no file; use * for every file of data/inbox")
            for glob in ("", ".", "..", "./")
        ),
        ({"format": "xlsx"}, "format: unknown 'xlsx'; choose from csv, tsv, jsonl, parquet"),
    ],
)
def test_contradictory_params_are_refused(changes, problem):
    value = {"glob": "*", "columns": NAMES, "labels": LABELS} | changes
    with pytest.raises(PipelineError) as refused:
        parse_params(InboxParams, value, "params.yaml: ingest.files")
    assert str(refused.value) == f"params.yaml: ingest.files.{problem}"


# ---- header and format from params


def test_header_and_format_may_come_from_params(read):
    how = {"header": ["kind", "body"], "format": "tsv"}
    assert read("data", "1\thi\n0\tyo\n", **how) == [("hi", "spam", 1), ("yo", "ham", 2)]


def test_row_longer_than_the_given_header_is_refused(refusal):
    line = refusal("a.csv", "1,hi,there\n", header=["kind", "body"])
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
@pytest.mark.parametrize(
    ("name", "content"),
    [("a.csv", "body\nhi\n"), ("a.tsv", "n\tbody\n1\thi\n"), ("a.jsonl", '{"body": "hi"}\n')],
)
def test_file_without_labels_is_read_if_none_are_needed(name, content):
    Path(name).write_text(content)
    table = readers.read_messages(Path(name), labels=False)
    assert table["text"].tolist() == ["hi"]
    assert table["label"].isna().all()
    with pytest.raises(PipelineError, match="'kind'"):
        readers.read_messages(Path(name))


@pytest.mark.usefixtures("params")
def test_parquet_without_labels_is_read_too():
    pq.write_table(pa.table({"body": ["hi"]}), "a.parquet")
    assert readers.read_messages(Path("a.parquet"), labels=False)["label"].isna().tolist() == [True]


def test_table_of_ingest_or_validate_is_read_as_it_is(tmp_path):
    path = tmp_path / "a.csv"
    write(path)
    table = pa.Table.from_batches(read_file(source_file(path)), MESSAGES)
    pq.write_table(
        table.append_column("copies", pa.array([1] * len(ROWS))), tmp_path / "messages.parquet"
    )
    read = readers.read_messages(tmp_path / "messages.parquet")
    assert pa.Table.from_pandas(read, MESSAGES).equals(table)
