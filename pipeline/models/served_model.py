"""The one path from raw text to label: MLflow logs this file as the model, so it imports nothing of ours."""

import json
from pathlib import Path
from typing import Any
import mlflow
import numpy as np
import pandas as pd
import tensorflow as tf
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext
from numpy.typing import NDArray
from tokenizers import Tokenizer


BATCH = 64  # messages; a lone one does not pay for a batch
CLIP = 1e-7  # of the network's score, before its logit


class SpamDetector(PythonModel):  # type: ignore[misc] # MLflow has no types
    """Raw text in; label, probability and threshold out.

    Artifacts: `tokenizer` (a JSON file), `network` (a TensorFlow SavedModel from (n, t) token ids to
    (n, 1) scores) and `decision` (a JSON file with slope, intercept and threshold).
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Called by MLflow once, with the artifacts' paths."""
        self.load(*(Path(context.artifacts[name]) for name in ("tokenizer", "network", "decision")))

    def load(self, tokenizer: Path, network: Path, decision: Path | None = None) -> "SpamDetector":
        """Loads the parts; without a decision it can only give scores."""
        self.tokenizer = Tokenizer.from_file(str(tokenizer))
        self.saved = tf.saved_model.load(str(network))  # its functions live as long as it does
        any_shape = [tf.TensorSpec((None, None), tf.int32)]
        self.network = tf.function(lambda ids: self.saved.serve(ids)[:, 0], any_shape, jit_compile=True)
        self.decision = json.loads(decision.read_text(encoding="utf-8")) if decision else {}
        return self

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A table with columns label (ham or spam), probability (of spam, in [0, 1]) and threshold.

        Raises: MlflowException, a bad request, on what is no string: the tokenizer takes a list for a pair.
        """
        texts = model_input if isinstance(model_input, pd.Series) else model_input["text"]
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                problem = f"text of row {row} is a {type(text).__name__}, not a string"
                raise MlflowException.invalid_parameter_value(problem)
        probability = self.probabilities(self.scores(texts.to_list()))
        threshold = self.decision["threshold"]
        label = np.where(probability >= threshold, "spam", "ham")
        columns = {"label": label, "probability": probability, "threshold": threshold}
        return pd.DataFrame(columns, index=texts.index)

    def probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """(n,) scores, calibrated: the sigmoid of slope * logit + intercept."""
        clipped = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
        logit = np.log(clipped / (1 - clipped))
        return 1 / (1 + np.exp(-(self.decision["slope"] * logit + self.decision["intercept"])))

    def scores(self, texts: list[str]) -> NDArray[np.float32]:
        """(n,): the network's own scores, in the order of the texts."""
        token_ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(texts)]
        order = sorted(range(len(texts)), key=lambda i: len(token_ids[i]))
        scores = np.zeros(len(texts), np.float32)
        size = 1 if len(texts) == 1 else BATCH
        for start in range(0, len(order), size):
            part = order[start : start + size]
            width = 1 << max(4, (len(token_ids[part[-1]]) - 1).bit_length())  # few shapes, few compilations
            rectangle = np.zeros((size, width), np.int32)  # right-padded with 0, the padding's id
            rectangle[:, 0] = 1  # an empty row would break the fused GPU kernel
            for row, i in zip(rectangle, part, strict=False):
                row[: len(token_ids[i])] = token_ids[i]
            scores[part] = self.network(tf.constant(rectangle)).numpy()[: len(part)]
        return scores


mlflow.models.set_model(SpamDetector())
