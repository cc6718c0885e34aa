"""pipeline/core/schemas.py"""

import inspect
import re

from pipeline.core import schemas


def test_every_column_has_a_comment():
    lines = inspect.getsource(schemas).splitlines()
    columns = [line for line in lines if re.search(r'pa\.field\("|^ +"\w+": pa\.', line)]
    assert len(columns) > 40
    assert [line for line in columns if "  # " not in line] == []
