"""Decides whether a model becomes the champion."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pandas as pd
import pydantic
from pydantic import Field

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.hashing import known_ids
from pipeline.core.params import ParamsSection, choose
from pipeline.core.schemas import SEEN_ROWS
from pipeline.core.tables import read_parquet
from pipeline.evaluation import champion_challenger
from pipeline.evaluation.champion_challenger import Outcome, PromotionRule
from pipeline.evaluation.metrics import Predictions
from pipeline.evaluation.slices import source_name
from pipeline.preprocessing import time_windows
from pipeline.registry import ledger, parity, versions
from pipeline.registry.ledger import PROMOTION_VERDICTS, ROLLBACK_TAG, LedgerEntry
from pipeline.registry.model_package import (
    EVALUATED_SPLITS,
    SERVED_SPLITS,
    ModelHashes,
    ModelPackage,
)
from pipeline.registry.parity import ScoringError
from pipeline.registry.versions import RegistryDamagedError, Version

RELATIVE_TOLERANCE = 1e-4  # of the values of a decision, on another processor
OTHER_DATA = (
    "most messages of the champion are not in this data; if it is the demo's or another task's, "
    "run `python -m pipeline begin-anew`, then `make repro`"
)


class Bound(ParamsSection):
    """A criterion: the least or the greatest value of a figure."""

    min: float | None = Field(default=None, description="least value, in the figure's unit")
    max: float | None = Field(default=None, description="greatest value, in the figure's unit")
    severity: Literal["critical", "warning"] = Field(
        default="critical", description="a missed warning stands in the verdict and stops nothing"
    )

    @pydantic.model_validator(mode="after")
    def _has_one_bound(self) -> "Bound":
        if (self.min is None) == (self.max is None):
            raise ValueError("a criterion has either min or max")
        return self


class Params(ParamsSection):
    """The section `register` of params.yaml."""

    criteria: dict[str, Bound] = Field(
        description="figures of reports/evaluate.json with the bound that a model must keep"
    )
    fewest_rows: int = Field(
        ge=1, description="ham and spam each that test needs for a promotion; fewer cannot tell"
    )
    duel: PromotionRule = Field(description="comparison with the champion")
    parity: list[str] = Field(
        description="interfaces of the registered version that must agree before it is promoted: "
        "DataFrame, Series, batch file, HTTP"
    )
    latency_budget: float = Field(
        ge=0, description="milliseconds for one message over HTTP, median of twenty requests"
    )

    @pydantic.field_validator("parity")
    @classmethod
    def _are_interfaces(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in parity.INTERFACES:
                choices = ", ".join(parity.INTERFACES)
                raise ValueError(f"unknown {name!r}; choose from {choices}")
        return names


def missed_criteria(
    criteria: Mapping[str, Bound], figures: Mapping[str, Any], severity: str = "critical"
) -> list[str]:
    """A phrase for each criterion of a severity that the figures miss, in the order of `criteria`.

    Args:
        figures: as in reports/evaluate.json.

    Raises: PipelineError for an unknown figure.
    """
    reasons = []
    for name, bound in criteria.items():
        value = choose(figures, name, "params.yaml: register.criteria")["value"]
        if bound.severity != severity:
            continue
        if name.startswith("difference."):
            name += " (ours minus the linear baseline's)"
        if value is None:
            reasons.append(f"{name} is undefined on this test set")
        elif bound.min is not None and value < bound.min:
            reasons.append(f"{name} {value:g} is below {bound.min:g}")
        elif bound.max is not None and value > bound.max:
            reasons.append(f"{name} {value:g} is above {bound.max:g}")
    return reasons


def with_warnings(outcome: Outcome, warnings: Sequence[str]) -> Outcome:
    """The outcome with the phrases of missed warnings at the end of its sentence."""
    sentence = "; warning: ".join([outcome.sentence, *warnings])
    return replace(outcome, sentence=sentence)


def verdict_text(outcome: Outcome) -> str:
    """Verdict and sentence, as the report has them."""
    return f"{outcome.verdict}: {outcome.sentence}"


# ---- the decision


@dataclass(frozen=True)
class Candidate:
    """A model to decide on, and the state of the registry."""

    package: ModelPackage
    hashes: ModelHashes
    rows: pd.DataFrame  # of all splits: columns of schemas.MESSAGES and schemas.SPLITS
    missed_criteria: Sequence[str]  # phrases
    warnings: Sequence[str]  # phrases
    rule: PromotionRule
    version: Version | None  # of this model, if it is registered
    champion: Version | None

    @cached_property
    def comparison_rows(self) -> pd.DataFrame:
        """Rows that the model was not fitted on: test and the newest span.

        The column `newest` tells which rows lie in the newest span.
        """
        rows = self.rows.assign(newest=time_windows.newest_rows(self.rows))
        unseen = rows["newest"] | (rows["split"] == "test")
        return rows[unseen & ~rows["left_out"]].reset_index(drop=True)

    @property
    def is_champion(self) -> bool:
        """Whether this model is the champion already."""
        return self.version is not None and self.version.number == self.champion_number

    @property
    def champion_number(self) -> str | None:
        """The number of the champion's version."""
        return self.champion.number if self.champion else None

    @property
    def rollback_reason(self) -> str:
        """Why a person rolled this model back; empty if nobody did."""
        return self.version.tags.get(ROLLBACK_TAG, "") if self.version else ""

    @cached_property
    def decision_key(self) -> str:
        """Hash of everything that the decision depends on, apart from the two models."""
        columns = ["message_id", "label", "split", "newest"]
        rows = self.comparison_rows[columns].to_csv(index=False)
        phrases = [*self.missed_criteria, *(f"warning: {warning}" for warning in self.warnings)]
        content = json.dumps([rows, phrases, self.rule.model_dump()])
        return hashlib.sha256(content.encode()).hexdigest()


