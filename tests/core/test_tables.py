"""pipeline/core/tables.py"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pipeline.core.tables import (
    read_csv,
    read_numbers,
    read_parquet,
    write_csv,
    write_parquet,
    write_shards,
)
from tests.harness.errors import error_of

REMEDY = "make it with `dvc repro` or `dvc pull`"
NOT_UTF_8 = "'utf-8' codec can't decode byte 0xff"
QUOTE = "a quotation mark is not closed or not doubled"
NOT_PARQUET = (
    "not readable as Parquet: Could not open Parquet input source 'PATH': Parquet magic bytes "
    "not found in footer. Either the file is corrupted or this is not a parquet file"
)


@pytest.fixture(scope="module")
def table():
    numbers = np.random.default_rng(1).integers(1e9, size=140_000)
    texts = pc.binary_join_element_wise("message", pa.array(numbers).cast("string"), " ")
    ids = pa.FixedSizeListArray.from_arrays(np.repeat(numbers % 9, 2), 2).cast(pa.list_(pa.int64()))
    return pa.table({"text": texts, "n": numbers, "ids": ids})


def cut(table, size):
    """The table as batches of this size, each with its own buffers."""
    for start in range(0, table.num_rows, size):
        yield from table.slice(start, size).combine_chunks().to_batches()


@pytest.mark.parametrize("size", [777, 65_536, 70_001])
def test_equal_rows_give_equal_bytes(tmp_path, table, size):
    assert write_parquet(tmp_path / "whole", table.to_batches(), table.schema) == 140_000
    assert write_parquet(tmp_path / "cut", cut(table, size), table.schema) == 140_000
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "whole").read_bytes()
    assert pq.read_table(tmp_path / "cut").equals(table)
    metadata = pq.read_metadata(tmp_path / "cut")
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [65_536, 65_536, 8_928]


def test_table_without_rows_has_its_columns(tmp_path):
    schema = pa.schema({"text": pa.string()})
    assert write_parquet(tmp_path / "none.parquet", [], schema) == 0
    assert read_parquet(tmp_path / "none.parquet").schema == schema


def test_shards_are_numbered_and_replace_earlier_ones(tmp_path):
    folder = tmp_path / "train"
    tables = [pa.table({"n": [number]}) for number in range(3)]
    write_shards(folder, tables)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["shard-00000.parquet", "shard-00001.parquet", "shard-00002.parquet"]
    assert read_parquet(folder)["n"].to_pylist() == [0, 1, 2]
    write_shards(folder, tables[:1])
    assert [path.name for path in tmp_path.rglob("*")] == ["train", "shard-00000.parquet"]


def test_csv_is_rounded_like_reports_and_read_back(tmp_path):
    path = tmp_path / "roc.csv"
    write_csv(path, ["x", "the y"], [[1, 0.12345678], ["a,b", float("inf")], ["", None]])
    assert path.read_bytes() == b'x,the y\n1,0.123457\n"a,b",\n,\n'
    assert read_csv(path) == {"x": ["1", "a,b", ""], "the y": ["0.123457", "", ""]}


@pytest.mark.parametrize(
    ("read", "content", "problem"),
    [
        (read_parquet, b"neither header nor footer", NOT_PARQUET),
        (read_csv, b"a,b\n1,2\n1\n", "not CSV: row 2: 1 columns, not 2"),
        (read_numbers, b"a,b\n1,two\n", "column b: could not convert string to float: 'two'"),
        (read_csv, b'a,b\n\n1,"2\n', f"not CSV: row 1: {QUOTE} (unexpected end of data)"),
        (read_csv, b"a,b\n\xff,2\n", f"not CSV: {NOT_UTF_8} in position 4: invalid start byte"),
    ],
)
def test_unreadable_file_is_one_line(tmp_path, read, content, problem, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = Path("file")
    assert error_of(read, path) == f"{path}: missing; {REMEDY}"
    path.write_bytes(content)
    assert error_of(read, path) == f"{path}: {problem.replace('PATH', str(path))}; {REMEDY}"


def test_folder_without_parquet_is_one_line(tmp_path):
    line = f"{tmp_path}: a folder without Parquet; {REMEDY}"
    assert error_of(read_parquet, tmp_path) == line


def test_damaged_parquet_page_is_one_line(tmp_path):
    path = tmp_path / "file"
    texts = ["hello you " * n for n in range(600)]
    pq.write_table(pa.table({"text": texts}), path, compression="zstd", use_dictionary=False)
    content = path.read_bytes()
    path.write_bytes(content[:200] + 60 * b"\xff" + content[260:])  # header and footer stay
    problem = "not readable as Parquet: ZSTD decompression failed: Data corruption detected"
    assert error_of(read_parquet, path) == f"{path}: {problem}; {REMEDY}"
