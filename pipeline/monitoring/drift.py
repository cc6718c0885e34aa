"""Compares new messages with those that the model knows: `python -m pipeline drift REFERENCE NEW`.

What each check finds is corrected for their number and goes to drift.json, for programs, and drift.html, for
a person. Both lie in data/review/ unless told otherwise, since the page shows words of messages.
"""

import argparse
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.monitoring import effect_sizes, html_report
from pipeline.monitoring.checks import Check, holm, judge, verdict, write_json
from pipeline.monitoring.effect_sizes import Counts, Effect, Floats
from pipeline.preprocessing import near_duplicates, profile
from pipeline.preprocessing.profile import Described, Mask
from pipeline.sources import readers

log = logging.getLogger(__name__)

GAP = "Kolmogorov-Smirnov distance"
SETS = ("reference", "new")  # the order of every pair below
SHOWN = 20  # words on the page


@dataclass(frozen=True)
class Params:
    alpha: float  # chance of any alarm where nothing has changed, over all checks together
    fewest_rows: int  # messages that either set must have
    fewest_messages: int  # of both sets that hold a word, before it is tried
    classifier_rows: int  # messages of either set that the domain classifier sees, at most
    seed: int  # of those rows and of the classifier's halves
    smallest_effects: dict[str, float]  # by check: what is smaller matters to nobody

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise ValueError("alpha must be above 0 and below 1")
        if min(self.fewest_rows, self.fewest_messages, self.classifier_rows) < 10 or self.seed < 0:
            raise ValueError(
                "fewest_rows, fewest_messages, classifier_rows: 10 or more; seed: 0 or more"
            )
        if sorted(self.smallest_effects) != sorted(CHECKS):
            raise ValueError(f"smallest_effects must name {', '.join(CHECKS)}, and nothing else")


# ---- the checks: each is None where it has nothing to compare


def label_share(found: Described, params: Params) -> Check | None:
    """The spam share of the labelled messages."""
    rows = np.array([np.sum(found.rows(name) & found.labelled) for name in SETS])
    spam = np.array([[np.sum(found.rows(name) & found.labelled & found.spam)] for name in SETS])
    return (
        _strongest("label_share", ["spam"], spam, rows, params)
        if rows.min() >= params.fewest_rows
        else None
    )


def length(found: Described, params: Params) -> Check:
    """The distribution of lengths in characters."""
    old, new = (found.lengths[found.rows(name)] for name in SETS)
    sentence = f"median length {np.median(new):.0f} characters against {np.median(old):.0f}"
    return _check(
        "length", GAP, effect_sizes.distance(old, new), sentence, len(found.texts), params
    )


def script(found: Described, params: Params) -> Check | None:
    """The share of messages that hold a letter of a script: one letter is what a disguise swaps."""
    held = np.array([(found.letters[found.rows(name)] > 0).sum(axis=0) for name in SETS])
    return _strongest("script", found.scripts, held, _rows(found), params)


def unknown_words(found: Described, params: Params) -> Check:
    """The distribution of the share of a message's words that no other message of the reference holds."""
    unknown = profile.unknown_share(found.words, found.rows("reference"))
    old, new = (unknown[found.rows(name)] for name in SETS)
    sentence = f"{new.mean():.1%} of a message's words are unknown against {old.mean():.1%}"
    return _check(
        "unknown_words", GAP, effect_sizes.distance(old, new), sentence, len(found.texts), params
    )


def terms(found: Described, params: Params) -> Check | None:
    """The share of messages that hold a word, of every word that stands in enough of them."""
    words, held = _word_counts(found, params)
    return _strongest("terms", words, held, _rows(found), params)


def domain_classifier(found: Described, params: Params) -> Check | None:
    """How well a linear model tells the new messages from the others, on campaigns that it never saw.

    Fitted on one half of the campaigns and asked about the other, both ways.
    """
    rng = np.random.default_rng(params.seed)
    kept = np.concatenate(
        [_some(np.flatnonzero(found.rows(name)), params.classifier_rows, rng) for name in SETS]
    )
    texts, new = [found.texts[row] for row in kept], found.rows("new")[kept]
    _, campaign = np.unique(near_duplicates.campaign_keys(texts), return_inverse=True)
    half = (rng.permutation(campaign.max() + 1) % 2 == 1)[campaign]
    if not any(texts) or min(np.sum(a & b) for a in (half, ~half) for b in (new, ~new)) < 2:
        return None
    features = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 3), sublinear_tf=True
    ).fit_transform(texts)
    area = effect_sizes.auc(*(_domain_scores(features, new, fitted) for fitted in (half, ~half)))
    sentence = (
        f"a classifier tells new from known with an AUC of {area.value:.3f}; by chance it is 0.5"
    )
    return _check("domain_classifier", "AUC", area, sentence, len(kept), params)


CHECKS: dict[str, Callable[[Described, Params], Check | None]] = {
    "label_share": label_share,
    "length": length,
    "script": script,
    "unknown_words": unknown_words,
    "terms": terms,
    "domain_classifier": domain_classifier,
}


def compare(found: Described, params: Params) -> list[Check]:
    """The judged checks, without those that have nothing to compare."""
    checks = (check(found, params) for check in CHECKS.values())
    return judge([check for check in checks if check], params.alpha)


