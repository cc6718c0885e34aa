"""A model's decision comes from val alone, and other messages are labelled by it."""

import numpy as np
import pandas as pd

from pipeline.core.reports import Figure
from pipeline.models.calibration import calibrate, fit_decision
from pipeline.models.scoring import calibrated_model


def drawn_messages(seed, ham, spam):
    """Messages whose text is their score, which mostly separates the labels."""
    random = np.random.default_rng(seed)
    is_spam = random.permutation(np.arange(ham + spam) < spam)
    score = np.clip(0.3 + 0.4 * is_spam + 0.2 * random.normal(size=ham + spam), 0.01, 0.99)
    return pd.DataFrame({"text": score.astype(str), "label": np.where(is_spam, "spam", "ham")})


def score(texts):
    return np.array([float(text) for text in texts], np.float32)


VAL = drawn_messages(1, ham=61, spam=29)
TEST = drawn_messages(2, ham=43, spam=17)
MODEL = calibrated_model(score, VAL, lost_ham_budget=0.05)


def test_the_decision_is_fitted_on_val():
    is_spam = (VAL["label"] == "spam").to_numpy()
    assert MODEL.decision == fit_decision(is_spam, score(VAL["text"]), 0.05)
    turned = VAL.assign(label=np.where(is_spam, "ham", "spam"))
    assert calibrated_model(score, turned, lost_ham_budget=0.05).decision != MODEL.decision


def test_predictions_are_calibrated_and_cut_at_the_threshold():
    predictions = MODEL.predictions(TEST)
    assert predictions.y_true.tolist() == (TEST["label"] == "spam").tolist()
    expected = calibrate(score(TEST["text"]), MODEL.decision)
    assert predictions.y_score.tolist() == expected.tolist()
    assert predictions.y_pred.tolist() == (expected >= MODEL.decision.threshold).tolist()


def test_decision_figures_say_what_val_loses():
    lost = MODEL.decision.ham_lost / 61
    assert 0 < lost < MODEL.decision.lost_ham_upper
    assert MODEL.decision_figures() == {
        "threshold": Figure(MODEL.decision.threshold),
        "val_ham_lost": Figure(lost, high=MODEL.decision.lost_ham_upper, n=61),
    }
