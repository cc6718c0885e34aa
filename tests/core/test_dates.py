"""pipeline/core/dates.py"""

from datetime import datetime

import pytest

from pipeline.core.dates import day_in_path

DAYS = """
export_20261120T1200.csv    2026-11-20
2024-02-29/2026-11-20.csv   2026-11-20
2024-02-29/2026-02-29.csv   2024-02-29
2026-9-3.csv                2026-09-03
2026/9/30/a.csv             2026-09-30
2026-1120.csv               none
2026-11-200.csv             none
120261120.csv               none
20261120120000.csv          none
30261120.csv                none
"""  # the last valid one, and no other numbers


@pytest.mark.parametrize("line", DAYS.strip().splitlines())
def test_day_in_a_path_has_a_few_forms(line):
    path, day = line.split()
    expected = None if day == "none" else datetime.fromisoformat(f"{day}T00:00Z")
    assert day_in_path(path) == expected
