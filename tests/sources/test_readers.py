"""Labelled files of every format become MESSAGES; what cannot be read is one clear line."""

import gzip
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


@pytest.fixture
def read_times(tmp_path):
    """The times of receipt of a file with these values of `sent`."""

    def read_times(values, **changes):
        path = tmp_path / "mine.jsonl"
        rows = [json.dumps({"body": "hi", "kind": 1, "sent": value}) for value in values]
        path.write_text("\n".join(rows))
        return read_file(source_file(path, **changes))["received_at"].to_pylist()

    return read_times


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
        (message_id(text), text, label, "files/mine", row, date, None, None)
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


NO_TEXTS = [["a", {"type": "bold"}], {"a": 1}, True, 12, float("nan")]


def test_value_that_is_no_text_becomes_null_and_is_counted(read, tmp_path, caplog):
    rows = [json.dumps({"body": body, "kind": 1}) for body in [*NO_TEXTS, 7, "7"]]
    assert [text for text, _, _ in read("a.jsonl", "\n".join(rows))] == [None] * 6 + ["7"]
    line = "warning: a.jsonl: a {} in place of the text in {} rows, which validate refuses as null"
    counts = {"list": 1, "dict": 1, "bool": 1, "int": 2, "float": 1}
    assert caplog.messages == [line.format(*item) for item in counts.items()]
    pq.write_table(pa.table({"body": [[1, 2]], "kind": [1]}), tmp_path / "a.parquet")
    assert read_file(source_file(tmp_path / "a.parquet"))["text"].to_pylist() == [None]


CUT = """\
Unnamed: 0,body,kind,,Unnamed: 4,note
a,see you,0,,,x
b,see you,0,1.5,,x
c,call us,1, to stop,,x
d,call us,1,,":)",x
"""


def test_text_that_goes_on_in_nameless_columns_becomes_null(read, caplog):
    texts = ["see you", "see you", None, None]
    assert [text for text, _, _ in read("a.csv", CUT)] == texts
    assert caplog.messages == [
        "warning: a.csv: columns without a name, right of 'body', hold text in 2 rows, which "
        "validate refuses as null; write each text into one cell, or name these columns"
    ]
    lines = ({"body": "hi", "kind": 0}, {"body": "call us", "kind": 1, "Unnamed: 2": "to stop"})
    assert [text for text, _, _ in read("a.jsonl", "\n".join(map(json.dumps, lines)))] == [
        "hi",
        None,
    ]


def test_time_is_iso_8601_and_utc_without_a_zone():
    assert readers.as_time("2024-02-29") == NOON.replace(hour=0)
    assert readers.as_time("2024-02-29T14:00+02:00") == NOON


@pytest.mark.parametrize(
    ("date_format", "written"),
    [
        ("%d/%m/%Y %H:%M", "29/02/2024 12:00"),
        ("%d/%m/%Y %H:%M", "2024-02-29T12:00"),  # ISO 8601 in a file beside it
        ("%a, %d %b %Y %H:%M:%S %z", " Thu, 29 Feb 2024 14:00:00 +0200"),
        ("seconds", 1709208000),
        ("milliseconds", "1709208000000"),
    ],
)
def test_date_format_says_how_times_are_written(read_times, date_format, written):
    assert read_times([written, None], date_format=date_format) == [NOON, None]


@pytest.mark.parametrize(
    ("date_format", "written", "expected"),
    [
        (None, "29/02/2024", "an ISO 8601 time"),
        (None, 0, "an ISO 8601 time"),
        (None, "0001-01-01T00:00+05:00", "an ISO 8601 time"),
        ("%d/%m/%Y", "02/29/2024", "of the format '%d/%m/%Y'"),
        ("seconds", 1e300, "of the format 'seconds'"),
        ("seconds", float("nan"), "of the format 'seconds'"),
    ],
)
def test_invalid_times_are_refused_with_their_number(
    read_times, monkeypatch, date_format, written, expected
):
    monkeypatch.setattr(readers, "BATCH_ROWS", 2)
    line = error_of(read_times, [None, written, None, written], date_format=date_format)
    assert line == (
        f"mine.jsonl: received_at is not {expected} in 2 of 4 rows, of which row 2 is the first; "
        'set ingest.files.date_format ("%d/%m/%Y %H:%M", seconds or milliseconds, say), or '
        "ingest.files.columns.received_at to a column that does not exist"
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
        ("a.jsonl", '\n{"body": "a", "kind": 1}\n\r\n \n', [("a", "spam", 1)]),
        ("a.tsv", " kind \tbody\t\n1\ta\t\n", [("a", "spam", 1)]),
    ],
    ids=["quoted CRLF", "stray", "empty CSV", "empty JSONL", "blank lines", "blanks in header"],
)
def test_unusual_shapes_of_a_file_are_read(read, name, content, rows):
    assert read(name, content) == rows


ONE = [("see, you; at 5 | six", "spam", 1), ("b", "ham", 2)]


