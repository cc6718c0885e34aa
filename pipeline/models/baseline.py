"""The linear model beside ours: TF-IDF of words and characters, and a linear SVM."""

from collections.abc import Callable, Sequence
from typing import Any
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC


FOLDS = 5


def baseline() -> Any:
    """The model, unfitted.

    Source: the strongest of the peers that need no network, by our own measurement.
    """
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char"),
        ),
        LinearSVC(random_state=0),
    )


def baseline_scorer(
    train: Sequence[str], labels: NDArray[np.bool_]
) -> Callable[[Sequence[str]], NDArray[np.float64]]:
    """Fits the model. Returns what gives texts their scores in (0, 1), (n,); higher is more like spam.

    The sigmoid of the SVM's margin, to be calibrated on val as the network's score is.
    """
    model = baseline().fit(list(train), labels)

    def score(texts: Sequence[str]) -> NDArray[np.float64]:
        return _sigmoid(model.decision_function(list(texts))) if len(texts) else np.zeros(0)

    return score


def out_of_fold_scores(
    texts: Sequence[str], labels: NDArray[np.bool_], groups: ArrayLike, folds: int = FOLDS
) -> NDArray[np.float64]:
    """(n,): each text's score in (0, 1) by a model that saw neither it nor any other text of its group.

    Of the SVM's margin as above; folds share the labels as evenly as groups let them.
    """
    split = StratifiedGroupKFold(folds, shuffle=True, random_state=0)
    margins = cross_val_predict(
        baseline(), list(texts), labels, groups=groups, cv=split, method="decision_function"
    )
    return _sigmoid(margins)


def _sigmoid(margins: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-margins)))
