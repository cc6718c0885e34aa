"""A model's decisions come from val and calibration messages; others are labelled by them."""

from dataclasses import asdict, replace

import numpy as np
import pandas as pd

from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import is_spam
from pipeline.models import served_model
from pipeline.models.calibration import Budgets, Scored, fit_decision, fit_decisions
from pipeline.models.scoring import calibrated_model
from tests.harness.errors import error_of
from tests.harness.predictions import noisy_predictions


def drawn_messages(seed, n):
    """Messages whose text is their score, which mostly separates the labels."""
    drawn = noisy_predictions(seed, n=n, ham_share=0.7, decimals=6)
    labels = np.where(drawn.y_true, "spam", "ham")
    texts = drawn.y_score.astype(str)
    return pd.DataFrame({"text": texts, "label": labels, "source": "sms"})


def score(texts):
    return np.array([float(text) for text in texts], np.float32)


VAL, TEST, OTHER = drawn_messages(1, n=90), drawn_messages(2, n=60), drawn_messages(3, n=80)
OTHER = OTHER.assign(source="chat").drop_duplicates("text")
BUDGETS = Budgets(lost_ham_budget=0.1, source_budgets={"chat": 0.2})
MODEL = calibrated_model(score, VAL, OTHER, BUDGETS)


def scored(messages):
    return Scored(is_spam(messages), score(messages["text"]))


def test_decisions_are_those_of_val_and_of_the_calibration_messages():
    alone = fit_decisions(scored(VAL), np.array(["sms"] * 90, object), BUDGETS)
    chat = fit_decision(scored(OTHER), 0.2)
    assert MODEL.decisions == replace(alone, sources={**alone.sources, "chat": chat})
    assert set(MODEL.decisions.sources) == {"sms", "chat"}
    twice = calibrated_model(score, VAL, pd.concat([OTHER, OTHER]), BUDGETS)
    assert twice.decisions == MODEL.decisions


def test_network_that_serves_decides_on_calibration_messages_alone():
    def served(texts):
        return 1 - score(texts) ** 2

    model = calibrated_model(score, VAL, OTHER, BUDGETS, served=served)
    sources = MODEL.decisions.sources
    chat = fit_decision(Scored(is_spam(OTHER), served(OTHER["text"])), 0.2)
    assert chat != sources["chat"]
    assert model.decisions == replace(MODEL.decisions, sources={**sources, "chat": chat})


def test_a_calibration_that_is_too_small_for_its_budget_is_named():
    strict = BUDGETS.model_copy(update={"source_budgets": {"chat": 0.01}})
    line = error_of(calibrated_model, score, VAL, OTHER, strict)
    place = "data/inbox/calibration/chat: params.yaml: evaluate.lost_ham_budget"
    assert line.startswith(f"{place}: 0.01 needs 99 ham, there are ")


def test_messages_get_the_answers_of_the_served_model():
    messages = pd.concat([TEST, TEST.assign(source="chat/a")], ignore_index=True)
    expected = served_model.answers(
        score(messages["text"]), messages["source"], asdict(MODEL.decisions)
    )
    predictions = MODEL.predictions(messages)
    assert predictions.y_true.tolist() == is_spam(messages).tolist()
    assert predictions.y_score.tolist() == expected["probability"].tolist()
    assert predictions.y_pred.tolist() == (expected["label"] == "spam").tolist()
    assert MODEL.confident(messages).tolist() == expected["confident"].tolist()
    assert 0 < expected["confident"].sum() < len(messages)
    unnamed = served_model.answers(score(TEST["text"]), [None] * 60, asdict(MODEL.decisions))
    assert MODEL.probabilities(TEST["text"]).tolist() == unnamed["probability"].tolist()


def test_decision_figures_say_what_val_loses():
    figures = MODEL.decision_figures()
    sms = MODEL.decisions.sources["sms"]
    lost = sms.ham_lost / sms.ham
    assert 0 < lost < sms.lost_ham_upper
    assert figures["sources.sms.threshold"] == Figure(sms.threshold)
    assert figures["sources.sms.val_ham_lost"] == Figure(lost, high=sms.lost_ham_upper, n=sms.ham)
    caught = Figure(sms.spam_caught / sms.spam, n=sms.spam)
    assert figures["sources.sms.val_spam_caught"] == caught
    assert figures["threshold"] == Figure(MODEL.decisions.threshold)
    assert {name.split(".")[1] for name in figures if "." in name} == {"sms", "chat"}


def test_out_of_fold_scores_count_as_those_of_val():
    rest = TEST.assign(score=score(TEST["text"]))
    model = calibrated_model(score, VAL, OTHER[:0], BUDGETS, rest)
    both = pd.concat([VAL, TEST])
    assert model.decisions == calibrated_model(score, both, OTHER[:0], BUDGETS).decisions
    assert model.decisions.ham > MODEL.decisions.ham
