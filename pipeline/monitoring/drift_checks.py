"""Checks whether new messages differ from a reference.

A new check is one function and one entry of DRIFT_CHECKS, with a smallest effect in params.yaml.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pipeline.core.params import ParamsSection
from pipeline.monitoring import effect_sizes
from pipeline.monitoring.checks import Check, decide_alarms, holm
from pipeline.monitoring.effect_sizes import Counts, Effect, Floats
from pipeline.preprocessing import near_duplicates
from pipeline.preprocessing.profile import DescribedSets, unknown_word_shares
from pipeline.preprocessing.time_windows import Mask

SETS = ("reference", "new")  # the order of every pair


class Params(ParamsSection):
    """Section `drift` of params.yaml."""

    alpha: float = Field(gt=0, lt=1, description="probability of any false alarm, over all checks")
    fewest_rows: int = Field(ge=10, description="minimum number of messages per set")
    fewest_messages: int = Field(
        ge=10, description="minimum number of messages with a word, for the word to be tested"
    )
    classifier_rows: int = Field(
        ge=10, description="maximum number of messages per set for the domain classifier"
    )
    seed: int = Field(ge=0, description="of the rows and halves of the domain classifier")
    smallest_effects: dict[str, float] = Field(
        description="by check; a smaller effect raises no alarm"
    )

    @field_validator("smallest_effects")
    @classmethod
    def _check_names(cls, effects: dict[str, float]) -> dict[str, float]:
        if effects.keys() != DRIFT_CHECKS.keys():
            raise ValueError(f"must name {', '.join(DRIFT_CHECKS)}, and nothing else")
        return effects


# ---- the checks; None means that there is nothing to compare


def label_share(sets: DescribedSets, params: Params) -> Check | None:
    """The share of spam in the labelled messages."""
    labelled = np.array([np.sum(sets.rows(name) & sets.labelled) for name in SETS])
    if labelled.min() < params.fewest_rows:
        return None
    spam = np.array([[np.sum(sets.rows(name) & sets.labelled & sets.spam)] for name in SETS])
    return _largest_difference("label_share", ["spam"], spam, labelled, params)


def length(sets: DescribedSets, params: Params) -> Check:
    """The distribution of lengths in characters."""
    old, new = (sets.lengths[sets.rows(name)] for name in SETS)
    sentence = f"median length {np.median(new):.0f} characters against {np.median(old):.0f}"
    effect = effect_sizes.ks_distance(old, new)
    return _distance_check("length", effect, sentence, len(sets.texts), params)


def script(sets: DescribedSets, params: Params) -> Check | None:
    """The share of messages with a letter of each script; a disguise may swap a single letter."""
    counts = [(sets.letters[sets.rows(name)] > 0).sum(axis=0) for name in SETS]
    return _largest_difference("script", sets.scripts, np.array(counts), _set_sizes(sets), params)


def unknown_words(sets: DescribedSets, params: Params) -> Check:
    """The distribution of the share of a message's words that no other reference message has."""
    unknown = unknown_word_shares(sets.words, sets.rows("reference"))
    old, new = (unknown[sets.rows(name)] for name in SETS)
    sentence = f"{new.mean():.1%} of a message's words are unknown against {old.mean():.1%}"
    effect = effect_sizes.ks_distance(old, new)
    return _distance_check("unknown_words", effect, sentence, len(sets.texts), params)


def term_shares(sets: DescribedSets, params: Params) -> Check | None:
    """The share of messages with each word that is in enough messages."""
    words, counts = count_words(sets, params)
    return _largest_difference("terms", words, counts, _set_sizes(sets), params)


def domain_classifier(sets: DescribedSets, params: Params) -> Check | None:
    """How well a linear model separates new from reference messages, in unseen campaigns.

    It is fitted on one half of the campaigns and applied to the other, in both directions.
    """
    rng = np.random.default_rng(params.seed)
    samples = [
        _sample(np.flatnonzero(sets.rows(name)), params.classifier_rows, rng) for name in SETS
    ]
    rows = np.concatenate(samples)
    texts = [sets.texts[row] for row in rows]
    is_new = sets.rows("new")[rows]
    _, campaign = np.unique(near_duplicates.campaign_keys(texts), return_inverse=True)
    half = (rng.permutation(campaign.max() + 1) % 2 == 1)[campaign]
    cells = [np.sum(a & b) for a in (half, ~half) for b in (is_new, ~is_new)]
    if not any(texts) or min(cells) < 2:
        return None
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True)
    features = vectorizer.fit_transform(texts)
    auc = effect_sizes.mean_auc(
        *(_domain_scores(features, is_new, fitted) for fitted in (half, ~half))
    )
    return Check(
        name="domain_classifier",
        measure="AUC",
        effect=auc.value,
        low=auc.low,
        high=auc.high,
        p_value=auc.p_value,
        sentence=f"a classifier separates both sets with an AUC of {auc.value:.3f}; 0.5 is chance",
        matters=auc.value >= params.smallest_effects["domain_classifier"],
        n=len(rows),
    )