def reusable_entry(candidate: Candidate) -> LedgerEntry | None:
    """The entry of the last decision on this model, if a new decision would have the same inputs.

    None if rows, rules or champion changed, the model was rolled back, or a promotion of it was
    carried out or overtaken.
    """
    entry = LedgerEntry.from_version(candidate.version)
    if entry is None or entry.key != candidate.decision_key or candidate.rollback_reason:
        return None
    if candidate.is_champion:
        return entry
    if entry.verdict in PROMOTION_VERDICTS:
        in_ledger = ledger.read_entries()
        if entry in in_ledger[:-1] or any(later.time > entry.time for later in in_ledger):
            return None
    return entry if entry.previous == candidate.champion_number else None


def decide(candidate: Candidate) -> Outcome:
    """The verdict on a candidate, and its warnings."""
    return with_warnings(_decide(candidate), candidate.warnings)


def _decide(candidate: Candidate) -> Outcome:
    """The verdict: criteria missed, nothing new, first, calibrated, refitted, or a comparison's."""
    if candidate.missed_criteria:
        return Outcome("criteria missed", "; ".join(candidate.missed_criteria), {})
    if candidate.is_champion:
        return Outcome("nothing new", "this model is the champion already", {})
    if candidate.rollback_reason:
        sentence = f"this model was rolled back: {candidate.rollback_reason}"
        return Outcome("nothing new", sentence, {})
    if candidate.champion is None:
        return Outcome("first", "it meets the criteria, and there is no champion", {})
    try:
        return compare_with_champion(candidate, candidate.champion)
    except RegistryDamagedError as error:
        problem = str(error)
    except ScoringError as error:
        problem = f"version {candidate.champion.number}: {error}"
    sentence = f"{problem}; it stays the champion, unless --force replaces it"
    return Outcome("champion unscorable", sentence, {})


def compare_with_champion(candidate: Candidate, champion: Version) -> Outcome:
    """The outcome on rows that neither evaluated network has seen; each is scored by its own code.

    Raises:
        ScoringError: the champion gives no usable answer.
        RegistryDamagedError: its files are not those that were registered.
    """
    with versions.downloaded_version(champion.number) as folder:
        if outcome := unscored_outcome(candidate, champion, folder):
            return outcome
        seen = read_seen_rows(folder, EVALUATED_SPLITS)
        pair = score_unseen(candidate, folder, seen)
    if pair is None:
        return Outcome("tie", "there is no test message that neither has seen", {})
    outcome = champion_challenger.decide_promotion(
        challenger=pair.ours,
        champion=pair.theirs,
        newest=pair.rows["newest"].to_numpy(),
        test=(pair.rows["split"] == "test").to_numpy(),
        rule=candidate.rule,
    )
    present = known_ids(candidate.rows["message_id"], seen["message_id"]).sum()
    if outcome.verdict == "promote" or 2 * present >= len(seen):
        return outcome
    return replace(outcome, sentence=f"{outcome.sentence}; {OTHER_DATA}")


