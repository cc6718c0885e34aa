"""Estimates the performance on served messages without labels, by model version and by source.

FOLDER is a log of predictions, as `python -m pipeline serve --log FOLDER` writes it. The share of
ham lost and the recall follow from the calibrated probabilities. They are right if these are: a
new kind of spam that the model takes for ham is not seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from pipeline.core.cli import argument_parser
from pipeline.core.errors import clean_line
from pipeline.core.reports import Figure
from pipeline.evaluation.slices import source_name
from pipeline.monitoring.predictions import UNNAMED_SOURCE, check_log, read_predictions

EXAMPLE = "python -m pipeline performance data/predictions"
PROBABILITY_BINS = 200  # of equal width
LABEL_DRAWS = 1_000
DRAW_SEED = 1
OTHER_SOURCES = "other"  # the sources with few messages, as clients may name any
FEWEST_MESSAGES = 50  # of a source with a line of its own
PERFORMANCE_COLUMNS = ("version", "source", "messages", "spam", "ham lost", "recall")

Draws = NDArray[np.int64]  # (LABEL_DRAWS,), number of spam messages in each draw of the labels


@dataclass(frozen=True)
class ExpectedPerformance:
    """What is expected of n messages without labels; values are None where nothing is expected.

    Attributes:
        ham_lost: share of the ham that is labelled spam.
        recall: share of the spam that is labelled spam.
    """

    ham_lost: Figure
    recall: Figure


def expected_performance(probability: ArrayLike, is_spam: ArrayLike) -> ExpectedPerformance:
    """The expected ham lost and recall of labels, each with a 95 % interval.

    A message with probability p of spam counts as p spam messages and 1 - p ham messages, and each
    value is the ratio of the expected counts.

    The interval holds the realised ratio of these messages in 95 % of all draws of their true
    labels, if the probabilities are calibrated. The counts of a ratio are independent
    Poisson-binomial variables, often of few expected messages, where a normal approximation fails;
    so they are drawn. Messages of one of PROBABILITY_BINS are drawn together, with their mean
    probability, which keeps the means and makes the variances at most 6e-6 per message larger.

    Source: NannyML, Confidence-based Performance Estimation (CBPE),
    https://nannyml.readthedocs.io/en/stable/how_it_works/performance_estimation.html; Hong 2013,
    On computing the distribution function for the Poisson binomial distribution.

    Args:
        probability: (n,), calibrated probability of spam of each message.
        is_spam: (n,), whether the message was labelled spam.
    """
    p, labelled = np.asarray(probability, np.float64), np.asarray(is_spam, np.bool_)
    random = np.random.default_rng(DRAW_SEED)
    caught = _draw_spam(p[labelled], random)
    missed = _draw_spam(p[~labelled], random)
    lost = labelled.sum() - caught
    kept = (~labelled).sum() - missed
    return ExpectedPerformance(
        ham_lost=_expected_ratio((1 - p)[labelled].sum(), (1 - p)[~labelled].sum(), lost, kept),
        recall=_expected_ratio(p[labelled].sum(), p[~labelled].sum(), caught, missed),
    )


def _draw_spam(p: NDArray[np.float64], random: np.random.Generator) -> Draws:
    bins = np.minimum((p * PROBABILITY_BINS).astype(np.int64), PROBABILITY_BINS - 1)
    counts = np.bincount(bins, minlength=PROBABILITY_BINS)
    sums = np.bincount(bins, p, minlength=PROBABILITY_BINS)
    used = counts > 0
    means = np.clip(sums[used] / counts[used], 0, 1)
    return random.binomial(counts[used], means, (LABEL_DRAWS, used.sum())).sum(axis=1)


def _expected_ratio(positive: float, negative: float, positives: Draws, negatives: Draws) -> Figure:
    """positive / (positive + negative), with the interval of the same ratio of the draws."""
    totals = positives + negatives
    ratios = positives[totals > 0] / totals[totals > 0]
    if not len(ratios):
        return Figure(None)
    low, high = np.quantile(ratios, [0.025, 0.975], method="inverted_cdf")
    return Figure(float(positive / (positive + negative)), float(low), float(high))


# ---- a log


def logged_performance(folder: Path, since: datetime, version: str | None) -> ExpectedPerformance:
    """The expected performance of one version on the messages of a log, of which none may exist.

    Args:
        since: UTC; messages that were scored before are left out.

    Raises: PipelineError.
    """
    predictions = read_predictions(folder, ["model_version", "probability", "label"], since)
    return _of_predictions(predictions[predictions["model_version"] == version])


def _of_predictions(predictions: pd.DataFrame) -> ExpectedPerformance:
    return expected_performance(predictions["probability"], predictions["label"] == "spam")


def performance_table(predictions: pd.DataFrame) -> list[Sequence[str]]:
    """A line of texts for each version and source, below their names.

    Args:
        predictions: columns `model_version`, `source`, `probability` and `label`.
    """
    version = predictions["model_version"]
    source = source_name(predictions.fillna({"source": UNNAMED_SOURCE}))
    is_rare = source.groupby([version, source]).transform("size") < FEWEST_MESSAGES
    source = source.mask(is_rare, OTHER_SOURCES)
    lines: list[Sequence[str]] = [PERFORMANCE_COLUMNS]
    groups: list[Any] = list(predictions.groupby([version, source]))
    groups.sort(key=lambda group: (len(group[0][0]), group[0]))  # version 2 before version 10
    for (number, name), rows in groups:
        expected = _of_predictions(rows)
        labelled = (rows["label"] == "spam").sum()
        figures = percent_text(expected.ham_lost), percent_text(expected.recall)
        lines.append((number, clean_line(name), f"{len(rows):,}", f"{labelled:,}", *figures))
    return lines


def percent_text(figure: Figure) -> str:
    """Such as `1.2% [0.8%, 1.7%]`, or `none`."""
    if figure.value is None:
        return "none"
    return f"{figure.value:.1%} [{figure.low:.1%}, {figure.high:.1%}]"


# ---- the command


def main(argv: list[str] | None = None) -> None:
    """Runs the command."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a log of predictions")
    folder = parser.parse_args(argv).folder
    check_log(folder)
    columns = ["model_version", "source", "probability", "label"]
    for line in performance_table(read_predictions(folder, columns)):
        print("{:>7}  {:20}  {:>10}  {:>10}  {:24}  {}".format(*line))
