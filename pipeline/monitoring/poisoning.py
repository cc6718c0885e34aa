"""Asks whether new labelled messages were tampered with: `python -m pipeline poisoning REFERENCE NEW`.

What each check finds is corrected for their number and goes to poisoning.json, for programs, and
poisoning.html, for a person. Both lie in data/review/ unless told otherwise.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse, stats

from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.tables import read_csv
from pipeline.models import baseline
from pipeline.monitoring import effect_sizes, html_report
from pipeline.monitoring.checks import Check, holm, judge, verdict, write_json
from pipeline.preprocessing import near_duplicates, profile
from pipeline.registry import versions
from pipeline.sources import readers

log = logging.getLogger(__name__)

Mask = NDArray[np.bool_]  # (n,), some of the messages
CONFUSION = Path(
    "reports/plots/confusion.csv"
)  # the errors of the model that was evaluated last, on test
LABELS = ("ham", "spam")
PRIOR = 20  # messages of the model's whole error that a word's own known error is weighed against
SHOWN = ("source", "row", "label", "text")  # of a disputed message, on the page


@dataclass(frozen=True)
class Params:
    alpha: float  # chance of any alarm where nobody tampered, over all checks together
    campaign_share: float  # of the new messages: what one campaign may have
    fewest_rows: int  # messages that either set must have, and a source, before it is asked
    fewest_messages: int  # new ones that hold a word, before it is tried
    smallest_excess: float  # of disputed labels over what is known; what is less matters to nobody

    def __post_init__(self) -> None:
        if not (
            0 < self.alpha < 1 and 0 < self.campaign_share < 1 and 0 <= self.smallest_excess < 1
        ):
            raise ValueError("alpha, campaign_share and smallest_excess must be shares below 1")
        if min(self.fewest_rows, self.fewest_messages) < 1:
            raise ValueError("fewest_rows and fewest_messages must be 1 or more")


@dataclass(frozen=True)
class Judged:
    """Labelled messages, and which of their labels a model disputes that never saw them."""

    texts: list[str]
    spam: Mask
    source: NDArray[np.object_]  # (n,)
    disputed: Mask
    known_spam: Mask  # the labels of the messages by which the model's error is known
    known_disputed: Mask
    known_texts: list[str]  # of those messages, or none where they are not at hand


# ---- the checks


def campaign(judged: Judged, params: Params) -> list[Check]:
    """The share that the largest campaign has of the new messages."""
    rows = len(judged.texts)
    largest = int(np.bincount(campaigns(judged.texts)).max())
    p_value = float(stats.binom.sf(largest - 1, rows, params.campaign_share))
    interval = stats.binomtest(largest, rows).proportion_ci(method="exact")
    share = largest / rows
    return [
        Check(
            "campaign",
            "share of the messages",
            share,
            float(interval.low),
            float(interval.high),
            p_value,
            f"one campaign has {share:.1%} of the new messages; {params.campaign_share:.1%} are allowed",
            matters=share > params.campaign_share,
            n=rows,
        )
    ]


def labels(judged: Judged, params: Params) -> list[Check]:
    """The share of disputed labels against the model's known error, of either label."""
    found = []
    for is_spam, label in enumerate(LABELS):
        known, new = judged.known_spam == is_spam, judged.spam == is_spam
        if known.any() and new.any():
            held = _held(judged.known_disputed[known], judged.disputed[new])
            found.append(
                _excess(f"labels.{label}", held, f"of the labels {label} a model disputes", params)
            )
    return found


def sources(judged: Judged, params: Params) -> list[Check]:
    """The share of disputed labels of each source of enough messages, against that of the others."""
    found = []
    for source in sorted(set(judged.source)):
        own = judged.source == source
        if min(own.sum(), (~own).sum()) >= params.fewest_rows:
            held = _held(judged.disputed[~own], judged.disputed[own])
            found.append(
                _excess(
                    f"sources.{source}", held, f"of the labels of {source} a model disputes", params
                )
            )
    return found


def terms(judged: Judged, params: Params) -> list[Check]:
    """The word whose messages have the most disputed labels, against the model's known error with it."""
    words = profile.words_of([*judged.known_texts, *judged.texts])
    old = np.arange(len(judged.known_texts) + len(judged.texts)) < len(judged.known_texts)
    wrong = np.concatenate([judged.known_disputed[: old.sum()], judged.disputed])
    held, disputed = (words.messages_with(rows) for rows in (~old, ~old & wrong))
    tried = np.flatnonzero(held >= params.fewest_messages)
    if not len(tried):
        return []
    error = (judged.known_disputed.sum() + 1) / (len(judged.known_disputed) + 1)
    known_held, known_wrong = (words.messages_with(rows)[tried] for rows in (old, old & wrong))
    known = np.maximum(error, (known_wrong + PRIOR * error) / (known_held + PRIOR))
    p_values = holm(stats.binom.sf(disputed[tried] - 1, held[tried], known).tolist())
    best = min(range(len(tried)), key=lambda i: (p_values[i], words.vocabulary[tried[i]]))
    k, n, word = int(disputed[tried[best]]), int(held[tried[best]]), words.vocabulary[tried[best]]
    interval = stats.binomtest(k, n).proportion_ci(method="exact")
    return [
        Check(
            "terms",
            "share of disputed labels",
            k / n,
            float(interval.low),
            float(interval.high),
            p_values[best],
            f"of {n} messages with {word!r} the labels of {k} are disputed; {known[best]:.1%} are expected",
            matters=bool(k / n >= known[best] + params.smallest_excess),
            n=n,
        )
    ]


CHECKS: dict[str, Callable[[Judged, Params], list[Check]]] = {
    "campaign": campaign,
    "labels": labels,
    "sources": sources,
    "terms": terms,
}


