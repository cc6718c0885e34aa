"""One registry reads labelled and unlabelled files alike, and writes them."""

import csv
import sys
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.sources import file_formats
from pipeline.sources.file_formats import FORMATS, ReadOptions, format_of, read_batches
from tests.harness.errors import error_of

ROWS = pd.DataFrame({"text": ["a", "b", "c"], "n": ["1", "2", "3"]}, dtype="str")


@pytest.mark.parametrize("suffix", FORMATS)
def test_parts_are_joined_in_order_and_read_in_batches(tmp_path, suffix):
    form = format_of(f"FILE{suffix.upper()}")
    parts = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
    form.write(parts[0], ROWS[:2], None)
    form.write(parts[1], ROWS[2:], parts[0])
    whole = tmp_path / f"whole{suffix}"
    form.join(whole, parts)
    batches = list(read_batches(form, whole, ReadOptions("whole"), 2))
    assert [batch.values("text") for batch in batches] == [["a", "b"], ["c"]]


HOSTILE = st.sampled_from("\r\n\t\"',;|=\\\0\x1c\x85\u2028\ufeff ") | st.characters(codec="utf-8")
ROW_ENDS = set("\t\r\n")  # which TSV, without quoting, cannot hold


@pytest.mark.parametrize("suffix", FORMATS)
@settings(derandomize=True)
@given(texts=st.lists(st.text(HOSTILE), min_size=1))
@example(texts=["call now to claim\rprize", "a,b\r\nc", "\r"])
def test_every_text_reads_back_as_it_was_written(tmp_path_factory, suffix, texts):
    path = tmp_path_factory.getbasetemp() / f"hostile{suffix}"
    form = format_of(path.name)
    table = pd.DataFrame({"text": texts, "n": "1"}, dtype="str")
    if suffix == ".tsv" and ROW_ENDS & set("".join(texts)):
        with pytest.raises(csv.Error, match="a cell holds a tab or a line break"):
            form.write(path, table, None)
        return
    form.write(path, table, None)
    batches = read_batches(form, path, ReadOptions(path.name), 2)
    assert [text for batch in batches for text in batch.values("text")] == texts
    if suffix == ".csv":
        read = pd.read_csv(path, dtype="str", keep_default_na=False, engine="python")
        assert read["text"].tolist() == texts


NOT_UTF_8 = [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")]


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1 << 60], pa.timestamp("us")),
        pa.array([0], pa.timestamp("us", "Mars/Phobos")),
        pa.Array.from_buffers(pa.string(), 1, NOT_UTF_8),
    ],
    ids=["a year beyond Python's", "an unknown zone", "no UTF-8"],
)
def test_parquet_value_that_python_lacks_is_one_line(array, tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": array}), path)
    (batch,) = read_batches(format_of(path.name), path, ReadOptions(str(path)), 2)
    line = error_of(batch.values, "a")
    assert line.startswith(f"{path}: column 'a': ")
    assert line.endswith("; correct or remove the file")


def test_zone_that_pytz_lacks_is_one_line(tmp_path, monkeypatch):
    pytz = SimpleNamespace(timezone={}.__getitem__)  # pyarrow prefers it, where it is installed
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": pa.array([0], pa.timestamp("us", "Mars/Phobos"))}), path)
    monkeypatch.setitem(sys.modules, "pytz", pytz)
    (batch,) = read_batches(format_of(path.name), path, ReadOptions("a.parquet"), 2)
    line = "a.parquet: column 'a': 'Mars/Phobos'; correct or remove the file"
    assert error_of(batch.values, "a") == line


@pytest.mark.parametrize("suffix", FORMATS)
def test_too_many_columns_are_refused(tmp_path, suffix, monkeypatch):
    form, path = FORMATS[suffix], tmp_path / f"wide{suffix}"
    form.write(path, ROWS.assign(received_at=None), None)
    monkeypatch.setattr(file_formats, "MAX_COLUMNS", 3)
    assert next(read_batches(form, path, ReadOptions("wide"), 2)).columns[0] == "text"
    monkeypatch.setattr(file_formats, "MAX_COLUMNS", 2)
    line = "wide: 3 columns, and at most 2 can be read; leave out those that are not needed"
    assert error_of(list, read_batches(form, path, ReadOptions("wide"), 2)) == line
