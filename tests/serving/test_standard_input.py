"""Lines of standard input are messages, without their ends."""

import io
import sys

import pytest

from pipeline.serving.standard_input import standard_input_lines
from tests.harness.errors import error_of


def lines_of(monkeypatch, content):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
    return list(standard_input_lines())


@pytest.mark.parametrize(
    ("content", "lines"),
    [(b"", []), (b"a\r\n\nb\rc", ["a", "", "b\rc"]), ("\u2028é\n".encode(), ["\u2028é"])],
)
def test_line_feeds_alone_end_a_message(monkeypatch, content, lines):
    assert lines_of(monkeypatch, content) == lines


def test_other_bytes_than_utf_8_are_an_error(monkeypatch):
    with pytest.raises(UnicodeDecodeError):
        lines_of(monkeypatch, b"\xff\n")


def test_other_bytes_are_an_error_without_a_locale_too(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8", "surrogateescape")
    monkeypatch.setattr(sys, "stdin", stream)
    with pytest.raises(UnicodeDecodeError):
        list(standard_input_lines())


def test_closed_input_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    line = "-: standard input is closed; give messages to it, or name a file"
    assert error_of(standard_input_lines) == line