DRIFT_CHECKS: dict[str, Callable[[DescribedSets, Params], Check | None]] = {
    "label_share": label_share,
    "length": length,
    "script": script,
    "unknown_words": unknown_words,
    "terms": term_shares,
    "domain_classifier": domain_classifier,
}


def compare_sets(comparisons: Mapping[str, DescribedSets], params: Params) -> list[Check]:
    """The results of all checks that have something to compare, with their alarms.

    Args:
        comparisons: the sets `reference` and `new`, in this order, by what the names of their
            checks begin with, such as `sms.`, or nothing.
    """
    checks = [
        replace(check, name=f"{prefix}{check.name}")
        for prefix, sets in comparisons.items()
        for check in (function(sets, params) for function in DRIFT_CHECKS.values())
        if check is not None
    ]
    return decide_alarms(checks, params.alpha)


# ---- words


def count_words(sets: DescribedSets, params: Params) -> tuple[list[str], Counts]:
    """The words in at least `fewest_messages` messages of both sets together.

    Returns the k words and (2, k): the messages with each of them, by set.
    """
    counts = np.array([sets.words.messages_with(sets.rows(name)) for name in SETS])
    tested = np.flatnonzero(counts.sum(axis=0) >= params.fewest_messages)
    return [sets.words.vocabulary[i] for i in tested], counts[:, tested]


def word_differences(sets: DescribedSets, params: Params) -> list[tuple[str, float, float, float]]:
    """(word, share of reference messages, share of new ones, corrected p), smallest p first."""
    words, counts = count_words(sets, params)
    sizes = _set_sizes(sets)
    old, new = (counts / sizes[:, None]).tolist()
    p_values = holm(effect_sizes.fisher_p_values(counts, sizes).tolist())
    rows = zip(words, old, new, p_values, strict=True)
    return sorted(rows, key=lambda row: (row[3], row[0]))


# ---- what the checks share


def _largest_difference(
    name: str, things: Sequence[str], counts: Counts, totals: Counts, params: Params
) -> Check | None:
    """The most significant difference of shares, first among those that are large enough.

    Its p-value and interval are corrected for the k things that were tested.
    counts: (2, k), totals: (2,), the reference first.
    """
    if not things:
        return None
    old, new = counts / totals[:, None]
    p_values = holm(effect_sizes.fisher_p_values(counts, totals).tolist())
    large = np.abs(new - old) >= params.smallest_effects[name]
    best = min(range(len(things)), key=lambda i: (not large[i], p_values[i], things[i]))
    confidence = 1 - 0.05 / len(things)
    low, high = effect_sizes.newcombe_interval(counts[:, best], totals, confidence)
    sentence = f"{things[best]} in {new[best]:.1%} of the messages against {old[best]:.1%}"
    others = int(np.sum(large & (np.array(p_values) < params.alpha))) - 1
    if others > 0:
        sentence += f"; {others:,} more of {len(things):,} differ"
    return Check(
        name=name,
        measure="difference of shares",
        effect=float(new[best] - old[best]),
        low=low,
        high=high,
        p_value=p_values[best],
        sentence=sentence,
        matters=bool(large[best]),
        n=int(totals.sum()),
    )


def _distance_check(name: str, effect: Effect, sentence: str, n: int, params: Params) -> Check:
    return Check(
        name=name,
        measure="Kolmogorov-Smirnov distance",
        effect=effect.value,
        low=effect.low,
        high=effect.high,
        p_value=effect.p_value,
        sentence=sentence,
        matters=effect.value >= params.smallest_effects[name],
        n=n,
    )


def _domain_scores(features: Any, is_new: Mask, fitted: Mask) -> tuple[Floats, Floats]:
    """Scores of the rows that were not fitted, old and new; higher is more like a new message."""
    model = LogisticRegression(solver="liblinear", class_weight="balanced", random_state=0)
    scores = model.fit(features[fitted], is_new[fitted]).decision_function(features[~fitted])
    return scores[~is_new[~fitted]], scores[is_new[~fitted]]


def _set_sizes(sets: DescribedSets) -> Counts:
    return np.array([sets.rows(name).sum() for name in SETS], np.int64)


def _sample(rows: NDArray[np.intp], size: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= size else rng.choice(rows, size, replace=False)