# ---- what the checks share


def _strongest(
    name: str, things: Sequence[str], held: Counts, rows: Counts, params: Params
) -> Check | None:
    """The thing whose share of messages differs most surely, first of those that differ enough.

    Its p is corrected for all that were tried, and its interval holds for all of them at once.
    """
    if not things:
        return None
    old, new = held / rows[:, None]
    p_values = holm(effect_sizes.fisher(held, rows).tolist())
    large = np.abs(new - old) >= params.smallest_effects[name]
    best = min(range(len(things)), key=lambda i: (not large[i], p_values[i], things[i]))
    low, high = effect_sizes.newcombe(held[:, best], rows, 1 - 0.05 / len(things))
    sentence = f"{things[best]} in {new[best]:.1%} of the messages against {old[best]:.1%}"
    more = int(np.sum(large & (np.array(p_values) < params.alpha))) - 1
    return Check(
        name,
        "difference of shares",
        float(new[best] - old[best]),
        low,
        high,
        p_values[best],
        f"{sentence}; {more:,} more of {len(things):,} differ" if more > 0 else sentence,
        matters=bool(large[best]),
        n=int(rows.sum()),
    )


def _check(name: str, measure: str, found: Effect, sentence: str, n: int, params: Params) -> Check:
    """An effect as a check."""
    matters = found.value >= params.smallest_effects[name]
    return Check(
        name, measure, found.value, found.low, found.high, found.p_value, sentence, matters, n
    )


def _domain_scores(features: Any, new: Mask, fitted: Mask) -> tuple[Floats, Floats]:
    """How much the rows not fitted, old and new, look like new ones to a model fitted on the others."""
    model = LogisticRegression(solver="liblinear", class_weight="balanced", random_state=0)
    scores = model.fit(features[fitted], new[fitted]).decision_function(features[~fitted])
    return scores[~new[~fitted]], scores[new[~fitted]]


def _word_counts(found: Described, params: Params) -> tuple[list[str], Counts]:
    """The words of enough messages, whichever set those are in, and (2, words): how many hold each."""
    held = np.array([found.words.messages_with(found.rows(name)) for name in SETS])
    tried = np.flatnonzero(held.sum(axis=0) >= params.fewest_messages)
    return [found.words.vocabulary[i] for i in tried], held[:, tried]


def _rows(found: Described) -> Counts:
    return np.array([found.rows(name).sum() for name in SETS], np.int64)


def _some(rows: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    return rows if len(rows) <= most else rng.choice(rows, most, replace=False)


# ---- the command


def read(path: Path, params: Params) -> pd.DataFrame:
    """The messages of a file, with or without labels. Raises: PipelineError, also for too few of them."""
    messages = readers.read_messages(path, labels=False)
    if len(messages) < params.fewest_rows:
        raise PipelineError(
            f"{path}: {len(messages):,} messages, where drift.fewest_rows asks for {params.fewest_rows:,}; "
            "bring more"
        )
    return messages


def tables(found: Described, params: Params) -> dict[str, html_report.Table]:
    """What the page shows below the checks: both sets' figures, and the words whose share differs most."""
    figures = profile.figures(found)
    both = [name.removeprefix("new.") for name in figures if name.startswith("new.")]
    words, held = _word_counts(found, params)
    share, p_values = (
        held / _rows(found)[:, None],
        holm(effect_sizes.fisher(held, _rows(found)).tolist()),
    )
    first = sorted(range(len(words)), key=lambda i: (p_values[i], words[i]))[:SHOWN]
    return {
        "Both sets": (
            ("figure", *SETS),
            [(name, *(figures[f"{of}.{name}"].value for of in SETS)) for name in both],
        ),
        "Words": (
            (
                "word",
                *(f"share of messages, {name}" for name in SETS),
                "p, corrected for all words",
            ),
            [(words[i], *share[:, i].tolist(), p_values[i]) for i in first],
        ),
    }


def ask(reference: pd.DataFrame, new: pd.DataFrame, folder: Path, params: Params) -> list[Check]:
    """The judged checks, which also stand in `drift.json` and `drift.html` of the folder."""
    found = profile.describe(dict(zip(SETS, (reference, new), strict=True)))
    checks = compare(found, params)
    write_json(folder / "drift.json", int(found.rows("new").sum()), checks)
    lead = f"{len(new):,} new messages against {len(reference):,}: {verdict(checks)}."
    if left_out := [name for name in CHECKS if name not in {check.name for check in checks}]:
        lead += f" Not asked, for want of labels, words or campaigns: {', '.join(left_out)}."
    html_report.write_html(folder / "drift.html", "Drift", lead, checks, tables(found, params))
    log.info("drift: %s", lead)
    return checks


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "reference", type=Path, help="messages that the model knows, as validate leaves them"
    )
    parser.add_argument("new", type=Path, help="messages to hold against them; they need no labels")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("data/review"),
        metavar="FOLDER",
        help="default: data/review",
    )
    arguments = parser.parse_args(argv)
    params = read_params(Params, "drift")
    reference, new = (read(path, params) for path in (arguments.reference, arguments.new))
    ask(reference, new, arguments.output, params)
