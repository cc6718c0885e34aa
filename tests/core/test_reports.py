"""pipeline/core/reports.py"""

import numpy as np
import pytest

from pipeline.core.files import REBUILD_HINT, write_json
from pipeline.core.reports import Figure, read_report, write_report
from tests.harness.errors import error_of


def test_report_has_one_schema_and_rounded_figures(tmp_path):
    values = {"auc": float("nan"), "slope": None, "zero": -1e-9, "rows": np.int64(12)}
    figures = {name: Figure(value=value) for name, value in values.items()}
    f1 = Figure(value=0.1, low=0.12345649, high=1, n=7)
    write_report(tmp_path / "report.json", 12, {"f1": f1, **figures}, "12 é rows")
    assert (tmp_path / "report.json").read_text(encoding="utf-8") == (
        '{\n  "rows": 12,\n  "figures": {\n'
        '    "f1": {\n      "value": 0.1,\n      "low": 0.123456,\n'
        '      "high": 1,\n      "n": 7\n    },\n'
        '    "auc": {\n      "value": null\n    },\n'
        '    "slope": {\n      "value": null\n    },\n'
        '    "zero": {\n      "value": 0.0\n    },\n'
        '    "rows": {\n      "value": 12\n    }\n'
        '  },\n  "verdict": "12 é rows"\n}\n'
    )


def test_report_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "report.json"
    write_report(path, 12, {"f1": Figure(0.5, n=7), "auc": Figure(None)}, "12 rows")
    figures = {"f1": {"value": 0.5, "n": 7}, "auc": {"value": None}}
    assert read_report(path) == {"rows": 12, "figures": figures, "verdict": "12 rows"}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"figures": {"f1": {"value": "high"}}},
            ".figures.f1.value: input should be a ",
        ),
        ({"figures": {"f1": {}}}, ".figures.f1.value: missing"),
        ({"figures": None}, ".figures: input should be an object, not None"),
        ({"verdict": 5}, ".verdict: input should be a valid string, not 5"),
    ],
)
def test_report_of_another_schema_is_one_line(change, problem, tmp_path):
    path = tmp_path / "report.json"
    write_json(path, {"rows": 12, "figures": {}, "verdict": "", **change})
    line = error_of(read_report, path)
    assert line.startswith(f"{path}: report{problem}")
    assert line.endswith(f"; {REBUILD_HINT}")
