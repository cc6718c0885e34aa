"""From texts to scores, probabilities and labels, by the code that serves."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from pipeline.core.files import write_json
from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import Predictions, Scorer, Scores, is_spam
from pipeline.models import keras_files
from pipeline.models.calibration import Decision, calibrate, fit_decision, label
from pipeline.models.served_model import SpamDetector


def network_scorer(tokenizer: dict[str, Any], network: keras.Model) -> Scorer:
    """Scores texts as the served model does: the same code, tokenizer file and SavedModel.

    Args:
        tokenizer: the content of `models/tokenizer.json`.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer_file = Path(folder) / "tokenizer.json"
        write_json(tokenizer_file, tokenizer)
        saved_model = Path(folder) / "network"
        keras_files.export(network, saved_model)
        detector = SpamDetector().load(tokenizer_file, saved_model)
    return lambda texts: detector.scores(list(texts))


@dataclass(frozen=True)
class CalibratedModel:
    """A scorer with the decision that was made on val."""

    score: Scorer
    decision: Decision

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """(n,): the calibrated probability of spam of each text."""
        return calibrate(self.score(texts), self.decision)

    def predictions(self, messages: pd.DataFrame) -> Predictions:
        """The probability and label of each message, beside its true label.

        Args:
            messages: columns text and label.
        """
        probability = self.probabilities(messages["text"].tolist())
        return Predictions(
            y_true=is_spam(messages), y_score=probability, y_pred=label(probability, self.decision)
        )

    def decision_figures(self) -> dict[str, Figure]:
        """The threshold, and the share of val's ham that it loses, with its upper bound."""
        decision = self.decision
        ham_lost = decision.ham_lost / decision.ham
        return {
            "threshold": Figure(decision.threshold),
            "val_ham_lost": Figure(ham_lost, high=decision.lost_ham_upper, n=decision.ham),
        }


def calibrated_model(score: Scorer, val: pd.DataFrame, lost_ham_budget: float) -> CalibratedModel:
    """Calibrates the scores and chooses the threshold on val, by the same rule for every model.

    Raises: PipelineError if val has too few messages for the budget.
    """
    decision = fit_decision(is_spam(val), score(val["text"].tolist()), lost_ham_budget)
    return CalibratedModel(score=score, decision=decision)
