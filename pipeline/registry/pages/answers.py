"""The five questions about a model that the top of the decision report answers."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.core.errors import clean_line
from pipeline.registry.pages.report_inputs import ReportInputs
from pipeline.registry.pages.slice_rows import extreme_rows, slice_rows
from pipeline.registry.pages.wording import (
    NO_DIFFERENCE,
    FigureFields,
    comparison_text,
    figure_label,
    interval_text,
    number_text,
)
from pipeline.registry.promotion import missed_criteria
from pipeline.registry.reference import VERSION_FIGURE

NOT_DECIDED = "not decided"
VERDICTS = {  # of register: may it ship, is it better than the champion
    "first": (
        "Yes. It meets the criteria, and there is no champion.",
        "There is no champion to compare it with.",
    ),
    "promote": ("Yes. It is better than the champion.", "It is better than the champion."),
    "calibrated": (
        "Yes. It is the champion with another threshold for a source.",
        "No comparison can tell: the network is the champion's.",
    ),
    "refitted": (
        "Yes. It is the champion, whose network in service learned from other messages.",
        "No comparison can tell: the networks that were evaluated are the same.",
    ),
    "keep": ("No. The champion is better and stays.", "The champion is better."),
    "tie": (
        "No. It is not clearly better, so the champion stays.",
        "Nobody can tell: there is no clear difference from the champion.",
    ),
    "criteria missed": (
        "No. It misses a criterion.",
        "It was not compared with the champion, as it misses a criterion.",
    ),
    "criteria met": (
        "It meets the criteria. An experiment is never promoted.",
        "An experiment is not compared with the champion.",
    ),
    "champion unscorable": (
        "No. The champion cannot be asked here, so it stays.",
        "Nobody can tell: the champion gives no answers here.",
    ),
    "nothing new": (
        "There is nothing to decide: this model was decided on before.",
        "It was not compared again.",
    ),
    "forced": (
        "A person decided to ship it, whatever the comparison says.",
        "A person decided, not the comparison.",
    ),
    NOT_DECIDED: (
        "Not decided: register has not run for this model. Run `dvc repro`.",
        "It was not compared with the champion yet.",
    ),
}
BASELINE = "the linear baseline"
HASH_DIGITS = 8  # as `python -m pipeline ledger show` prints


class ReportAnswer(NamedTuple):
    """A question with its answer, and more about it."""

    question: str
    answer: str
    detail: str


class Comparison(NamedTuple):
    """A paired difference: this model's metric minus the other model's, on the same messages."""

    other: str  # the champion, the linear baseline or the reference version
    metric: str
    difference: FigureFields

    @property
    def is_with_champion(self) -> bool:
        """Whether the other model is the champion."""
        return "champion" in self.other


class CriterionRow(NamedTuple):
    """A criterion of register with the figure that it is about."""

    name: str
    bound: str  # such as `at least 0.85`
    value: str
    interval: str
    met: bool
    severity: str


def split_verdict(inputs: ReportInputs) -> tuple[str, str]:
    """The verdict of register, one of VERDICTS, and its reason."""
    if inputs.decision is None:
        return NOT_DECIDED, ""
    verdict, _, reason = inputs.decision["verdict"].partition(": ")
    return verdict, clean_line(reason)


def criterion_rows(inputs: ReportInputs) -> list[CriterionRow]:
    """A row for each criterion, in the order of params.yaml."""
    rows = []
    for name, bound in inputs.criteria.items():
        figure = inputs.evaluated[name]
        least = bound.min if bound.max is None else bound.max
        words = "at least" if bound.max is None else "at most"
        rows.append(
            CriterionRow(
                figure_label(name),
                f"{words} {number_text(name, least)}",
                number_text(name, figure["value"]),
                interval_text(name, figure),
                not missed_criteria({name: bound}, inputs.evaluated, bound.severity),
                bound.severity,
            )
        )
    return rows


def comparisons(inputs: ReportInputs) -> list[Comparison]:
    """The differences from the champion, from the baseline and from the reference version."""
    decided = inputs.decision["figures"] if inputs.decision else {}
    number = decided.get(VERSION_FIGURE, {}).get("value")
    return [
        *_differences(decided, "duel.difference.", "the champion on all unseen test messages"),
        *_differences(decided, "duel.newest.difference.", "the champion on the newest messages"),
        *_differences(inputs.evaluated, "difference.", BASELINE),
        *_differences(decided, "reference.difference.", f"version {number}, the reference"),
    ]


def _differences(figures: Mapping[str, Any], prefix: str, other: str) -> Iterator[Comparison]:
    for name, figure in figures.items():
        metric = name.removeprefix(prefix)
        if metric != name and "." not in metric and figure["value"] is not None:
            yield Comparison(other, metric, figure)


def comparison_sentence(one: Comparison) -> str:
    """Such as `Better than the linear baseline: F1 +0.019 (+0.008 to +0.030).`"""
    result = comparison_text(one.metric, one.difference)
    start = f"{result.capitalize()} {'from' if result == NO_DIFFERENCE else 'than'}"
    value = number_text(one.metric, one.difference["value"], signed=True)
    interval = interval_text(one.metric, one.difference, signed=True)
    ending = f" ({interval})." if interval else "."
    return f"{start} {one.other}: {figure_label(one.metric)} {value}{ending}"


# ---- the answers


def first_answers(inputs: ReportInputs) -> list[ReportAnswer]:
    """The five answers, in the order of the page."""
    verdict, reason = split_verdict(inputs)
    ships, is_better = VERDICTS.get(verdict, (verdict, reason))
    compared = [one for one in comparisons(inputs) if one.metric == _main_metric(inputs)]
    sentences = [comparison_sentence(one) for one in compared]
    return [
        ReportAnswer("Is the new model better?", is_better, " ".join(sentences)),
        ReportAnswer("How sure are we?", *_certainty(compared)),
        ReportAnswer("What does it miss?", *_misses(inputs)),
        ReportAnswer(
            "May I ship it?",
            f"{ships.partition('. ')[0].rstrip('.')}.",
            _criteria_sentence(criterion_rows(inputs)),
        ),
        ReportAnswer("Where does it come from?", *_origin_answer(inputs)),
    ]


def _main_metric(inputs: ReportInputs) -> str:
    """The criterion of the comparison with the champion; F1 if there was none."""
    return next((one.metric for one in comparisons(inputs) if one.is_with_champion), "f1")


def _certainty(compared: list[Comparison]) -> tuple[str, str]:
    """How sure the first comparison is."""
    if not compared or not interval_text(compared[0].metric, compared[0].difference):
        return "No interval is known.", "The evaluation has no comparison with an interval."
    first = compared[0]
    is_clear = comparison_text(first.metric, first.difference) != NO_DIFFERENCE
    answer = "The 95 % interval does not include 0" if is_clear else "Not sure: it may be chance"
    interval = interval_text(first.metric, first.difference, signed=True)
    return (
        f"{answer}, on {first.difference['n']:,} test messages.",
        f"{figure_label(first.metric)} differs from {first.other} by {interval}.",
    )


def _misses(inputs: ReportInputs) -> tuple[str, str]:
    counts = inputs.confusion
    answer = "The reports do not say."
    if counts:
        spam, ham = (counts[label, "spam"] + counts[label, "ham"] for label in ("spam", "ham"))
        answer = (
            f"{counts['spam', 'ham']:,} of {spam:,} spam messages get through; "
            f"{counts['ham', 'spam']:,} of {ham:,} ham messages are lost."
        )
    weakest = extreme_rows(slice_rows(inputs.evaluated), "caught", greatest=False)
    return answer, f"It catches least spam in: {weakest}." if weakest else ""


def _criteria_sentence(rows: list[CriterionRow]) -> str:
    met = sum(row.met for row in rows)
    missed = [f"{row.name} is {row.value}, not {row.bound}" for row in rows if not row.met]
    return "; ".join([f"{met} of {len(rows)} criteria are met", *missed]) + "."


def _origin_answer(inputs: ReportInputs) -> tuple[str, str]:
    train, ingest = inputs.reports.get("train"), inputs.reports.get("ingest")
    answer = "The reports do not say."
    if train and ingest:
        network = train["verdict"].partition(":")[0]
        served = train["figures"].get("served_rows", {}).get("value", train["rows"])
        in_service = f"; the one in service on {served:,}" if served != train["rows"] else ""
        answer = f"{network}, trained on {train['rows']:,} of {ingest['verdict']}{in_service}."
    hashes = {"Model": inputs.model_hash, "data": inputs.data_hash, "params": inputs.params_hash}
    known = [f"{name} {digest[:HASH_DIGITS]}" for name, digest in hashes.items() if digest]
    return answer, f"{', '.join(known)}."
