"""pipeline/core/params.py"""

import shutil

import pydantic
import pytest
from dvc.utils.hydra import apply_overrides

from pipeline.core.params import PARAMS_FILE, ParamsSection, choose, read_params, read_yaml
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT


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
TEXT = "input should be a valid string"
KEYS = "keys must be str, int, float, bool or None"
TWICE = 'found duplicate key "a" with value "4" (original value: "3")'
CONTROL = 'unacceptable character #x0007: special characters are not allowed in "<unicode string>"'
TOO_DEEP = "maximum recursion depth exceeded"
ANCHORS = ["&a0 []", *(f"&a{n} [*a{n - 1}]" for n in range(1, 2000))]  # flat text, deep value
NOT_UTF_8 = "'utf-8' codec can't decode byte 0xff in position 7: invalid start byte"


@pytest.fixture
def read(tmp_path, monkeypatch):
    """Reads the section `clean` of a params file with this content."""
    monkeypatch.chdir(tmp_path)

    def read(content):
        PARAMS_FILE.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_params(Params, "clean")

    return read


def test_section_becomes_its_class(read):
    params = read(f"\ufeff{GOOD}")  # a byte order mark, as some editors write it
    assert isinstance(params.bounds, Bounds)
    bounds = {"low": 0.5, "high": 1.0}
    values = (3, "2026", bounds, ["sms", "files"], (1992, 2100), {"text": 0.25})
    assert tuple(params.model_dump().values()) == values


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("rows: 3", f"rows: {'x' * 99}", f"clean.rows: {INTEGER}, not '{'x' * 79}"),
        ('"2026"', "2026", f"clean.name: {TEXT}, not 2026"),
        ("low: 0.5", "low: 2", "clean.bounds: low must be below high"),
        ("[sms, files]", "[sms, 1]", f"clean.sources.1: {TEXT}, not 1"),
        ("0.25", ".nan", "clean.budgets.text: input should be a finite number, not nan"),
        ("rows: 3", "2026-01-02: 3", f"clean: {KEYS}, not datetime.date; remove it"),
        ("[sms, files]", "&a [*a]", "clean: Circular reference detected; remove it"),
        (
            "[sms, files]",
            f"[{', '.join(ANCHORS)}]",
            f"clean: {TOO_DEEP} while encoding a JSON object; remove it",
        ),
    ],
)
def test_wrong_key_is_named_in_full(read, old, new, line):
    assert old in GOOD
    assert error_of(read, GOOD.replace(old, new)) == f"params.yaml: {line}"


def test_each_wrong_key_has_its_own_line(read):
    wrong = GOOD.replace("rows: 3", "rows: 3.5").replace("years", "yeers")
    assert error_of(read, wrong).splitlines() == [
        f"params.yaml: clean.rows: {INTEGER}, not 3.5",
        "error: params.yaml: clean.years: missing",
        f"error: params.yaml: clean.yeers: {UNKNOWN}",
    ]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("a: 1\n2: 3\n", "clean: missing; choose from a, 2"),
        ("clean:\n", "clean: input should be an object, not None"),
        ("", "has no sections; restore it with `git checkout params.yaml`"),
        ("a: 3\na: 4\n", f"line 2: not YAML: {TWICE}; correct the line"),
        (f"clean: {'[' * 2000}\n", f"not YAML: {TOO_DEEP}; correct the file"),
        (b"clean: \xff\n", f"not YAML: {NOT_UTF_8}; correct the file"),
        ("clean: \x07\n", f"not YAML: {CONTROL}, position 7; correct the file"),
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


def test_choose_lists_the_choices():
    sources = {"sms": 1, "files": 2}
    assert choose(sources, "files", "place") == 2
    line = "place: unknown 'sms_spm'; choose from sms, files"
    assert error_of(choose, sources, "sms_spm", "place") == line
    assert error_of(choose, {}, "sms", "lock") == "lock: unknown 'sms'; choose from nothing"


@pytest.mark.parametrize(
    ("override", "line"),
    [("train.units=9", "  units: 9 "), ("train.corruptions=[]", "  corruptions: []")],
)
def test_dvc_changes_only_the_value_that_a_person_sets(override, line, tmp_path):
    """`dvc exp run -S` writes params.yaml anew, in DVC's own style."""
    path = tmp_path / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", path)
    apply_overrides(path, [override])
    before, after = ((folder / "params.yaml").read_text() for folder in (ROOT, tmp_path))
    (changed,) = set(after.splitlines()) - set(before.splitlines())
    assert changed.startswith(line)
    assert list(read_yaml(path)["train"]) == list(read_yaml(ROOT / "params.yaml")["train"])


def test_params_file_is_as_dvc_writes_it(tmp_path):
    path = tmp_path / "params.yaml"
    shutil.copyfile(ROOT / "params.yaml", path)
    apply_overrides(path, [f"train.units={read_yaml(path)['train']['units']}"])
    assert path.read_bytes() == (ROOT / "params.yaml").read_bytes()
