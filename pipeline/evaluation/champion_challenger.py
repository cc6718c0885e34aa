"""Decides whether the challenger replaces the champion, on rows that neither model has seen."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from pipeline.core.hashing import known_ids
from pipeline.core.params import ParamsSection
from pipeline.core.reports import Figure
from pipeline.evaluation import bootstrap
from pipeline.evaluation.metrics import METRICS, Predictions
from pipeline.preprocessing.near_duplicates import find_near_copies, number_wordings
from pipeline.preprocessing.time_windows import Mask


class PromotionRule(ParamsSection):
    """When the challenger replaces the champion."""

    criterion: str = Field(description="name of a metric in evaluation/metrics.py")
    margin: float = Field(
        description="the challenger must be better by more than this, in the metric's unit; "
        "below 0, it may be worse by as much"
    )
    confidence: float = Field(
        gt=0.5, lt=1, description="share of resamples in which it must be better"
    )
    newest_rows: int = Field(
        ge=1,
        description="ham and spam that the newest messages need to decide; with fewer, test does",
    )
    resamples: int = Field(ge=1, le=1_000_000, description="of the paired bootstrap")
    seed: int = Field(ge=0, description="of the paired bootstrap")

    @field_validator("criterion")
    @classmethod
    def _is_a_metric(cls, criterion: str) -> str:
        if criterion not in METRICS:
            raise ValueError(f"unknown {criterion!r}; choose from {', '.join(METRICS)}")
        return criterion


@dataclass(frozen=True)
class Outcome:
    """A verdict (`promote`, `keep` or `tie`), its reason in one sentence, and its figures."""

    verdict: str
    sentence: str
    figures: dict[str, Figure]


# ---- the rows to compare on


def unseen_rows(rows: pd.DataFrame, present: pd.DataFrame, seen: pd.DataFrame) -> Mask:
    """(n,): the rows of which the model has seen neither the campaign nor a near-copy.

    For seen rows that are no longer in the data only the campaign is known.

    Args:
        rows: columns campaign_key and text of the n rows to compare on.
        present: columns message_id and text of all rows of the data.
        seen: columns message_id and campaign_key of the rows that the model was trained, stopped
            early or calibrated on.
    """
    seen_texts = present["text"][known_ids(present["message_id"], seen["message_id"])]
    wordings, number = number_wordings([*rows["text"], *seen_texts])
    in_rows = np.zeros(len(wordings), np.bool_)
    in_rows[number[: len(rows)]] = True
    in_seen = np.zeros(len(wordings), np.bool_)
    in_seen[number[len(rows) :]] = True

    copied = in_rows & in_seen
    near_copies = find_near_copies(wordings)
    for group in [*near_copies.pairs, *near_copies.crowds]:
        copied[group] |= in_rows[group] & in_seen[group].any()
    seen_campaign = rows["campaign_key"].isin(seen["campaign_key"]).to_numpy()
    return ~(seen_campaign | copied[number[: len(rows)]])


# ---- the decision


def decide_promotion(
    challenger: Predictions, champion: Predictions, newest: Mask, test: Mask, rule: PromotionRule
) -> Outcome:
    """The outcome on the newest messages if there are enough of them, else on test.

    A challenger that wins on the newest messages is not promoted if it is significantly worse on
    test.

    Args:
        challenger, champion: both on the same n rows.
        newest, test: (n,), the rows of each set; a row may be in both.
    """
    on_test = compare_models(challenger.take(test), champion.take(test), rule)
    spam = int(np.count_nonzero(challenger.y_true[newest]))
    ham = int(newest.sum()) - spam
    if min(spam, ham) < rule.newest_rows:
        return on_test
    on_newest = compare_models(challenger.take(newest), champion.take(newest), rule)
    sentence = f"newest messages: {on_newest.sentence}"
    figures = on_test.figures | {
        f"duel.newest.{name.removeprefix('duel.')}": figure
        for name, figure in on_newest.figures.items()
    }
    if on_newest.verdict == "promote" and on_test.verdict == "keep":
        return Outcome("keep", f"{sentence}, but on all test rows {on_test.sentence}", figures)
    return Outcome(on_newest.verdict, sentence, figures)


def compare_models(challenger: Predictions, champion: Predictions, rule: PromotionRule) -> Outcome:
    """The outcome on these rows alone, by a paired bootstrap of the criterion.

    The figures also have the counts and the p-value of McNemar's test, which do not decide.
    """
    n = len(challenger.y_true)
    if not challenger.spam or not challenger.ham:
        return Outcome("tie", f"the {n} unseen messages lack ham or spam", {})
    metric = METRICS[rule.criterion]
    own, theirs = metric.function(challenger), metric.function(champion)
    draws = bootstrap.resampled_differences(
        challenger, champion, rule.criterion, resamples=rule.resamples, seed=rule.seed
    )
    low, high = np.percentile(draws, bootstrap.INTERVAL_PERCENTILES)
    gains = draws if metric.greater_is_better else -draws
    better_share = float(np.mean(gains > rule.margin))
    worse_share = float(np.mean(gains < min(rule.margin, 0)))

    own_right = challenger.y_pred == challenger.y_true
    their_right = champion.y_pred == champion.y_true
    alone_right = int(np.sum(own_right & ~their_right))
    alone_wrong = int(np.sum(their_right & ~own_right))
    sentence = (
        f"{rule.criterion} {own - theirs:+.4f} [{low:+.4f}, {high:+.4f}] against the champion's "
        f"{theirs:.4f} on {n} messages that neither has seen; "
        f"only the challenger is right on {alone_right}, only the champion on {alone_wrong}"
    )
    p_value = mcnemar_p_value(alone_right, alone_wrong)
    figures = {
        f"duel.challenger.{rule.criterion}": Figure(own, n=n),
        f"duel.champion.{rule.criterion}": Figure(theirs, n=n),
        f"duel.difference.{rule.criterion}": Figure(own - theirs, float(low), float(high), n),
        "duel.better_share": Figure(better_share, n=rule.resamples),
        "duel.challenger_alone_right": Figure(alone_right, n=n),
        "duel.champion_alone_right": Figure(alone_wrong, n=n),
        "duel.mcnemar_p": Figure(p_value, n=alone_right + alone_wrong),
    }
    return Outcome(_verdict(better_share, worse_share, rule), sentence, figures)


def _verdict(better_share: float, worse_share: float, rule: PromotionRule) -> str:
    if better_share >= rule.confidence:
        return "promote"
    return "keep" if worse_share >= rule.confidence else "tie"


def mcnemar_p_value(alone_right: int, alone_wrong: int) -> float:
    """The exact two-sided p-value, in [0, 1], of the hypothesis that both models err equally often.

    Args:
        alone_right, alone_wrong: messages that only one model labels correctly.

    Source: McNemar 1947, exact form: a binomial test at 1/2.
    """
    from scipy.stats import binomtest  # here, as its import is slow and most runs need no test

    if not alone_right + alone_wrong:
        return 1.0
    return float(binomtest(alone_right, alone_right + alone_wrong).pvalue)
