"""Judges a model, and moves the champion alias."""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.params import choose
from pipeline.core.reports import DECIMALS, Figure, round_figures
from pipeline.core.schemas import SEEN_ROWS
from pipeline.core.tables import read_parquet
from pipeline.evaluation import champion_challenger
from pipeline.evaluation.champion_challenger import Outcome
from pipeline.evaluation.metrics import Scored
from pipeline.preprocessing import time_windows
from pipeline.registry import ledger, parity, versions
from pipeline.registry.ledger import PROMOTIONS, ROLLED_BACK, TAG, Entry
from pipeline.registry.model_package import Package
from pipeline.registry.parity import Unscorable
from pipeline.registry.versions import CHALLENGER, Version
from pipeline.tracking import run_contents, runs
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.tracking.run_contents import ModelFiles

log = logging.getLogger(__name__)

PASSING = "nothing new", "champion unscorable"  # verdicts that are asked for anew each time
PROPOSES = "REGISTER_PROPOSES"  # set in the environment: a winner waits for a person


@dataclass(frozen=True)
class Bound:
    """A criterion: the figure must not lie beyond."""

    min: float | None = None
    max: float | None = None

    def __post_init__(self) -> None:
        if (self.min is None) == (self.max is None):
            raise ValueError("a criterion has either min or max")


@dataclass(frozen=True)
class Params:
    criteria: dict[str, Bound]  # by the name of a figure in reports/evaluate.json
    duel: champion_challenger.Rule
    parity: list[str]  # of WAYS in elsewhere.py: they must agree before the alias moves
    latency_budget: float  # milliseconds for one message over HTTP

    def __post_init__(self) -> None:
        for way in self.parity:
            if way not in parity.WAYS:
                raise ValueError(f"parity: unknown {way!r}; choose from {', '.join(parity.WAYS)}")


def missed(criteria: Mapping[str, Bound], figures: Mapping[str, Any]) -> list[str]:
    """What stands against the model, a phrase each. Raises: PipelineError on an unknown figure."""
    reasons = []
    for name, bound in criteria.items():
        value = choose(figures, name, "params.yaml: register.criteria")["value"]
        if value is None:
            reasons.append(f"{name} is undefined on this test set")
        elif bound.min is not None and value < bound.min:
            reasons.append(f"{name} {value:g} is below {bound.min:g}")
        elif bound.max is not None and value > bound.max:
            reasons.append(f"{name} {value:g} is above {bound.max:g}")
    return reasons


# ---- the verdict


@dataclass(frozen=True)
class Case:
    """What is judged, and how things stand in the registry."""

    package: Package
    rows: (
        pd.DataFrame
    )  # of all splits: message_id, text, label, received_at, split, campaign_key, left_out
    missed: Sequence[str]  # criteria
    rule: champion_challenger.Rule
    own: Version | None  # the model's, if it has one
    champion: Version | None

    @property
    def ground(self) -> pd.DataFrame:
        """Rows that the model has not seen: test and the newest span; `newest` says which are in the span."""
        rows = self.rows.assign(newest=time_windows.newest(self.rows))
        unlearned = rows["newest"] | (rows["split"] == "test")
        return rows[unlearned & ~rows["left_out"]].reset_index(drop=True)

    @property
    def in_service(self) -> bool:
        return self.own is not None and self.own.number == self.in_place

    @property
    def in_place(self) -> str | None:
        """The champion's number."""
        return self.champion.number if self.champion else None

    @property
    def rolled_back(self) -> str:
        """Why a person took this model out of service, if one did."""
        return self.own.tags.get(ROLLED_BACK, "") if self.own else ""

    def key(self) -> str:
        """Of all that the verdict depends on but the two models."""
        ground = self.ground[["message_id", "label", "split", "newest"]].to_csv(index=False)
        by = json.dumps([ground, list(self.missed), asdict(self.rule)])
        return hashlib.sha256(by.encode()).hexdigest()


def last_judgement(case: Case) -> Entry | None:
    """The model's last one, if it was by these rows and rules, against this champion, and is not past."""
    known = Entry.of(case.own)
    if known is None or known.key != case.key() or case.rolled_back:
        return None
    if case.in_service:
        return known
    lines = ledger.read()
    moved_on = known in lines[:-1] or any(line.time > known.time for line in lines)
    if known.verdict in PROMOTIONS and moved_on:
        return None
    return known if known.previous == case.in_place else None


def judge(case: Case) -> Outcome:
    """The verdict on a model that is not settled: one of those that README lists."""
    if reasons := "; ".join(case.missed):
        return Outcome("criteria missed", reasons, {})
    if case.in_service:
        return Outcome("nothing new", "this model is the champion already", {})
    if case.rolled_back:
        return Outcome("nothing new", f"this model was rolled back: {case.rolled_back}", {})
    if case.champion is None:
        return Outcome("first", "it meets the criteria, and there is no champion", {})
    try:
        return duel_with(case.champion, case)
    except Unscorable as unscorable:
        said = f"version {case.champion.number}: {unscorable}; it stays, unless --force replaces it"
        return Outcome("champion unscorable", said, {})


