"""A model's decision comes from val alone, and other messages are labelled by it."""

import numpy as np
import pandas as pd

from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import is_spam
from pipeline.models.calibration import calibrate, fit_decision
from pipeline.models.scoring import calibrated_model
from tests.harness.predictions import noisy_predictions


def drawn_messages(seed, n):
    """Messages whose text is their score, which mostly separates the labels."""
    drawn = noisy_predictions(seed, n=n, ham_share=0.7, decimals=6)
    labels = np.where(drawn.y_true, "spam", "ham")
    return pd.DataFrame({"text": drawn.y_score.astype(str), "label": labels})


def score(texts):
    return np.array([float(text) for text in texts], np.float32)


VAL, TEST = drawn_messages(1, n=90), drawn_messages(2, n=60)
MODEL = calibrated_model(score, VAL, lost_ham_budget=0.1)


def test_messages_are_labelled_by_the_decision_of_val():
    assert MODEL.decision == fit_decision(is_spam(VAL), score(VAL["text"]), 0.1)
    predictions = MODEL.predictions(TEST)
    expected = calibrate(score(TEST["text"]), MODEL.decision)
    assert predictions.y_true.tolist() == is_spam(TEST).tolist()
    assert predictions.y_score.tolist() == expected.tolist()
    assert predictions.y_pred.tolist() == (expected >= MODEL.decision.threshold).tolist()


def test_decision_figures_say_what_val_loses():
    ham = int((VAL["label"] == "ham").sum())
    lost = MODEL.decision.ham_lost / ham
    assert 0 < lost < MODEL.decision.lost_ham_upper
    assert MODEL.decision_figures() == {
        "threshold": Figure(MODEL.decision.threshold),
        "val_ham_lost": Figure(lost, high=MODEL.decision.lost_ham_upper, n=ham),
    }
