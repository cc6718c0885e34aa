"""The linear model beside ours: TF-IDF of words and characters, and a linear SVM."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC


def baseline_scores(
    train: Sequence[str], labels: NDArray[np.bool_], *others: Sequence[str]
) -> list[NDArray[np.float64]]:
    """Scores in (0, 1), one array (n,) for each of the other lists of texts; higher is more like spam.

    The sigmoid of the SVM's margin, to be calibrated on val as the network's score is.
    Source: the strongest of the peers that need no network, by our own measurement.
    """
    model = make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char"),
        ),
        LinearSVC(random_state=0),
    )
    model.fit(list(train), labels)
    return [1 / (1 + np.exp(-model.decision_function(list(texts)))) for texts in others]
