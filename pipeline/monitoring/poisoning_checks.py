"""Checks whether the labels of new messages were tampered with.

A label is disputed if a model that did not see the message predicts the other one.
A new check is one function and one entry of POISONING_CHECKS.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse, stats

from pipeline.core.params import ParamsSection
from pipeline.monitoring import effect_sizes
from pipeline.monitoring.checks import Check, decide_alarms, holm
from pipeline.preprocessing import near_duplicates
from pipeline.preprocessing.profile import Words, words_of
from pipeline.preprocessing.time_windows import Mask

PRIOR_MESSAGES = 20  # weight of the model's overall error in the expected error for one word


class Params(ParamsSection):
    """Section `poisoning` of params.yaml."""

    alpha: float = Field(gt=0, lt=1, description="probability of any false alarm, over all checks")
    campaign_share: float = Field(
        gt=0, lt=1, description="allowed share of one campaign in the new messages"
    )
    fewest_rows: int = Field(
        ge=1, description="minimum number of labelled messages per set, and per checked source"
    )
    fewest_messages: int = Field(
        ge=1, description="minimum number of new messages with a word, for the word to be tested"
    )
    smallest_excess: float = Field(
        ge=0,
        lt=1,
        description="of the share of disputed labels over the expected share; a smaller excess "
        "raises no alarm",
    )


@dataclass(frozen=True)
class LabelledMessages:
    """New labelled messages, and messages on which the error of the model is known.

    Attributes:
        texts: n new texts.
        spam: (n,), their labels.
        source: (n,), their sources, such as `files/2026-11.csv`.
        name: (n,), the names of these, such as `files`.
        disputed: (n,), whether the model predicts the other label.
        known_spam: (k,), the labels of the messages with a known error.
        known_disputed: (k,), whether the model is wrong about them.
        known_name: (k,), the names of their sources, or none if they are not available.
        known_texts: their k texts, or none if they are not available.
    """

    texts: list[str]
    spam: Mask
    source: NDArray[np.object_]
    name: NDArray[np.object_]
    disputed: Mask
    known_spam: Mask
    known_disputed: Mask
    known_name: NDArray[np.object_]
    known_texts: list[str]


# ---- the checks


def largest_campaign(messages: LabelledMessages, params: Params) -> list[Check]:
    """The share of the largest campaign in the new messages."""
    rows = len(messages.texts)
    largest = int(np.bincount(number_campaigns(messages.texts)).max())
    interval = stats.binomtest(largest, rows).proportion_ci(method="exact")
    share = largest / rows
    allowed = params.campaign_share
    check = Check(
        name="campaign",
        measure="share of the messages",
        effect=share,
        low=float(interval.low),
        high=float(interval.high),
        p_value=float(stats.binom.sf(largest - 1, rows, allowed)),
        sentence=f"one campaign has {share:.1%} of the new messages; {allowed:.1%} are allowed",
        matters=share > allowed,
        n=rows,
    )
    return [check]


def disputed_by_label(messages: LabelledMessages, params: Params) -> list[Check]:
    """For each label, the share of disputed labels against the known error of the model."""
    checks = []
    for is_spam, label in enumerate(("ham", "spam")):
        known = messages.known_disputed[messages.known_spam == is_spam]
        new = messages.disputed[messages.spam == is_spam]
        if len(known) and len(new):
            checks.append(_excess(f"labels.{label}", f"labels {label}", known, new, params))
    return checks


def disputed_by_source(messages: LabelledMessages, params: Params) -> list[Check]:
    """For each source with enough messages, the share of disputed labels.

    It is compared with that of the source's known messages, or if they are too few with that of the
    other new messages.
    """
    checks = []
    for source, name in sorted(set(zip(messages.source, messages.name, strict=True))):
        own = messages.source == source
        others = messages.known_disputed[np.flatnonzero(messages.known_name == name)]
        if len(others) < params.fewest_rows:
            others = messages.disputed[~own]
        if min(own.sum(), len(others)) >= params.fewest_rows:
            new = messages.disputed[own]
            checks.append(_excess(f"sources.{source}", f"labels of {source}", others, new, params))
    return checks


def disputed_by_word(messages: LabelledMessages, params: Params) -> list[Check]:
    """The word whose messages have the most significant excess of disputed labels.

    The expected share is the error of the model for the word, at least its overall error.
    """
    words = words_of([*messages.known_texts, *messages.texts])
    is_new = np.arange(len(messages.known_texts) + len(messages.texts)) >= len(messages.known_texts)
    counts = words.messages_with(is_new)
    tested = np.flatnonzero(counts >= params.fewest_messages)
    if not len(tested):
        return []
    known_disputed = messages.known_disputed[: len(messages.known_texts)]
    disputed = np.concatenate([known_disputed, messages.disputed])
    wrong = words.messages_with(is_new & disputed)
    expected = _expected_shares(messages, words, ~is_new, disputed)[tested]
    tails = stats.binom.sf(wrong[tested] - 1, counts[tested], expected)
    p_values = holm(tails.tolist())
    best = min(range(len(tested)), key=lambda i: (p_values[i], words.vocabulary[tested[i]]))
    k, n = int(wrong[tested[best]]), int(counts[tested[best]])
    word = words.vocabulary[tested[best]]
    interval = stats.binomtest(k, n).proportion_ci(method="exact")
    check = Check(
        name="terms",
        measure="share of disputed labels",
        effect=k / n,
        low=float(interval.low),
        high=float(interval.high),
        p_value=p_values[best],
        sentence=f"{k} of {n} labels of messages with {word!r} are disputed; "
        f"{expected[best]:.1%} are expected",
        matters=bool(k / n >= expected[best] + params.smallest_excess),
        n=n,
    )
    return [check]


POISONING_CHECKS: dict[str, Callable[[LabelledMessages, Params], list[Check]]] = {
    "campaign": largest_campaign,
    "labels": disputed_by_label,
    "sources": disputed_by_source,
    "terms": disputed_by_word,
}


def check_labels(messages: LabelledMessages, params: Params) -> list[Check]:
    """The results of all checks, with their alarms.

    Known messages of sources that have no new ones are left out, if enough known ones are left: the
    model may be wrong about another source more often.
    """
    same_source = np.isin(messages.known_name, messages.name)
    if np.count_nonzero(same_source) >= params.fewest_rows:
        messages = _with_known(messages, same_source)
    checks = [one for check in POISONING_CHECKS.values() for one in check(messages, params)]
    return decide_alarms(checks, params.alpha)


# ---- what the checks share


def _with_known(messages: LabelledMessages, chosen: Mask) -> LabelledMessages:
    """Args: chosen: (k,), which of the known messages stay."""
    texts = [text for text, stays in zip(messages.known_texts, chosen, strict=True) if stays]
    return replace(
        messages,
        known_spam=messages.known_spam[chosen],
        known_disputed=messages.known_disputed[chosen],
        known_name=messages.known_name[chosen],
        known_texts=texts,
    )


def number_campaigns(texts: Sequence[str]) -> NDArray[np.int64]:
    """(n,): the number of each text's campaign.

    Texts with equal campaign keys and near-copies are connected; a campaign is a connected part.
    """
    wordings, wording = near_duplicates.number_wordings(texts)
    _, key = np.unique(near_duplicates.campaign_keys(wordings), return_inverse=True)
    near = near_duplicates.find_near_copies(wordings)
    first_of_key = {k: i for i, k in reversed(list(enumerate(key)))}
    edges = [
        *near.pairs,
        *((crowd[0], i) for crowd in near.crowds for i in crowd),
        *((first_of_key[k], i) for i, k in enumerate(key)),
    ]
    a, b = np.array(edges, np.int64).T
    graph = sparse.coo_array((np.ones(len(edges)), (a, b)), shape=(len(wordings), len(wordings)))
    _, component = sparse.csgraph.connected_components(graph, directed=False)
    return np.asarray(component)[wording]


def _expected_shares(
    messages: LabelledMessages, words: Words, is_known: Mask, disputed: Mask
) -> NDArray[np.float64]:
    """(vocabulary,): the expected share of disputed labels among messages with each word."""
    error = (messages.known_disputed.sum() + 1) / (len(messages.known_disputed) + 1)
    known = words.messages_with(is_known)
    known_wrong = words.messages_with(is_known & disputed)
    smoothed = (known_wrong + PRIOR_MESSAGES * error) / (known + PRIOR_MESSAGES)
    return np.maximum(error, smoothed)


def _excess(name: str, what: str, known: Mask, new: Mask, params: Params) -> Check:
    """Whether more labels are disputed in `new` than in `known`: Fisher's test, one-sided."""
    wrong = np.array([known.sum(), new.sum()], np.int64)
    rows = np.array([len(known), len(new)], np.int64)
    old_share, new_share = wrong / rows
    low, high = effect_sizes.newcombe_interval(wrong, rows)
    return Check(
        name=name,
        measure="difference of shares",
        effect=float(new_share - old_share),
        low=low,
        high=high,
        p_value=float(stats.hypergeom.sf(wrong[1] - 1, rows.sum(), wrong.sum(), rows[1])),
        sentence=f"{new_share:.1%} of the {what} are disputed, against {old_share:.1%}",
        matters=bool(new_share - old_share >= params.smallest_excess),
        n=int(rows[1]),
    )
