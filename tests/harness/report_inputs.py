"""What the decision report shows, by hand: a model that beats the baseline in F1 alone."""

from pipeline.registry.pages.report_inputs import ReportInputs
from pipeline.registry.promotion import Bound

FIRST_VERDICT = "first: it meets the criteria, and there is no champion"
EVALUATED = {
    "f1": {"value": 0.8, "low": 0.7, "high": 0.9, "n": 200},
    "spam_caught_percent": {"value": 75.0, "low": 65.0, "high": 85.0, "n": 200},
    "ham_blocked_percent": {"value": 5.0, "low": 2.0, "high": 9.0, "n": 200},
    "difference.f1": {"value": 0.05, "low": 0.01, "high": 0.09, "n": 200},
    "difference.ham_blocked_percent": {"value": 1.0, "low": -1.0, "high": 3.0, "n": 200},
    "threshold": {"value": 0.6},
    "sources.sms.threshold": {"value": 0.25},
    "slices.short.spam_caught_percent": {"value": 40.0, "low": 20.0, "high": 60.0, "n": 31},
    "slices.short.ham_blocked_percent": {"value": 2.0, "low": 0.0, "high": 5.0, "n": 31},
    "slices.no_letters.spam_caught_percent": {"value": None, "n": 0},
    "slices.source_sms.spam_caught_percent": {"value": 90.0, "low": 80.0, "high": 95.0, "n": 12},
    "slices.language_he.spam_caught_percent": {"value": 30.0, "low": 20.0, "high": 41.0, "n": 50},
    "slices.language_he.ham_blocked_percent": {"value": 8.0, "low": 3.0, "high": 14.0, "n": 50},
    "attacks.leet_15.spam_caught_percent": {"value": 58.8, "n": 250},
    "attacks.leet_15.ham_blocked_percent": {"value": 4.4, "n": 250},
    "attacks.adaptive.spam_caught_percent": {"value": 4.8, "n": 250},
    "baseline.attacks.leet_15.spam_caught_percent": {"value": 33.6, "n": 250},
}
ROC = {
    "ham_lost": [0.0, 0.05, 0.25, 1.0],
    "spam_caught": [0.0, 0.75, 0.875, 1.0],
    "threshold": [float("nan"), 0.625, 0.5, 0.125],
}
DUEL = {
    "duel.champion.f1": {"value": 0.78, "n": 180},
    "duel.difference.f1": {"value": 0.02, "low": 0.005, "high": 0.035, "n": 180},
}


def report_of(verdict, figures=None, rows=200):
    """A report as a stage writes it."""
    return {"rows": rows, "figures": figures or {}, "verdict": verdict}


def report_inputs(verdict=FIRST_VERDICT, duel=None, evaluated=None, **changes):
    """The inputs of a page with this verdict of register; None: it has not run.

    Args:
        duel: figures of the comparison with the champion.
        evaluated: figures of evaluate that differ from EVALUATED.
        changes: other fields of ReportInputs.
    """
    figures = EVALUATED | (evaluated or {})
    reports = {
        "ingest": report_of("300 rows from sms", {"source.sms": {"value": 300}}, rows=300),
        "train": report_of("bilstm: epoch 3 of 8 is the best", rows=100),
        "evaluate": report_of("f1 0.800", figures),
    }
    fields = {
        "reports": reports,
        "decision": report_of(verdict, duel) if verdict else None,
        "tables": {"roc": ROC, "roc_baseline": ROC},
        "confusion": {
            ("spam", "spam"): 60,
            ("spam", "ham"): 20,
            ("ham", "spam"): 6,
            ("ham", "ham"): 114,
        },
        "criteria": {
            "f1": Bound(min=0.75),
            "ham_blocked_percent": Bound(max=4.0, severity="warning"),
        },
        "params_hash": "c" * 64,
        "model_hash": "a" * 64,
        "data_hash": "b" * 64,
        "mistakes": [],
    }
    return ReportInputs(**fields | changes)
