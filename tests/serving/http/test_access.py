"""The tokens of a file are allowed, and no others, also after the file has changed."""

import os

import pytest

from pipeline.serving.http.access import SHORTEST_TOKEN, TOKENS_REMEDY, TokenFile
from tests.harness.errors import error_of

OLD, NEW = "a" * SHORTEST_TOKEN, "b" * 64


@pytest.fixture
def file(tmp_path):
    """A file that has a token, blanks and a blank line."""
    file = tmp_path / "tokens"
    file.write_text(f"  {OLD} \n\n")
    return file


def change(file, text):
    """Writes the file a second later."""
    time = file.stat().st_mtime_ns + 10**9
    file.write_text(text)
    os.utime(file, ns=(time, time))


def test_only_tokens_of_the_file_are_allowed(file):
    tokens = TokenFile(file)
    given = [OLD, NEW, OLD[:-1], f"{OLD}a", "", OLD.upper(), "\ud800"]
    assert [tokens.allows(token) for token in given] == [True, *[False] * 6]


def test_changed_file_is_read_again(file):
    tokens = TokenFile(file)
    change(file, f"{NEW}\n")
    assert [tokens.allows(token) for token in (OLD, NEW)] == [False, True]


@pytest.mark.parametrize("text", ["", "short\n"])
def test_file_that_went_bad_leaves_the_tokens_as_they_were(text, file, caplog):
    tokens = TokenFile(file)
    change(file, text)
    assert tokens.allows(OLD)
    file.unlink()
    assert tokens.allows(OLD)
    assert "the tokens stay as they were" in caplog.text
    assert OLD not in caplog.text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("\n", "no token"),
        (f"{OLD}\nsecret\n", "token 2 has fewer than 20 characters"),
    ],
)
def test_bad_file_is_one_line_without_the_token(text, problem, file):
    file.write_text(text)
    assert error_of(TokenFile, file) == f"{file}: {problem}; {TOKENS_REMEDY}"


def test_missing_file_is_one_line(tmp_path):
    file = tmp_path / "absent"
    assert error_of(TokenFile, file) == f"{file}: missing; {TOKENS_REMEDY}"
