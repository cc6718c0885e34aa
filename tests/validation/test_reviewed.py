"""The decisions in data/reviewed.csv are read, and a broken file is one line."""

from pathlib import Path

import pytest

from pipeline.validation.reviewed import read_reviewed
from tests.harness.errors import error_of

SHORT = "0123456789abcdef"
ID = f"{SHORT}{SHORT}"
TWIN = f"{SHORT}{SHORT[::-1]}"
HEADER = "message_id,verdict\n"
BOTH = f"{ID} is both released and banned; remove one of the two rows"
REMEDY = "correct it, or restore the file with `git checkout reviewed.csv`"


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        (f"{HEADER}hello,ban\n", f"row 1: 'hello' is not a message_id; {REMEDY}"),
        (f"{HEADER}{40 * 'x'},ban\n", f"row 1: '{39 * 'x'} is not a message_id; {REMEDY}"),
        (f"{HEADER}{SHORT}0,ban\n", f"row 1: '{SHORT}0' is not a message_id; {REMEDY}"),
        (f"{HEADER}{ID},ban\n{SHORT},release\n", f"row 2: {BOTH}"),
        (f"message_id\n{ID}\n", f"no column 'verdict' among message_id; {REMEDY}"),
        (f"{HEADER}{ID},keep\n", "row 1: verdict: unknown 'keep'; choose from release, ban"),
        (f"{HEADER}{ID},ban\n{ID},ban\n{ID},release\n", f"row 3: {BOTH}"),
    ],
    ids=["id", "long", "length", "short", "column", "verdict", "both"],
)
def test_a_broken_review_file_is_one_line(rows, problem, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("reviewed.csv").write_text(rows)
    assert error_of(read_reviewed, Path("reviewed.csv"), [ID]) == f"reviewed.csv: {problem}"


def test_short_id_decides_about_one_message_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("reviewed.csv").write_text(f"{HEADER}{SHORT},ban\n")
    assert read_reviewed(Path("reviewed.csv"), ["f" * 32, ID]).banned == {ID}
    assert error_of(read_reviewed, Path("reviewed.csv"), [TWIN, ID]) == (
        f"reviewed.csv: row 1: two messages begin so; write all digits: {ID} or {TWIN}"
    )
