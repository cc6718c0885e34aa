"""Predictions with known or drawn errors."""

import numpy as np

from pipeline.evaluation.metrics import Predictions


def confusion(*, tp, fp, fn, tn):
    """Predictions with this confusion matrix; what is labelled spam scores 0.9, the rest 0.1."""
    y_true = np.repeat([True, False, True, False], [tp, fp, fn, tn])
    y_pred = np.repeat([True, True, False, False], [tp, fp, fn, tn])
    return Predictions(y_true=y_true, y_score=np.where(y_pred, 0.9, 0.1), y_pred=y_pred)


def noisy_predictions(seed, *, n=301, ham_share=0.8, decimals=1):
    """Predictions with errors; with few decimals, many scores are equal, 0 or 1."""
    rng = np.random.default_rng(seed)
    y_true = rng.random(n) > ham_share
    noisy = 0.3 + 0.4 * y_true + 0.3 * rng.normal(size=n)
    y_score = np.clip(np.round(noisy, decimals), 0, 1)
    return Predictions(y_true=y_true, y_score=y_score, y_pred=y_score >= 0.5)
