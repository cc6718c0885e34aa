"""From texts to scores, probabilities and labels, by the code that serves."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import keras
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.core.reports import Figure
from pipeline.evaluation.metrics import Labels, Predictions, Scorer, Scores, is_spam
from pipeline.evaluation.slices import source_name
from pipeline.models import keras_files, served_model
from pipeline.models.calibration import (
    Budgets,
    Decision,
    Scored,
    SourceDecisions,
    fit_decision,
    fit_decisions,
)


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
        detector = served_model.SpamDetector().load(tokenizer_file, saved_model)
    return lambda texts: detector.scores(list(texts))


@dataclass(frozen=True)
class CalibratedModel:
    """A scorer with the decisions that were made on val; it answers as the served model does."""

    score: Scorer
    decisions: SourceDecisions

    def answers(self, texts: Sequence[str], sources: Sequence[object]) -> pd.DataFrame:
        """The columns of the served model's answer.

        Args:
            sources: (n,), the name of each text's source, or None.
        """
        return served_model.answers(self.score(texts), sources, asdict(self.decisions))

    def probabilities(self, texts: Sequence[str]) -> Scores:
        """(n,): the calibrated probability of spam of each text, of an unknown source."""
        return self.answers(texts, [None] * len(texts))["probability"].to_numpy(copy=True)

    def predictions(self, messages: pd.DataFrame) -> Predictions:
        """The probability and label of each message, by the decision of its source.

        Args:
            messages: columns text, label and source.
        """
        answers = self.answers(messages["text"].tolist(), messages["source"].tolist())
        return Predictions(
            y_true=is_spam(messages),
            y_score=answers["probability"].to_numpy(copy=True),
            y_pred=(answers["label"] == "spam").to_numpy(),
        )

    def confident(self, messages: pd.DataFrame) -> Labels:
        """(n,): whether the label of each message is confident. Args: as `predictions`."""
        answers = self.answers(messages["text"].tolist(), messages["source"].tolist())
        return answers["confident"].to_numpy()

    def decision_figures(self) -> dict[str, Figure]:
        """The thresholds, and the share of val's ham that each loses, with its upper bound."""
        figures = _decision_figures(self.decisions)
        for name, decision in self.decisions.sources.items():
            of_source = _decision_figures(decision).items()
            figures |= {f"sources.{name}.{figure}": value for figure, value in of_source}
        return figures


def _decision_figures(decision: Decision) -> dict[str, Figure]:
    ham_lost = decision.ham_lost / decision.ham
    return {
        "threshold": Figure(decision.threshold),
        "val_ham_lost": Figure(ham_lost, high=decision.lost_ham_upper, n=decision.ham),
        "val_spam_caught": Figure(decision.spam_caught / decision.spam, n=decision.spam),
    }


def calibrated_model(
    score: Scorer,
    val: pd.DataFrame,
    calibration: pd.DataFrame,
    budgets: Budgets,
    out_of_fold: pd.DataFrame | None = None,
    served: Scorer | None = None,
) -> CalibratedModel:
    """Calibrates the scores and chooses the thresholds on val, by the same rule for every model.

    Args:
        score: of the model that has not learned from val.
        val: columns text, label and source.
        calibration: the same columns, of sources that are not in val; for their decisions alone.
        out_of_fold: columns label, source and score, of rows that are used as those of val.
        served: scores of the network that serves, if it is another; `calibration` is as new to it.

    Raises: PipelineError if there are too few messages for a budget.
    """
    rows = val.assign(score=score(val["text"].tolist()))
    if out_of_fold is not None:
        rows = pd.concat([rows, out_of_fold], ignore_index=True)
    scored = Scored(is_spam(rows), rows["score"].to_numpy())
    decisions = fit_decisions(scored, source_name(rows).to_numpy(object), budgets)
    own = {
        str(name): _own_decision(str(name), _scored(served or score, messages), budgets)
        for name, messages in calibration.drop_duplicates(["source", "text"]).groupby("source")
    }
    return CalibratedModel(score, replace(decisions, sources=decisions.sources | own))


def _own_decision(name: str, scored: Scored, budgets: Budgets) -> Decision:
    try:
        return fit_decision(scored, budgets.of(name))
    except PipelineError as error:
        raise PipelineError(f"data/inbox/calibration/{name}: {error}") from None


def _scored(score: Scorer, messages: pd.DataFrame) -> Scored:
    return Scored(is_spam(messages), score(messages["text"].tolist()))