class ScoredPair(NamedTuple):
    """The answers of a candidate and of another version to the same messages."""

    rows: pd.DataFrame  # columns as Candidate.comparison_rows
    ours: Predictions
    theirs: Predictions


def score_unseen(candidate: Candidate, folder: Path, seen: pd.DataFrame) -> ScoredPair | None:
    """The answers of both evaluated networks to rows that neither has seen; None without a row.

    Args:
        folder: of the other version's MLflow model; its evaluated network takes the place of the
            one that serves.
        seen: columns of schemas.SEEN_ROWS, what the other version's evaluated network saw.

    Raises: ScoringError.
    """
    rows = candidate.comparison_rows
    rows = rows[champion_challenger.unseen_rows(rows, candidate.rows, seen)]
    if rows.empty:
        return None
    versions.use_evaluated_network(folder)
    answers = parity.score_in_child(str(folder), rows[["text", "source"]])
    ours = candidate.package.evaluated_answers(rows)
    return ScoredPair(rows, _predictions(rows, ours), _predictions(rows, answers))


def unscored_outcome(candidate: Candidate, champion: Version, folder: Path) -> Outcome | None:
    """The outcome if no comparison can tell candidate and champion apart; None if one can.

    `calibrated`: only decisions of sources differ that have labelled messages in
    data/inbox/calibration/, and none in the rows. Their budgets hold by the choice of the
    threshold. `refitted`: the network that serves learned from other rows; it takes no part in a
    comparison.

    Args:
        folder: of the champion's MLflow model.
    """
    entry = LedgerEntry.from_version(champion)
    files = {"evaluated": entry.files.get("network"), **entry.files} if entry else {}
    md5s = candidate.hashes.md5s
    if any(files.get(name) != md5s[name] for name in ("tokenizer", "evaluated")):
        return None
    sources = recalibrated_sources(candidate, folder)
    if sources is None:
        return None
    if files["network"] != md5s["network"]:
        return Outcome("refitted", "the champion's network, which learned from other rows", {})
    if not sources:
        return None
    sentence = f"the champion's network, with another threshold for {', '.join(sources)}"
    return Outcome("calibrated", sentence, {})


def recalibrated_sources(candidate: Candidate, folder: Path) -> list[str] | None:
    """The sources with another decision than in the champion; None if any of them is in the rows.

    It is None, too, if the decision for unknown sources differs, or one of these lets all spam
    pass, as with labels that were swapped. Args: as `unscored_outcome`.
    """
    paths = (candidate.package.decision, folder / "artifacts" / "decision.json")
    ours, before = map(read_json, paths)
    of_source, of_source_before = (decision.pop("sources", {}) for decision in (ours, before))
    names = sorted(of_source | of_source_before)
    changed = [n for n in names if not _is_alike(of_source.get(n), of_source_before.get(n))]
    useless = [n for n in changed if n in of_source and not of_source[n].get("spam_caught")]
    in_rows = set(source_name(candidate.rows))
    is_other = useless or in_rows & set(changed) or not _is_alike(ours, before)
    return None if is_other else changed


def _is_alike(decision: Mapping[str, float] | None, before: Mapping[str, float] | None) -> bool:
    """Whether decisions differ only as processors do, in the last digits."""
    if decision is None or before is None:
        return decision is before
    values = [(value, before.get(name, math.nan)) for name, value in decision.items()]
    return len(decision) == len(before) and all(
        math.isclose(*pair, rel_tol=RELATIVE_TOLERANCE) for pair in values
    )


def _predictions(rows: pd.DataFrame, answers: pd.DataFrame) -> Predictions:
    return Predictions(
        y_true=(rows["label"] == "spam").to_numpy(),
        y_score=answers["probability"].to_numpy(),
        y_pred=(answers["label"] == "spam").to_numpy(),
    )


def read_seen_rows(folder: Path, splits: Sequence[str] = SERVED_SPLITS) -> pd.DataFrame:
    """Columns of schemas.SEEN_ROWS, from the folder of an MLflow model. Raises: ScoringError.

    Args:
        splits: of which the rows are wanted; EVALUATED_SPLITS for what the evaluated network saw.
    """
    try:
        seen = read_parquet(folder / "artifacts" / "seen.parquet").to_pandas()
    except PipelineError:
        raise ScoringError("the list of messages that it has seen is missing") from None
    if "split" not in seen:  # of a version without a refitted network
        seen = seen.assign(split="train")
    return seen.loc[seen["split"].isin(splits), SEEN_ROWS.names]