def duel_with(holder: Version, case: Case) -> Outcome:
    """The challenger against the champion, each by its own code, on rows that neither has seen.

    Raises: Unscorable.
    """
    with versions.downloaded(holder.number) as folder:
        ground = case.ground
        rows = ground[champion_challenger.unseen(ground, case.rows, seen_by(folder))]
        if rows.empty:
            return Outcome("tie", "there is no test message that neither has seen", {})
        texts, spam = rows["text"].tolist(), (rows["label"] == "spam").to_numpy()
        theirs = parity.answers(str(folder), texts)
    challenger, champion = (
        Scored(spam, said["probability"].to_numpy(), (said["label"] == "spam").to_numpy())
        for said in (case.package.answers(texts), theirs)
    )
    newest, test = rows["newest"].to_numpy(), (rows["split"] == "test").to_numpy()
    return champion_challenger.fight(challenger, champion, newest, test, case.rule)


def seen_by(folder: Path) -> pd.DataFrame:
    """message_id and campaign_key of what a version has seen, from its MLflow model. Raises: Unscorable."""
    try:
        return read_parquet(folder / "artifacts" / "seen.parquet", SEEN_ROWS.names).to_pandas()
    except PipelineError:
        raise Unscorable("it does not say what it has seen") from None


# ---- its effects


def entry_of(outcome: Outcome, case: Case, number: str, shown: runs.RunContents) -> Entry:
    """The judgement as it stands at the version, and in the ledger if it moves the alias."""
    answers = case.package.answers(versions.EXAMPLES)["probability"]
    return Entry(
        time=ledger.now(),
        verdict=outcome.verdict,
        version=number,
        previous=case.in_place,
        reason=outcome.sentence,
        figures=round_figures(outcome.figures),
        actor=ledger.actor(),
        commit=shown.tags["git_commit"],
        data_hash=shown.tags["data_hash"],
        model_hash=case.package.model_hash,
        files=dict(case.package.md5s()),
        answers=[round(float(p), DECIMALS) for p in answers],
        key=case.key(),
    )


def check_parity(number: str, case: Case, params: Params) -> None:
    """Raises: PipelineError, when the registry's version answers otherwise than the model here."""
    texts = parity.batch(case.ground["text"].tolist())
    uri, expected = f"models:/{MODEL_NAME}/{number}", case.package.answers(texts)
    if found := parity.disagreements(uri, texts, expected, params.parity, params.latency_budget):
        raise PipelineError("\nerror: ".join(f"{uri}: {said}; the alias stays" for said in found))


def conclude(
    inputs: ModelFiles, case: Case, params: Params, figures: Mapping[str, Figure], force: str
) -> Outcome:
    """Judges the model, records run and version, and moves the alias if the verdict, or a person, says so."""
    known = last_judgement(case)
    outcome = Outcome(known.verdict, known.reason, _figures(known)) if known else judge(case)
    if force and not case.in_service:
        against = f"{force} ({outcome.verdict}: {outcome.sentence})"
        known, outcome = None, Outcome("forced", against, outcome.figures)
    outcome = Outcome(outcome.verdict, outcome.sentence, {**figures, **outcome.figures})
    shown = run_contents.collect_run_contents(inputs, told(outcome))
    run_id, own = runs.log_model_run(shown), case.own
    if own is None:
        threshold = str(read_json(inputs.decision)["threshold"])
        own = versions.add_version(
            run_id, case.package.files(), {**shown.tags, "threshold": threshold}
        )
    if not case.in_service:
        carry_out(known or entry_of(outcome, case, own.number, shown), case, params)
    versions.set_tags(own.number, {"verdict": told(outcome)})
    versions.set_description(own.number, shown.description)
    runs.set_verdict(run_id, told(outcome), shown.description)
    return outcome


def carry_out(entry: Entry, case: Case, params: Params) -> None:
    """Notes the judgement at the version, and moves the alias if that is the judgement.

    Where PROPOSES is set alias and line wait: `python -m pipeline propose` brings the line to a person, and
    `python -m pipeline ledger follow` moves the alias once it is on the default branch.
    """
    wins, waits = entry.verdict in PROMOTIONS, bool(os.environ.get(PROPOSES))
    if wins:
        check_parity(entry.version, case, params)
    if wins and not waits:
        versions.promote(entry.version, {TAG: entry.line(), ROLLED_BACK: ""}, after=case.in_place)
        ledger.write(entry)
        log.info("register: version %s is the champion now", entry.version)
        return
    if entry.verdict not in PASSING:
        versions.set_tags(entry.version, {TAG: entry.line()})
    versions.set_alias(CHALLENGER, entry.version)
    if wins:
        log.info("register: version %s is proposed", entry.version)


def _figures(entry: Entry) -> dict[str, Figure]:
    return {name: Figure(**figure) for name, figure in entry.figures.items()}


def told(outcome: Outcome) -> str:
    return f"{outcome.verdict}: {outcome.sentence}"
