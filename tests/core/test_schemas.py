"""pipeline/core/schemas.py"""

import inspect
import re

import pyarrow as pa
import pytest

from pipeline.core import schemas


def test_every_column_has_a_comment():
    lines = inspect.getsource(schemas).splitlines()
    columns = [line for line in lines if re.search(r'pa\.field\("|^ +"\w+": pa\.', line)]
    assert len(columns) > 40
    assert [line for line in columns if "  # " not in line] == []


@pytest.mark.parametrize("column", ["message_id", "campaign_key", "text", "source", "row"])
def test_shared_columns_have_one_type(column):
    tables = [value for value in vars(schemas).values() if isinstance(value, pa.Schema)]
    assert len({table.field(column).type for table in tables if column in table.names}) == 1
