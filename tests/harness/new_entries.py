"""A pytest plugin that adds to registries what README tells: a function and an entry each."""

import keras
import numpy as np

from pipeline.evaluation.metrics import METRICS, Metric, Predictions
from pipeline.evaluation.slices import SLICES
from pipeline.models.architectures import MODELS, NetworkParams


def specificity(predictions: Predictions) -> float:
    """tn / (tn + fp); 0 without ham, where other metrics are nan."""
    return float(np.mean(~predictions.y_pred[~predictions.y_true])) if predictions.ham else 0.0


def gru(tokens: list[str], params: NetworkParams) -> keras.Model:
    """A network that has no name and not the head of the article's."""
    token_ids = keras.layers.Input((None,), dtype="int32")
    embedding = keras.layers.Embedding(len(tokens), params.embedding_dim, mask_zero=True)
    state = keras.layers.GRU(params.units)(embedding(token_ids))
    return keras.Model(token_ids, keras.layers.Dense(1, activation="sigmoid")(state))


METRICS["specificity"] = Metric(specificity, greater_is_better=True)
SLICES["questions"] = lambda texts: texts.str.contains("?", regex=False)
MODELS["gru"] = gru