@pytest.mark.parametrize("separator", [";", "\t", "|", ","])
@pytest.mark.parametrize("first_line", ["", "sep={}\r\n", "\r\n"])
def test_separator_is_found_and_said(read, caplog, separator, first_line):
    caplog.set_level("INFO")
    rows = [["id", "kind", "body"], ["1,5", "1", '"see, you; at 5 | six"'], ["", "0", "b"]]
    rows[1][0] = f'"{rows[1][0]}"'
    content = first_line.format(separator) + "".join(f"{separator.join(row)}\r\n" for row in rows)
    assert read("a.csv", content) == ONE
    said = [] if separator == "," else [f"a.csv: columns separated by {separator!r}"]
    assert caplog.messages == said


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        ("kind^body\n1^see, you; at 5 | six\n0^b\n", {"separator": "^"}),
        ("sep=^\r\nkind^body\r\n1^see, you; at 5 | six\r\n0^b\r\n", {}),
        ("sep=;\nkind^body\n1^see, you; at 5 | six\n0^b\n", {"separator": "^"}),
        ('1;"see, you; at 5 | six"\n0;b\n', {"header": ["kind", "body"]}),
        ('a,b;kind;body\nx;1;"see, you; at 5 | six"\n;0;b\n', {}),
    ],
)
def test_separator_is_taken_from_params_sep_line_or_rows(read, content, changes):
    assert read("a.csv", content, **changes) == ONE


# ---- errors

SET = "set ingest.files.columns"
ENCODING = "set ingest.files.encoding"
HEADER = "or ingest.files.header if its first row is a message"
SEPARATOR = "set ingest.files.separator, or ingest.files.columns"
ENDS = "as the header ends with a separator"
EMPTY = "empty; give it a header and rows, or remove it"
QUOTE = "a quotation mark is not closed or not doubled (unexpected end of data); correct the row"
TOO_DEEP = "maximum recursion depth exceeded while decoding a JSON array from a unicode string"
NO_PARQUET = (
    "Parquet magic bytes not found in footer. Either the file is corrupted or this is not a "
    "parquet file"
)
TWO_SENT = f"more than one column 'sent' among body, kind, sent, sent; {SET}"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:f728\nsize 100\n"
PULL = "`git lfs pull` where it comes from"
WORKBOOK = "a zip file, which must be unpacked first, or a workbook; export its sheet as CSV"
NO_VALUE = "Expecting value: line 1 column 10 (char 9); correct the line"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.csv", "text,kind\na,1\n", f"no column 'body' among text, kind; {SET}"),
        ("a.csv", "body,kind,sent,sent\na,1,,\n", TWO_SENT),
        ("a.csv", "\n\n", EMPTY),
        ("a.tsv", "ham\thunter2\n", f"no column 'body' among 2 columns; {SET}, {HEADER}"),
        ("a.csv", "body^kind\n", f"no column 'body' among 1 column; {SEPARATOR}"),
        ("a.csv", b"k\xefnd,body\n", f"no column 'kind' among body and 1 other; {ENCODING}"),
        ("a.csv", "body,kind".encode("utf-16-le"), f"no column 'body' among 2 columns; {ENCODING}"),
        ("a.csv", "body,kind\n".encode("utf-16"), f"in UTF-16; {ENCODING} to utf-16"),
        ("a.jsonl", "{}".encode("utf-32"), f"in UTF-32; {ENCODING} to utf-32"),
        ("a.tsv", gzip.compress(b"body", mtime=0), "a gzip file, which must be unpacked first"),
        ("a.csv", b"PK\x03\x04", WORKBOOK),
        ("a.csv", '"body,kind\na,1\n', f"the header: {QUOTE}"),
        ("a.tsv", "body\tkind\t\na\t1\n", f"row 1: 2 columns, not 3, {ENDS}; correct the row"),
        ("a.csv", "body;kind\na;1\nb;c;1\n", "row 2: 3 columns, not 2; correct the row"),
        ("a.csv", 'body,kind\n"a\nb",1\n\nb\n', "row 2: 1 columns, not 2; correct the row"),
        ("a.jsonl", '{"body": "a", "kind": 1}\n{"body": secret}\n', f"line 2: {NO_VALUE}"),
        ("a.jsonl", '{"body": "a"}\n', f"line 1: no key 'kind'; correct the line, or {SET}"),
        ("a.jsonl", "[1, 2]\n", "line 1: not an object; correct the line"),
        ("a.jsonl", '{"kind": 1, "kind": 0}\n', "line 1: a key is there twice; correct the line"),
        ("a.jsonl", "[" * 100_000, f"line 1: {TOO_DEEP}; correct the line"),
        ("a.parquet", "body,kind\n", f"{NO_PARQUET}; correct or remove the file"),
        ("a.parquet", POINTER, f"a Git LFS pointer, not the file itself; run {PULL}"),
        (
            "a.txt",
            "hello",
            "format: unknown '.txt'; choose from .csv, .tsv, .jsonl, .parquet, .lines, .eml, .mbox",
        ),
    ],
)
def test_unreadable_file_is_refused_in_one_line(read, name, content, problem):
    assert error_of(read, name, content) == f"{name}: {problem}"


