"""pipeline/core/schemas.py"""

import inspect
import re

import pyarrow as pa
import pytest

from pipeline.core import schemas

SCHEMAS = {name: value for name, value in vars(schemas).items() if isinstance(value, pa.Schema)}
DERIVED = ("VALIDATED", "QUARANTINE", "MISTAKES")  # messages with further columns


def test_every_column_has_a_comment():
    lines = inspect.getsource(schemas).splitlines()
    columns = [line for line in lines if re.search(r'pa\.field\("|^ +"\w+": pa\.', line)]
    without = [line for line in columns if "  # " not in line]
    assert len(columns) > 40
    assert [line for line in without if "scored_at" not in line] == []


@pytest.mark.parametrize("name", DERIVED)
def test_messages_keep_their_columns(name):
    assert SCHEMAS[name].names[: len(schemas.MESSAGES)] == schemas.MESSAGES.names


@pytest.mark.parametrize("column", ["message_id", "campaign_key", "text", "source", "row"])
def test_shared_columns_have_one_type(column):
    types = {schema.field(column).type for schema in SCHEMAS.values() if column in schema.names}
    assert len(types) == 1
