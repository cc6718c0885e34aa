"""The linear baseline: a linear SVM on TF-IDF of words and characters."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from pipeline.models.calibration import sigmoid

DEFAULT_FOLDS = 5


def baseline() -> Any:
    """The unfitted scikit-learn pipeline: the best model without a network that we measured."""
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char"),
        ),
        LinearSVC(random_state=0),
    )


def baseline_scorer(
    texts: Sequence[str], labels: NDArray[np.bool_]
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """Fits the baseline; returns the function from m texts to their scores (m,) in (0, 1).

    A score is the sigmoid of the SVM's margin, higher for spam. It is not calibrated.

    Args:
        labels: (n,), True for spam.
    """
    model = baseline().fit(list(texts), labels)

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        if not len(texts):
            return np.zeros(0)
        return sigmoid(model.decision_function(list(texts)))

    return score


def out_of_fold_scores(
    texts: Sequence[str],
    labels: NDArray[np.bool_],
    groups: ArrayLike,
    folds: int = DEFAULT_FOLDS,
) -> NDArray[np.float64]:
    """(n,): each text's score, by a baseline fitted without that text and its whole group.

    Args:
        labels: (n,), True for spam; the folds are stratified by them.
        groups: (n,), the group of each text, such as its campaign.
    """
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    margins = cross_val_predict(
        baseline(), list(texts), labels, groups=groups, cv=split, method="decision_function"
    )
    return sigmoid(margins)
