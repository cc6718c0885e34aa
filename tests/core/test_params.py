"""pipeline/core/params.py"""

from dataclasses import dataclass

import pydantic
import pytest

from pipeline.core.params import PARAMS_FILE, ParamsSection, choose, parse_params, read_params
from tests.harness.errors import error_of


class Bounds(ParamsSection):
    low: float = pydantic.Field(ge=0, description="lower end")
    high: float

    @pydantic.model_validator(mode="after")
    def check_order(self):
        if self.low >= self.high:
            raise ValueError("low must be below high")
        return self


class Params(ParamsSection):
    rows: int
    name: str
    bounds: Bounds
    sources: list[str]
    years: tuple[int, int]
    budgets: dict[str, float]


GOOD = """\
clean:
  rows: 3
  name: "2026"
  bounds: {low: 0.5, high: 1}
  sources: [sms, files]
  years: [1992, 2100]
  budgets: {text: 0.25}
"""
UNKNOWN = "unknown key; remove it or correct its spelling"
INTEGER = "input should be a valid integer"
NUMBER = "input should be a valid number"
KEYS = "keys must be str, int, float, bool or None"
NO_SECTIONS = "has no sections; restore it with `git checkout params.yaml`"
END = "'<stream end>'"
TWICE = 'found duplicate key "a" with value "4" (original value: "3")'
NOT_UTF_8 = "'utf-8' codec can't decode byte 0xff in position 7: invalid start byte"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the section `clean` of a params file with this content."""
    monkeypatch.chdir(tmp_path)

    def read(content):
        PARAMS_FILE.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_params(Params, "clean")

    return read


@pytest.mark.parametrize("byte_order_mark", ["", "\ufeff"])
def test_section_becomes_its_class(read, byte_order_mark):
    params = read(byte_order_mark + GOOD)
    assert isinstance(params.bounds, Bounds)
    bounds = {"low": 0.5, "high": 1.0}
    values = (3, "2026", bounds, ["sms", "files"], (1992, 2100), {"text": 0.25})
    assert tuple(params.model_dump().values()) == values


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("  rows: 3\n", "", "clean.rows: missing"),
        ("rows: 3", "rows: 3\n  row: 4", f"clean.row: {UNKNOWN}"),
        ("rows: 3", "rows: three", f"clean.rows: {INTEGER}, not 'three'"),
        ("rows: 3", "rows: 3.5", f"clean.rows: {INTEGER}, not 3.5"),
        ("rows: 3", "rows:", f"clean.rows: {INTEGER}, not None"),
        ("rows: 3", f"rows: {'x' * 99}", f"clean.rows: {INTEGER}, not '{'x' * 79}"),
        ('"2026"', "2026", "clean.name: input should be a valid string, not 2026"),
        ("low: 0.5", "low: 2", "clean.bounds: low must be below high"),
        (
            "low: 0.5",
            "low: -1",
            "clean.bounds.low: input should be greater than or equal to 0, not -1",
        ),
        ("{low: 0.5, high: 1}", "7", "clean.bounds: input should be an object, not 7"),
        ("[sms, files]", "[sms, 1]", "clean.sources.1: input should be a valid string, not 1"),
        ("[1992, 2100]", "[1992]", "clean.years.1: missing"),
        ("0.25", ".nan", "clean.budgets.text: input should be a finite number, not nan"),
        ("rows: 3", "2026-01-02: 3", f"clean: {KEYS}, not datetime.date; remove it"),
        ("[sms, files]", "&a [*a]", "clean: Circular reference detected; remove it"),
    ],
)
def test_wrong_key_is_named_in_full(read, old, new, line):
    assert old in GOOD
    assert error_of(read, GOOD.replace(old, new)) == f"params.yaml: {line}"


def test_each_wrong_key_has_its_own_line(read):
    wrong = GOOD.replace("rows: 3", "rows: x").replace("high: 1", "high: y")
    assert error_of(read, wrong.replace("years", "yeers")).splitlines() == [
        f"params.yaml: clean.rows: {INTEGER}, not 'x'",
        f"error: params.yaml: clean.bounds.high: {NUMBER}, not 'y'",
        "error: params.yaml: clean.years: missing",
        f"error: params.yaml: clean.yeers: {UNKNOWN}",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\n2: 3\n", "clean: missing; choose from a, 2"),
        ("clean:\n", "clean: input should be an object, not None"),
        ("clean: 2026-13-01\n", "not YAML: month must be in 1..12; correct the file"),
        ("", NO_SECTIONS),
        ("[clean]", NO_SECTIONS),
        ("a: [1\n", f"line 2: not YAML: expected ',' or ']', but got {END}; correct the line"),
        ("a: 3\na: 4\n", f"line 2: not YAML: {TWICE}; correct the line"),
        (b"clean: \xff\n", f"not YAML: {NOT_UTF_8}; correct the file"),
    ],
)
def test_file_without_the_section_is_one_line(read, content, line):
    assert error_of(read, content) == f"params.yaml: {line}"


def test_missing_params_file_says_where_to_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    remedy = "run in the project's root, or restore it with `git checkout params.yaml`"
    assert error_of(read_params, Params, "clean") == f"params.yaml: missing; {remedy}"


def test_date_for_a_text_field_is_its_text(read):
    assert read(GOOD.replace('"2026"', "2026-02-03")).name == "2026-02-03"


def test_dataclass_is_checked_like_a_section():
    @dataclass(frozen=True)
    class Pin:
        sha256: str
        url: str = ""

    assert vars(parse_params(Pin, {"sha256": "ab"}, "lock: sms")) == {"sha256": "ab", "url": ""}
    assert error_of(parse_params, Pin, {"sha": "ab"}, "lock: sms").splitlines() == [
        "lock: sms.sha256: missing",
        f"error: lock: sms.sha: {UNKNOWN}",
    ]


def test_choose_lists_the_choices():
    sources = {"sms": 1, "files": 2}
    assert choose(sources, "files", "place") == 2
    line = "place: unknown 'sms_spm'; choose from sms, files"
    assert error_of(choose, sources, "sms_spm", "place") == line
    assert error_of(choose, {}, "sms", "lock") == "lock: unknown 'sms'; choose from nothing"
