"""The time, and the days in the names of files."""

import re
from contextlib import suppress
from datetime import UTC, datetime

DAY = re.compile(  # 2026-11-20, 2026/9/3 or 20261120
    r"(?<!\d)((?:19|20)\d\d)(?:([-/])(\d\d?)\2(\d\d?)|(\d\d)(\d\d))(?!\d)"
)


def current_time() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def day_in_path(path: str) -> datetime | None:
    """The last valid day in a path, at midnight UTC; None without one."""
    for year, _, *parts in reversed(DAY.findall(path)):
        month, day = filter(None, parts)
        with suppress(ValueError):
            return datetime(int(year), int(month), int(day), tzinfo=UTC)
    return None
