"""The page writes its own lines of data/reviewed.csv, and leaves those of people alone."""

import pytest

from pipeline.serving.review.reviewed_file import set_reviewed
from pipeline.validation.reviewed import read_reviewed
from tests.harness.errors import error_of

ONE, OTHER = "1" * 32, "2" * 32


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "reviewed.csv"
    file.write_text(f'message_id,verdict,why\n{OTHER},ban,"by hand, twice"\n')
    return file


def test_verdict_is_what_validate_reads(file):
    set_reviewed(file, ONE, "release", "ham, Ana")
    reviewed = read_reviewed(file)
    assert (reviewed.released, reviewed.banned) == ({ONE}, {OTHER})
    assert file.read_text().splitlines()[-1] == f'{ONE},release,"review page: ham, Ana"'


def test_other_verdict_takes_the_place_of_the_first(file):
    set_reviewed(file, ONE, "release")
    set_reviewed(file, ONE, "ban")
    assert read_reviewed(file).banned == {ONE, OTHER}
    assert len(file.read_text().splitlines()) == 3


def test_removed_verdict_leaves_the_file_as_it_was(file):
    before = file.read_text()
    set_reviewed(file, ONE, "release")
    set_reviewed(file, ONE, None)
    assert file.read_text() == before


def test_equal_verdict_keeps_the_bytes(file):
    set_reviewed(file, ONE, "release", "ham, Ana")
    before = file.stat()
    set_reviewed(file, ONE, "release", "ham, Bo")
    assert file.stat() == before


@pytest.mark.parametrize("name", [OTHER, OTHER[:16]])
def test_line_of_a_person_is_never_replaced(name, file):
    file.write_text(f"message_id,verdict,why\n{name},ban,mine\n")
    before = file.read_text()
    assert "a line with ban for this message" in error_of(set_reviewed, file, OTHER, "release")
    set_reviewed(file, OTHER, "ban")
    set_reviewed(file, OTHER, None)
    assert file.read_text() == before


def test_columns_and_lines_of_people_stay(file):
    file.write_text(f"who,message_id,verdict\nme,{OTHER},ban\n")
    set_reviewed(file, ONE, "release", "ham, Ana")
    lines = ["who,message_id,verdict,why", f"me,{OTHER},ban,", f",{ONE},release,"]
    assert file.read_text().splitlines() == [*lines[:2], f'{lines[2]}"review page: ham, Ana"']


def test_missing_file_is_one_line(tmp_path):
    line = f"{tmp_path / 'no.csv'}: missing; restore it with `git checkout {tmp_path / 'no.csv'}`"
    assert error_of(set_reviewed, tmp_path / "no.csv", ONE, "ban") == line
