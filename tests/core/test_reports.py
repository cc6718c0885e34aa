"""pipeline/core/reports.py"""

import numpy as np

from pipeline.core.reports import Figure, write_report


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
