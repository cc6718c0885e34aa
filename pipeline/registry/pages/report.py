"""Writes the decision report: one page that says whether a model may ship, and why."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.core.files import write_text
from pipeline.evaluation.slices import LEAST_ROWS
from pipeline.registry.model_package import REQUIREMENTS
from pipeline.registry.pages import charts
from pipeline.registry.pages.answers import (
    BASELINE,
    VERDICTS,
    Comparison,
    comparison_sentence,
    comparisons,
    criterion_rows,
    first_answers,
    split_verdict,
)
from pipeline.registry.pages.report_inputs import Report, ReportInputs
from pipeline.registry.pages.report_template import (
    REPORT_BODY_TEMPLATE,
    REPORT_STYLE,
    SLIDER_SCRIPT,
)
from pipeline.registry.pages.slice_rows import (
    CAUGHT,
    LOST,
    SliceRow,
    attack_rows,
    extreme_rows,
    slice_rows,
)
from pipeline.registry.pages.threshold_costs import threshold_costs
from pipeline.registry.pages.wording import (
    comparison_text,
    figure_label,
    interval_text,
    number_text,
)
from pipeline.validation.html_page import page_environment, render_page

PAGE_NAME = "report.html"  # in reports/, and in data/review/ if it is private
SECTIONS = {
    "ship": "May it ship?",
    "better": "Better than what?",
    "costs": "What does it cost?",
    "parts": "Where is it good, where not?",
    "attacks": "Under attack",
    "misses": "What it misses",
    "curves": "Calibration and training",
    "data": "The data",
    "lineage": "Lineage",
    "model-card": "Model card",
}
LEAD_METRICS = ("f1", "precision", "recall", "roc_auc", "average_precision")  # shares
TABLE_METRICS = (  # others are in reports/evaluate.json
    *("f1", "spam_caught_percent", "ham_blocked_percent", "precision", "average_precision"),
    *("roc_auc", "calibration_error"),
)
SHARES = (0.0, 1.0)
DATA_FIGURES = (  # stage, start of the figure's name, words for it
    ("ingest", "source.", "Read from "),
    ("validate", "rows_quarantined", "In quarantine"),
    ("validate", "breaches.", "Failed check: "),
    ("vectorize", "train.rows", "Used for training"),
    ("vectorize", "val.rows", "Used to choose thresholds"),
    ("vectorize", "test.rows", "Used for the test"),
    ("vectorize", "train.left_out", "Near-copies left out of training"),
    ("vectorize", "val.left_out", "Near-copies left out of the choice of thresholds"),
    ("vectorize", "test.left_out", "Near-copies left out of the test"),
    ("vectorize", "newest.rows", "Newest messages"),
    ("train", "served_rows", "Learned by the network in service"),
)
SLICE_METRICS_SHOWN = {"caught": CAUGHT, "lost": LOST}


class MarkedMistake(NamedTuple):
    """A message on which the model was wrong, or nearly so, with its text."""

    message_id: str
    label: str
    source: str
    probability: float  # of spam, in [0, 1]
    wrong: bool
    parts: Sequence[tuple[str, str]]  # a word, and what it speaks for: spam, ham or nothing


@dataclass(frozen=True)
class PrivatePart:
    """What the page has only if it is private."""

    mistakes: Sequence[MarkedMistake]
    drift: str = ""  # the verdict of the last drift report
    lineage: Mapping[str, str] = field(default_factory=dict)  # commit, seconds


def write_decision_report(
    path: Path, inputs: ReportInputs, private: PrivatePart | None = None
) -> None:
    """Writes the page. Equal inputs give equal bytes. Raises: PipelineError."""
    write_text(path, decision_report(inputs, private))


def decision_report(inputs: ReportInputs, private: PrivatePart | None = None) -> str:
    """The page as HTML, which needs no network."""
    environment = page_environment()
    environment.filters["percent"] = partial(number_text, "percent")
    environment.filters["share"] = partial(number_text, "share")
    environment.filters["interval"] = partial(interval_text, "percent")
    content = (
        _decision_content(inputs)
        | _measured_content(inputs)
        | _origin_content(inputs)
        | {"private": private}
    )
    if private:
        content["drift"] = private.drift or content["drift"]
        content["lineage"] = {**content["lineage"], **private.lineage}
    sections = {name: title for name, title in SECTIONS.items() if content.get(name, True)}
    template = environment.from_string(REPORT_BODY_TEMPLATE)
    body = template.render(content, sections=sections, script=SLIDER_SCRIPT)
    title = "Decision report (private)" if private else "Decision report"
    return render_page(title, content["lead"], body, REPORT_STYLE)


# ---- the verdict


def _decision_content(inputs: ReportInputs) -> dict[str, Any]:
    """Whether it may ship, and the differences from other models."""
    verdict, reason = split_verdict(inputs)
    ships, is_better = VERDICTS.get(verdict, (verdict, reason))
    compared = comparisons(inputs)
    of_f1 = [one for one in compared if one.metric == "f1"]
    from_others = [one for one in of_f1 if not one.is_with_champion]
    return {
        "lead": " ".join([ships, *map(comparison_sentence, of_f1[:1])]),
        "answers": first_answers(inputs),
        "ships": ships,
        "is_better": is_better,
        "verdict": verdict,
        "reason": reason,
        "criteria": criterion_rows(inputs),
        "other_sentences": " ".join(map(comparison_sentence, from_others)),
        "lead_chart": _lead_chart(compared),
        "differences": [
            {
                "other": one.other,
                "metric": figure_label(one.metric),
                "result": comparison_text(one.metric, one.difference),
                "value": number_text(one.metric, one.difference["value"], signed=True),
                "interval": interval_text(one.metric, one.difference, signed=True),
            }
            for one in _shown(compared)
        ],
    }


def _shown(compared: Sequence[Comparison]) -> list[Comparison]:
    """All comparisons with the champion, and those of the others in TABLE_METRICS, in its order."""
    rank = {metric: number for number, metric in enumerate(TABLE_METRICS)}
    shown = [one for one in compared if one.is_with_champion or one.metric in rank]
    others = list(dict.fromkeys(one.other for one in compared))
    return sorted(shown, key=lambda one: (others.index(one.other), rank.get(one.metric, 0)))


def _lead_chart(compared: Sequence[Comparison]) -> str:
    """The differences of LEAD_METRICS from the baseline; empty without intervals."""
    rows = charts.interval_rows(
        (figure_label(one.metric), one.difference)
        for one in compared
        if one.metric in LEAD_METRICS and one.other == BASELINE
    )
    return charts.interval_chart(rows, "difference", line_at=0) if rows else ""


# ---- what was measured


def _measured_content(inputs: ReportInputs) -> dict[str, Any]:
    """Costs, parts of the test set, attacks, mistakes and curves."""
    figures = inputs.evaluated
    slices = slice_rows(figures)
    thresholds = {
        name.split(".")[1]: number_text(name, figure["value"])
        for name, figure in figures.items()
        if name.startswith("sources.") and name.endswith(".threshold")
    }
    return {
        "costs": threshold_costs(inputs),
        "thresholds": ", ".join(f"{name} {value}" for name, value in thresholds.items()),
        "default_threshold": _value_text(figures, "threshold"),
        "slices": slices,
        "least_caught": extreme_rows(slices, "caught", greatest=False),
        "most_lost": extreme_rows(slices, "lost", greatest=True),
        "slice_charts": _slice_charts(slices, figures),
        "least_rows": LEAST_ROWS,
        "attacks": attack_rows(figures),
        "mistakes": inputs.mistakes,
        "curves": _curve_charts(inputs.tables),
        "calibration_error": _value_text(figures, "calibration_error"),
        "confident": figures.get("confident.percent", {}).get("value"),
    }


def _value_text(figures: Mapping[str, Any], name: str) -> str:
    return number_text(name, figures.get(name, {}).get("value"))


def _slice_charts(
    slices: Mapping[str, Sequence[SliceRow]], figures: Mapping[str, Any]
) -> dict[str, list[tuple[str, str]]]:
    """By group: its pictures with their captions, the greatest values first."""
    pictures: dict[str, list[tuple[str, str]]] = {group: [] for group in slices}
    for group, parts in slices.items():
        for field_name, metric in SLICE_METRICS_SHOWN.items():
            rows = charts.interval_rows((row.name, getattr(row, field_name)) for row in parts)
            if rows:
                rows.sort(key=lambda row: -row[1])
                label, whole = figure_label(metric), figures[metric]["value"] or 0
                svg = charts.interval_chart(rows, label, line_at=whole)
                pictures[group].append((svg, f"By {group}: {label}"))
    return pictures


def _curve_charts(tables: Mapping[str, Mapping[str, list[float]]]) -> list[tuple[str, str]]:
    """The pictures of calibration, ROC and training with their captions."""

    def line(table: str, x: str, y: str) -> charts.Points:
        columns = tables.get(table, {})
        return list(zip(columns.get(x, []), columns.get(y, []), strict=False))

    calibration = {
        "this model": line("calibration", "probability", "spam_share"),
        "linear baseline": line("calibration_baseline", "probability", "spam_share"),
        "perfect": [(0.0, 0.0), (1.0, 1.0)],
    }
    roc = {
        "this model": line("roc", "ham_lost", "spam_caught"),
        "linear baseline": line("roc_baseline", "ham_lost", "spam_caught"),
    }
    loss = {
        "training messages": line("curves", "epoch", "loss"),
        "held-out messages": line("curves", "epoch", "stop_loss"),
    }
    wanted = [
        ("Calibration on the test messages", calibration, "probability", "share of spam", SHARES),
        ("ROC curve on the test messages", roc, "share of ham lost", "spam caught", SHARES),
        ("Training", loss, "epoch", "loss", None),
    ]
    return [
        (charts.line_chart(lines, x_title, y_title, domain), caption)
        for caption, lines, x_title, y_title, domain in wanted
        if all(lines.values())
    ]


# ---- where it comes from


def _origin_content(inputs: ReportInputs) -> dict[str, Any]:
    """The data and the lineage."""
    verdicts = {name: report["verdict"] for name, report in inputs.reports.items()}
    hashes = {
        "Model (sha256)": inputs.model_hash,
        "Data (sha256)": inputs.data_hash,
        "Params (sha256)": inputs.params_hash,
        "Packages": ", ".join(f"{name} {package_version(name)}" for name in REQUIREMENTS),
    }
    return {
        "data_rows": _data_rows(inputs.reports),
        "drift": f"The last decision about retraining: {verdicts['retrain']}."
        if "retrain" in verdicts
        else "There is no report about drift since the champion.",
        "lineage": {name: value for name, value in hashes.items() if value},
        "stages": inputs.reports,
        "training": verdicts.get("train", ""),
    }


def _data_rows(reports: Mapping[str, Report]) -> list[tuple[str, int]]:
    """What was read, refused, left out and used, in messages."""
    rows = Counter[str]()
    for stage, name, title in DATA_FIGURES:
        for key, figure in reports.get(stage, {"figures": {}})["figures"].items():
            if key.startswith(name) and figure["value"]:
                end = key.removeprefix(name).partition("/")[0].replace("_", " ")
                rows[f"{title}{end}"] += figure["value"]
    return list(rows.items())
