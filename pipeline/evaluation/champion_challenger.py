"""Decides whether the challenger takes the champion's place, on rows that neither has seen."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.core.reports import Figure
from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.metrics import METRICS, Scored
from pipeline.preprocessing import near_duplicates

Mask = NDArray[np.bool_]  # (n,), of rows


@dataclass(frozen=True)
class Rule:
    """What the challenger must show. A margin below 0 lets one that is not much worse take the place."""

    criterion: str  # of METRICS
    margin: float  # in the criterion's own unit; the challenger must be better by more
    confidence: float  # share of resamples, between 0.5 and 1, that must say so
    newest_rows: (
        int  # of either label: what the newest span must have to be the ground; else test is
    )
    resamples: int  # of the paired bootstrap
    seed: int

    def __post_init__(self) -> None:
        if self.criterion not in METRICS:
            raise ValueError(
                f"unknown criterion {self.criterion!r}; choose from {', '.join(METRICS)}"
            )
        if not 0.5 < self.confidence < 1:
            raise ValueError("confidence must lie between 0.5 and 1")
        if self.newest_rows < 1:
            raise ValueError("newest_rows must be at least 1")
        if not 1 <= self.resamples <= 1_000_000 or self.seed < 0:
            raise ValueError("resamples must be 1 to 1,000,000 and seed at least 0")


@dataclass(frozen=True)
class Outcome:
    """What came of it: `promote`, `keep` or `tie`, in one sentence, with the figures behind it."""

    verdict: str
    sentence: str
    figures: dict[str, Figure]


# ---- the ground


def unseen(ground: pd.DataFrame, present: pd.DataFrame, seen: pd.DataFrame) -> Mask:
    """(n,): the rows of the ground of which a model saw neither the campaign nor a near-copy.

    ground, present: message_id, campaign_key and text; `present` is every row of today, of which some are
    known to the model by their message_id. seen: message_id and campaign_key of what it was trained, stopped
    or calibrated on. Of seen rows that are gone from the data the campaign alone is known.
    """
    known = present["message_id"].isin(seen["message_id"]).to_numpy()
    wordings, number = near_duplicates.wordings([*ground["text"], *present.loc[known, "text"]])
    of_ground, of_seen = np.zeros(len(wordings), np.bool_), np.zeros(len(wordings), np.bool_)
    of_ground[number[: len(ground)]], of_seen[number[len(ground) :]] = True, True
    near, copied = near_duplicates.near_copies(wordings), of_ground & of_seen
    for group in [*near.pairs, *near.crowds]:
        copied[group] |= of_ground[group] & of_seen[group].any()
    return ~(
        ground["campaign_key"].isin(seen["campaign_key"]).to_numpy() | copied[number[: len(ground)]]
    )


# ---- the fight


def fight(challenger: Scored, champion: Scored, newest: Mask, test: Mask, rule: Rule) -> Outcome:
    """The outcome on the newest span, if that has rows enough, with test as a check against regression.

    challenger, champion: both on the same rows. newest, test: (n,), which rows are in either; some in both.
    """
    whole = compared(challenger.take(test), champion.take(test), rule)
    spam = int(np.count_nonzero(challenger.y_true[newest]))
    if min(spam, int(newest.sum()) - spam) < rule.newest_rows:
        ground, figures = whole, {}
    else:
        ground = compared(challenger.take(newest), champion.take(newest), rule)
        ground = Outcome(ground.verdict, f"of the newest days {ground.sentence}", ground.figures)
        figures = {f"duel.newest.{name[5:]}": figure for name, figure in ground.figures.items()}
    outcome = ground
    if ground.verdict == "promote" and whole.verdict == "keep":
        outcome = Outcome("keep", f"{ground.sentence}, but on all test rows {whole.sentence}", {})
    return Outcome(outcome.verdict, outcome.sentence, whole.figures | figures)


def compared(challenger: Scored, champion: Scored, rule: Rule) -> Outcome:
    """The outcome on these rows alone, by a paired bootstrap; McNemar's counts stand beside it."""
    if len(np.unique(challenger.y_true)) < 2:
        return Outcome("tie", f"{len(challenger.y_true)} unseen messages, not of both labels", {})
    sign = -1 if rule.criterion in metrics.LESS_IS_BETTER else 1
    metric = METRICS[rule.criterion]
    values = metric(challenger), metric(champion)
    draws = bootstrap.differences(
        challenger, champion, rule.criterion, resamples=rule.resamples, seed=rule.seed
    )
    better, worse = np.mean(sign * draws > rule.margin), np.mean(sign * draws < min(rule.margin, 0))
    low, high = np.percentile(draws, bootstrap.INTERVAL)
    won = challenger.y_pred == challenger.y_true
    lost = champion.y_pred == champion.y_true
    gained, given = int(np.sum(won & ~lost)), int(np.sum(lost & ~won))
    n, difference = len(challenger.y_true), values[0] - values[1]
    change = f"{rule.criterion} {difference:+.4f} [{low:+.4f}, {high:+.4f}]"
    verdict = (
        "promote" if better >= rule.confidence else "keep" if worse >= rule.confidence else "tie"
    )
    sentence = (
        f"{change} against the champion's {values[1]:.4f} on {n} messages that neither has seen; "
        f"{gained} right that it got wrong, {given} the other way"
    )
    figures = {
        f"duel.challenger.{rule.criterion}": Figure(values[0], n=n),
        f"duel.champion.{rule.criterion}": Figure(values[1], n=n),
        f"duel.difference.{rule.criterion}": Figure(difference, float(low), float(high), n),
        "duel.better_share": Figure(float(better), n=rule.resamples),
        "duel.challenger_alone_right": Figure(gained, n=n),
        "duel.champion_alone_right": Figure(given, n=n),
        "duel.mcnemar_p": Figure(mcnemar(gained, given), n=gained + given),
    }
    return Outcome(verdict, sentence, figures)


def mcnemar(gained: int, given: int) -> float:
    """The exact two-sided chance of counts as unequal as these, of models that err alike often.

    Source: McNemar 1947, in its exact form: a fair coin for each message that one of the two has wrong.
    """
    from scipy.stats import binomtest  # here, as its import is slow and most runs fight no duel

    return float(binomtest(gained, gained + given).pvalue) if gained + given else 1.0
