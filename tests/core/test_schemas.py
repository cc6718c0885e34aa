"""pipeline/core/schemas.py"""

import inspect
import re

import pyarrow as pa
import pytest

from pipeline.core import schemas

SCHEMAS = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}


def test_every_column_has_a_comment():
    lines = inspect.getsource(schemas).splitlines()
    columns = [line for line in lines if re.search(r'pa\.field\("|^ +"\w+": pa\.', line)]
    assert len(columns) > 40
    assert [line for line in columns if "  # " not in line] == []


@pytest.mark.parametrize("column", ["message_id", "campaign_key", "text", "source", "row"])
def test_shared_columns_have_one_type(column):
    types = {schema.field(column).type for schema in SCHEMAS.values() if column in schema.names}
    assert len(types) == 1
