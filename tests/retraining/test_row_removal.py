"""A message leaves a file of any format; every other byte stays."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import message_id
from pipeline.retraining.row_removal import read_ids, write_without
from pipeline.sources.readers import ColumnNames, FileParams, SourceFile
from tests.harness.errors import error_of

MAIL = "From a@b Mon Nov 30 10:00:00 2026\nSubject: {}\n\n{}\n\n"
LINES = {"header": ["label", "text"], "separator": "|"}
GONE = 'go, "on"\nand on; it\'s'
GONE_IN_CSV = '"go, ""on""\nand on; it\'s"'


def remove(path, *texts, **params):
    """The number of removed rows, and the new content; None if there is none."""
    file = SourceFile(path, path.name, FileParams(**params), path.name)
    target = path.with_name("target")
    ids = {message_id(text) for text in texts}
    rows = write_without(file, read_ids(file), ids, target)
    return rows, target.read_bytes() if target.exists() else None


@pytest.mark.parametrize(
    ("name", "before", "after", "params"),
    [
        (
            "a.csv",
            f"label,text,x\r\nham,{GONE_IN_CSV},1\n\nspam,  b ,\rham,{GONE_IN_CSV},\nham,b,3",
            "label,text,x\r\n\nspam,  b ,\rham,b,3",
            {},
        ),
        ("a.csv", f"text;x\n{GONE_IN_CSV};1\nb,c;2\n", "text;x\nb,c;2\n", {}),
        ("a.csv", f"sep=|\ntext|x\n{GONE_IN_CSV}|1\nb|2\n", "sep=|\ntext|x\nb|2\n", {}),
        (
            "a.csv",
            f"1#{GONE_IN_CSV}\n2#b\n",
            "2#b\n",
            {"header": ["x", "text"], "separator": "#"},
        ),
        ("a.csv", f"text\n{GONE_IN_CSV}\n", "text\n", {}),
    ],
)
def test_other_bytes_of_a_csv_stay(name, before, after, params, tmp_path):
    (path := tmp_path / name).write_bytes(before.encode())
    rows, content = remove(path, GONE, **params)
    assert (rows, content) == (before.count(GONE_IN_CSV), after.encode())


@pytest.mark.parametrize(
    ("name", "before", "after", "params"),
    [
        ("a.tsv", 'text\tx\n"a\t1\nb\t2\n"a\t3\n', "text\tx\nb\t2\n", {}),
        (
            "a.jsonl",
            '\n{"text": "\\"a"}\n\n{"text":"b", "x": 1}\n',
            '\n\n{"text":"b", "x": 1}\n',
            {},
        ),
        ("a.jsonl", '{"text": "\\"a"}\n', "", {}),
        ("a.lines", 'ham|"a\nspam|b|c\n', "spam|b|c\n", LINES),
        ("a.mbox", MAIL.format("x", '"a') + MAIL.format("é", "b"), MAIL.format("é", "b"), {}),
    ],
)
def test_other_bytes_of_lines_stay(name, before, after, params, tmp_path):
    (path := tmp_path / name).write_bytes(before.encode())
    rows, content = remove(path, '"a', 'x\n\n"a', **params)
    assert (rows, content) == (2 if name == "a.tsv" else 1, after.encode())


def test_encoding_of_a_file_stays(tmp_path):
    (path := tmp_path / "a.csv").write_bytes("text\nüber\nä\n".encode("cp1252"))
    assert remove(path, "ä", encoding="cp1252") == (1, "text\nüber\n".encode("cp1252"))


def test_columns_and_types_of_parquet_stay(tmp_path):
    table = pa.table({"body": ["a", "b", None], "x": pa.array([1, 2, None], pa.int8())})
    table = table.replace_schema_metadata({"key": "value"})
    pq.write_table(table, path := tmp_path / "a.parquet")
    rows, _ = remove(path, "a", columns=ColumnNames(text="body"))
    new = pq.read_table(tmp_path / "target")
    assert (rows, new) == (1, table.slice(1))
    assert new.schema.metadata[b"key"] == b"value"


def test_one_mail_is_a_file_without_rest(tmp_path):
    (path := tmp_path / "a.eml").write_text("Subject: a\n\nb")
    assert remove(path, "a\n\nb") == (1, None)
    assert remove(path, "b") == (0, None)


def test_file_without_the_message_is_not_written(tmp_path):
    (path := tmp_path / "a.csv").write_text("text,label,received_at\nb,left_out,never\n")
    assert remove(path, "a", labels={"ham": [], "spam": [], "left_out": ["left_out"]}) == (0, None)
    assert remove(path, "b")[0] == 1


def test_file_that_cannot_be_rewritten_is_one_line(tmp_path):
    (path := tmp_path / "a.csv").write_bytes("text\na\nb\n".encode("utf-16"))
    line = error_of(remove, path, "b", encoding="utf-16")
    assert line.startswith(
        "a.csv: row 2 cannot be removed without a change of others; remove it by"
    )