def test_missing_file_is_one_line(tmp_path):
    line = error_of(read_file, source_file(tmp_path / "none.parquet"))
    assert line.startswith("none.parquet: ")
    assert line.endswith("No such file or directory; correct or remove the file")


def test_parquet_file_without_columns_is_one_line(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({}), path)
    line = "a.parquet: no columns; give it columns and rows, or remove it"
    assert error_of(read_file, source_file(path)) == line


def test_wrong_encoding_is_named(read):
    problem = "'ascii' codec can't decode byte 0xc3 in position 10: ordinal not in range(128)"
    line = error_of(read, "a.csv", "body,kind\né,1\n", encoding="ascii")
    assert line == f"a.csv: {problem}; {ENCODING}"


ONE_CHARACTER = """string should match pattern '^[^"\\r\\n]$'"""
DATES = 'use "%d/%m/%Y %H:%M", seconds or milliseconds, say'
REPEATED = "redefinition of group name 'd' as group 2; was group 1 at position 46"
TWICE = {"spam": [1, "junk"], "ham": ["Junk ", True]}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"labels": TWICE}, "labels: 1, junk: listed twice; list each value once"),
        ({"labels": {}}, "labels: must map ham and spam, not nothing"),
        ({"encoding": "latin-x"}, "encoding: unknown 'latin-x'; use utf-8, latin-1 or cp1252, say"),
        ({"glob": "../"}, "glob: matches no file; use * for every file of data/inbox"),
        ({"date_format": "%Q"}, f"date_format: 'Q' is a bad directive in format '%Q'; {DATES}"),
        ({"date_format": "%d/%d"}, f"date_format: {REPEATED}; {DATES}"),
        ({"date_format": "days"}, f"date_format: unknown 'days'; {DATES}"),
        ({"separator": ";;"}, f"separator: {ONE_CHARACTER}, not ';;'"),
        (
            {"format": "xlsx"},
            "format: unknown 'xlsx'; choose from csv, tsv, jsonl, parquet, lines, eml, mbox",
        ),
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


def test_parquet_of_ones_own_may_have_two_columns_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PARAMS_FILE.write_text('ingest: {files: {glob: "*"}}')
    columns = [pa.array([value]) for value in ("junk", "a", 1, 2)]
    pq.write_table(pa.Table.from_arrays(columns, ["label", "text", "x", "x"]), "a.parquet")
    [row] = readers.read_messages(Path("a.parquet")).to_dict("records")
    assert (row["text"], row["label"]) == ("a", "spam")


def test_name_that_is_not_utf8_is_escaped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PARAMS_FILE.write_text('ingest: {files: {glob: "*"}}')
    path = Path("a\udcff.csv")
    path.write_text("text,label\na,ham\n")
    assert readers.read_messages(path)["source"].tolist() == [r"a\udcff.csv"]


def test_params_without_a_section_for_files_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PARAMS_FILE.write_text("ingest: 5")
    line = "params.yaml: ingest.files: input should be an object, not None"
    assert error_of(readers.read_messages, Path("a.csv")) == line


# ---- lines, labels of a whole file, rows that are left out


def test_lines_are_messages_that_may_hold_anything(read):
    content = 'a "quoted, one\r\n\n  b|c\n'
    rows = read("mine.txt", content, format="lines", header=["body"], label="spam")
    assert rows == [('a "quoted, one', "spam", 1), ("  b|c", "spam", 2)]


def test_line_is_cut_at_its_first_separators(read):
    header = {"format": "lines", "header": ["kind", "body"], "separator": "|"}
    assert read("mine.txt", "ok|a|b\njunk|c\n", **header) == [("a|b", "ham", 1), ("c", "spam", 2)]


def test_line_without_its_separator_is_an_error(read):
    header = {"format": "lines", "header": ["kind", "body"], "separator": "|"}
    problem = "mine.txt: line 2: 1 of 2 columns (separator '|'); correct the line, header or separ"
    assert problem in error_of(read, "mine.txt", "ok|a\nb\n", **header)


def test_left_out_labels_are_not_read_and_counted(read, caplog):
    caplog.set_level("INFO")
    labels = {**LABELS, "left_out": ["unsure"]}
    rows = read("mine.csv", "body,kind\na,1\nb,unsure\nc,0\n", labels=labels)
    assert rows == [("a", "spam", 1), ("c", "ham", 3)]
    assert "mine.csv: left out by ingest.files.labels: 1 rows" in caplog.text


def test_kind_and_language_are_read_if_a_file_has_them(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("body,kind,sort,language\na,1,toll,en\n")
    columns = ColumnNames(**NAMES)
    plain, named = (
        read_file(source_file(path, columns=names)).select(["kind", "language"]).to_pylist()
        for names in (columns, columns.model_copy(update={"kind": "sort"}))
    )
    assert plain == [{"kind": None, "language": "en"}]  # `kind` is the column of the label
    assert named == [{"kind": "toll", "language": "en"}]
