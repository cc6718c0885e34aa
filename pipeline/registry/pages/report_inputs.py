"""Reads what the decision report shows: the reports, the tables beside them, and the criteria."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.cli import stage_options
from pipeline.core.params import read_params, read_yaml
from pipeline.core.reports import read_report
from pipeline.core.tables import read_csv, read_numbers, read_parquet
from pipeline.registry.promotion import Bound, Params

Report = Mapping[str, Any]  # rows, figures, verdict

MISTAKES_FILE = Path("data/review/mistakes.parquet")  # of the stage evaluate
STAGE_NAMES = ("ingest", "validate", "vectorize", "train", "evaluate")
REPORT_NAMES = (*STAGE_NAMES, "retrain")  # the last one is of `python -m pipeline retrain decide`
TABLE_NAMES = ("roc", "roc_baseline", "calibration", "calibration_baseline")  # reports/plots
PUBLIC_COLUMNS = ["message_id", "source", "label", "probability", "wrong"]  # of MISTAKES


@dataclass(frozen=True)
class ReportInputs:
    """What the page shows; what does not exist is left out."""

    reports: Mapping[str, Report]  # by name of REPORT_NAMES
    decision: Report | None  # of register; None if it has not decided on this evaluation
    tables: Mapping[str, Mapping[str, list[float]]]  # columns by table: TABLE_NAMES and `curves`
    confusion: Mapping[tuple[str, str], int]  # test messages by (true label, predicted label)
    criteria: Mapping[str, Bound]
    params_hash: str  # sha256 of the sections of params.yaml that a model depends on
    model_hash: str  # as in the registry and the ledger; empty if not known
    data_hash: str  # of the validated messages
    mistakes: Sequence[Mapping[str, Any]]  # rows of PUBLIC_COLUMNS, the worst first

    @property
    def evaluated(self) -> Mapping[str, Any]:
        """The figures of evaluate."""
        figures: Mapping[str, Any] = self.reports["evaluate"]["figures"]
        return figures


def read_inputs(
    folder: Path, decision: Report | None, model_hash: str = "", data_hash: str = ""
) -> ReportInputs:
    """Reads the reports in a folder, and params.yaml. Raises: PipelineError.

    Args:
        decision: the report of register; one of another evaluation counts as none.
    """
    files = {name: folder / f"{name}.json" for name in REPORT_NAMES}
    reports = {
        name: read_report(file)
        for name, file in files.items()
        if file.exists() or name == "evaluate"
    }
    paths = {name: folder / "plots" / f"{name}.csv" for name in TABLE_NAMES}
    paths["curves"] = folder / "curves.csv"
    criteria = read_params(Params, "register").criteria
    return ReportInputs(
        reports=reports,
        decision=decision if decision and _is_of(decision, reports["evaluate"], criteria) else None,
        tables={name: read_numbers(path) for name, path in paths.items() if path.exists()},
        confusion=_confusion(folder / "plots" / "confusion.csv"),
        criteria=criteria,
        params_hash=_params_hash(read_yaml()),
        model_hash=model_hash,
        data_hash=data_hash,
        mistakes=_public_mistakes(),
    )


def register_paths() -> dict[str, Path]:
    """The paths of the stage register by option, such as `--network`, from dvc.yaml."""
    words = stage_options("register")
    return dict(zip(words[::2], map(Path, words[1::2]), strict=True))


def _is_of(decision: Report, evaluation: Report, criteria: Mapping[str, Bound]) -> bool:
    """Whether register decided on this evaluation: it repeats the figures of the criteria."""
    pairs = ((decision["figures"].get(name), evaluation["figures"].get(name)) for name in criteria)
    return decision["rows"] == evaluation["rows"] and all(own == other for own, other in pairs)


def _confusion(path: Path) -> dict[tuple[str, str], int]:
    if not path.exists():
        return {}
    table = read_csv(path)
    counts = dict.fromkeys([(a, b) for a in ("ham", "spam") for b in ("ham", "spam")], 0)
    for pair in zip(table["actual"], table["predicted"], strict=True):
        counts[pair] += 1
    return counts


def _params_hash(params: Mapping[str, Any]) -> str:
    sections = {name: params[name] for name in STAGE_NAMES}
    return hashlib.sha256(json.dumps(sections, sort_keys=True, default=str).encode()).hexdigest()


def _public_mistakes() -> list[dict[str, Any]]:
    """The wrong labels among the worst mistakes, without texts; empty without the file."""
    if not MISTAKES_FILE.exists():
        return []
    rows = read_parquet(MISTAKES_FILE, PUBLIC_COLUMNS).to_pylist()
    return [row for row in rows if row["wrong"]]
