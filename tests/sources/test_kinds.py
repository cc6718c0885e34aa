"""A declaration in data/sources.yaml names a kind of source and has the fields of that kind."""

import pytest

from pipeline.sources import kinds
from tests.harness.errors import error_of

KINDS = "choose from package, url, sql, feedback"
DOC = {"kind": "url", "url": "x", "read": {"format": "doc"}}


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ("hello", f"mine: not a mapping with a kind; {KINDS}"),
        ({"kind": "ftp"}, f"mine.kind: unknown 'ftp'; {KINDS}"),
        ({"kind": "url"}, "mine.url: missing"),
        (DOC, "mine.read.format: unknown 'doc'; choose from csv"),
    ],
)
def test_invalid_declaration_is_refused(declared, line):
    assert error_of(kinds.parse_declaration, "mine", declared, "x").startswith(f"x: {line}")


@pytest.mark.parametrize("name", ["written", "calibration/mine"])
def test_name_with_a_meaning_is_refused(name):
    line = f"x: {name}: reserved, as are files, feedback, written, calibration; choose another name"
    assert error_of(kinds.parse_declaration, name, {"kind": "url"}, "x") == line