def compare(judged: Judged, params: Params) -> list[Check]:
    """The judged checks."""
    return judge([one for check in CHECKS.values() for one in check(judged, params)], params.alpha)


# ---- what the checks share


def campaigns(texts: Sequence[str]) -> NDArray[np.int64]:
    """(n,): the number of each text's campaign: equal keys and near-copies, and what they join."""
    wordings, wording = near_duplicates.wordings(texts)
    _, key = np.unique(near_duplicates.campaign_keys(wordings), return_inverse=True)
    near = near_duplicates.near_copies(wordings)
    first = {k: i for i, k in reversed(list(enumerate(key)))}  # the first wording of each key
    crowded = [(crowd[0], i) for crowd in near.crowds for i in crowd]
    edges = np.array([*near.pairs, *crowded, *((first[k], i) for i, k in enumerate(key))], np.int64)
    shape = (len(wordings), len(wordings))
    graph = sparse.coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=shape)
    return np.asarray(sparse.csgraph.connected_components(graph, directed=False)[1])[wording]


def _held(known: Mask, new: Mask) -> NDArray[np.int64]:
    """(2, 2): disputed labels and messages, the known ones first."""
    return np.array([[known.sum(), len(known)], [new.sum(), len(new)]], np.int64)


def _excess(name: str, held: NDArray[np.int64], claim: str, params: Params) -> Check:
    """Whether more labels are disputed than are known to be: Fisher's exact test, one-sided."""
    (wrong, rows), share = held.T, held[:, 0] / held[:, 1]
    p_value = float(stats.hypergeom.sf(wrong[1] - 1, rows.sum(), wrong.sum(), rows[1]))
    low, high = effect_sizes.newcombe(wrong, rows)
    return Check(
        name,
        "difference of shares",
        float(share[1] - share[0]),
        low,
        high,
        p_value,
        f"{share[1]:.1%} {claim}, against {share[0]:.1%}",
        matters=bool(share[1] - share[0] >= params.smallest_excess),
        n=int(rows[1]),
    )


def judge_by_reference(reference: pd.DataFrame, new: pd.DataFrame) -> Judged:
    """The labels of the new messages beside a linear model of the reference, whose error is out of fold."""
    known, spam = reference["text"].tolist(), _spam(reference)
    folds = baseline.out_of_fold_scores(known, spam, near_duplicates.campaign_keys(known))
    scores = baseline.baseline_scorer(known, spam)(new["text"].tolist())
    return judged(new, scores > 0.5, spam, folds > 0.5, known)


def judge_by_champion(new: pd.DataFrame) -> Judged:
    """The labels of the new messages beside the champion's, whose error is that on test."""
    table = read_csv(CONFUSION)
    model, _ = versions.load_champion()
    answer = model.predict(pd.DataFrame({"text": new["text"].tolist()}, dtype="str"))
    known, said = (np.array(table[name]) == "spam" for name in ("actual", "predicted"))
    return judged(new, (answer["label"] == "spam").to_numpy(np.bool_), known, said)


def judged(
    new: pd.DataFrame,
    said: Mask,
    known: Mask,
    known_said: Mask,
    known_texts: list[str] | None = None,
) -> Judged:
    """The new messages, which the model says are spam, and the ones that its error is known by."""
    spam, source = _spam(new), new["source"].to_numpy(object)
    texts = new["text"].tolist()
    return Judged(texts, spam, source, said != spam, known, known_said != known, known_texts or [])


def _spam(messages: pd.DataFrame) -> Mask:
    return (messages["label"] == "spam").to_numpy(np.bool_)


# ---- the command


def read(path: Path, params: Params) -> pd.DataFrame:
    """The messages of a file that have text and label. Raises: PipelineError, also for too few of them."""
    messages = readers.read_messages(path)
    held = messages[messages["text"].notna() & messages["label"].isin(LABELS)].reset_index(
        drop=True
    )
    if not enough(held, params):
        fewest = min(held["label"].eq(label).sum() for label in LABELS)
        raise PipelineError(
            f"{path}: {len(held):,} labelled messages, {fewest:,} of one label, where poisoning.fewest_rows "
            f"asks for {params.fewest_rows:,}, {baseline.FOLDS} of each label; bring more"
        )
    return held


def enough(messages: pd.DataFrame, params: Params) -> bool:
    """Whether so many labelled messages can be asked about."""
    fewest = min(messages["label"].eq(label).sum() for label in LABELS)
    return len(messages) >= params.fewest_rows and fewest >= baseline.FOLDS


def ask(judged: Judged, new: pd.DataFrame, folder: Path, params: Params) -> list[Check]:
    """The judged checks, which also stand in `poisoning.json` and `poisoning.html` of the folder."""
    checks = compare(judged, params)
    lead = f"{len(new):,} new messages: {verdict(checks)}."
    shown = new.loc[judged.disputed, list(SHOWN)].head(100)
    table = {"Disputed labels": (SHOWN, shown.to_numpy(object).tolist())}
    write_json(folder / "poisoning.json", len(new), checks)
    html_report.write_html(folder / "poisoning.html", "Poisoning", lead, checks, table)
    log.info("poisoning: %s", lead)
    return checks


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("reference", type=Path, help="messages whose labels are trusted")
    parser.add_argument("new", type=Path, help="labelled messages to hold against them")
    parser.add_argument(
        "--champion", action="store_true", help="ask the model in service, not one of the reference"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/review"),
        metavar="FOLDER",
        help="default: data/review",
    )
    arguments = parser.parse_args(argv)
    params = read_params(Params, "poisoning")
    reference, new = read(arguments.reference, params), read(arguments.new, params)
    judged = judge_by_champion(new) if arguments.champion else judge_by_reference(reference, new)
    ask(judged, new, arguments.output, params)
