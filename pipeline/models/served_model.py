"""The model as MLflow serves it: raw text in, label and probability out.

MLflow stores this file inside each model version (models from code), so it imports none of the
pipeline's code. batch scoring, the server and the evaluation all use this path.
"""

import html
import json
import re
from collections.abc import Callable, Sequence
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

BATCH_SIZE = 64  # messages; a single message is scored alone, which is faster
MAX_TOKENS = 2_048  # of a message that are read
# Bytes within a UTF-8 character, in the alphabet of byte-level tokenizers
CONTINUATION_BYTES = {*map(chr, range(0xA1, 0xAD)), *map(chr, range(0xAE, 0xC0))}
CONTINUATION_BYTES |= {*map(chr, range(0x122, 0x144))}
MIN_WIDTH = 16  # tokens; widths are powers of two, so that few shapes are compiled
CLIP = 1e-7  # scores are clipped to [CLIP, 1 - CLIP] before the logit
RULE = ("slope", "intercept", "threshold", "confident_ham", "confident_spam")  # of a decision
PAD_ID, START_ID = 0, 1  # token ids of padding and of the start of each message
ENTITY_LEVELS, HUGE_ENTITY = 3, r"&#\d{500,};?"  # as in preprocessing/normalize.py


class SpamDetector(PythonModel):  # type: ignore[misc] # MLflow has no types
    """Labels text messages as ham or spam.

    Input: a table with the column `text` and, if it is known, `source`, or a Series of texts.
    Output: a table with the columns `label` (ham or spam), `probability` (of spam, in [0, 1]),
    `threshold` (messages with at least this probability are labelled spam) and `confident` (False
    for messages that people should review: they may have the other label). Calibration and
    threshold are those of the message's source, if the model has learned them.

    Artifacts: `tokenizer` (a JSON file), `network` (a TensorFlow SavedModel from (n, t) token ids
    to (n, 1) scores) and `decision` (a JSON file with the fields of RULE, and the same fields of
    each known source).
    """

    def load_context(self, context: PythonModelContext) -> None:
        """Loads the artifacts; MLflow calls it once."""
        self.load(*(Path(context.artifacts[name]) for name in ("tokenizer", "network", "decision")))

    def load(self, tokenizer: Path, network: Path, decision: Path | None = None) -> "SpamDetector":
        """Loads the artifacts; without a decision only `scores` works. Returns itself."""
        spec = json.loads(tokenizer.read_text(encoding="utf-8"))
        self.window_length = int(spec["truncation"]["window_length"])
        self.tokenizer = Tokenizer.from_str(json.dumps(spec))
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.characters = count_characters(self.tokenizer)
        self.saved = tf.saved_model.load(str(network))  # kept, or its functions would be deleted
        self.network = tf.function(
            lambda ids: self.saved.serve(ids)[:, 0],
            input_signature=[tf.TensorSpec((None, None), tf.int32)],
            jit_compile=True,
            autograph=False,  # has no control flow; would look for the source, which may be gone
        )
        self.decision = json.loads(decision.read_text(encoding="utf-8")) if decision else {}
        return self

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """A table with the columns of the class's docstring, and the index of the input.

        Raises: MlflowException (bad request), when a text is not a string.
        """
        texts = model_input if isinstance(model_input, pd.Series) else model_input["text"]
        for row, text in enumerate(texts):
            if not isinstance(text, str):  # the tokenizer would take a list for a pair of texts
                problem = f"text of row {row} is a {type(text).__name__}, not a string"
                raise MlflowException.invalid_parameter_value(problem)
        table = answers(self.scores(texts.to_list()), _sources(model_input), self.decision)
        return table.set_index(texts.index)

    def scores(self, texts: list[str]) -> NDArray[np.float32]:
        """(n,): the network's scores in [0, 1], not calibrated, in the order of the texts."""
        plain = [undo_entities(text) for text in texts]
        token_ids = [encoding.ids for encoding in self.tokenizer.encode_batch_fast(plain)]
        return score_in_windows(
            token_ids, self.characters, self._score_tokens, window_length=self.window_length
        )

    def _score_tokens(self, token_ids: list[list[int]]) -> NDArray[np.float32]:
        """(n,): the network's scores of token ids, in their order."""
        order = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))
        scores = np.zeros(len(token_ids), np.float32)
        size = 1 if len(token_ids) == 1 else BATCH_SIZE
        for start in range(0, len(order), size):
            part = order[start : start + size]
            batch = _padded([token_ids[i] for i in part], size)
            scores[part] = self.network(tf.constant(batch)).numpy()[: len(part)]
        return scores


def _sources(model_input: pd.DataFrame | pd.Series) -> list[object]:
    """The source of each message; None where it is not known."""
    if isinstance(model_input, pd.DataFrame) and "source" in model_input:
        return list(model_input["source"])
    return [None] * len(model_input)


def count_characters(tokenizer: Tokenizer) -> NDArray[np.int64]:
    """(vocabulary,): how many characters begin in each token; none in padding and start."""
    vocabulary = tokenizer.get_vocab()
    tokens = sorted(vocabulary, key=vocabulary.__getitem__)
    counts = np.array([sum(sign not in CONTINUATION_BYTES for sign in token) for token in tokens])
    counts[[PAD_ID, START_ID]] = 0
    return counts


def score_in_windows(
    token_ids: Sequence[Sequence[int]],
    characters: NDArray[np.int64],
    score: Callable[[list[list[int]]], NDArray[np.floating[Any]]],
    *,
    window_length: int,
) -> NDArray[np.float32]:
    """(n,): the score of each message; of a longer one than a window, the largest of its windows.

    Windows overlap by half, so that padding does not hide a scam. The message's odds are divided
    by the square root of the number of windows: of many harmless windows one is more likely to
    look like spam.

    Args:
        token_ids: of n messages, each with START_ID first.
        characters: (vocabulary,), how many characters begin in each token.
        score: gives the scores of token ids.
        window_length: characters.
    """
    windows, message = [], []
    number = np.ones(len(token_ids))
    for row, ids in enumerate(token_ids):
        ends = np.cumsum(characters[np.asarray(ids)])  # characters up to each token and with it
        last = max(0, ends[-1] - window_length)  # the last window ends with the message
        starts = [*range(0, last, max(1, window_length // 2)), last]
        number[row] = len(starts)
        for start in starts:
            first, after = np.searchsorted(ends, [start, start + window_length], side="right")
            windows.append([START_ID, *ids[max(1, first) : after]])
            message.append(row)
    largest = np.zeros(len(token_ids))
    np.maximum.at(largest, np.array(message, np.intp), score(windows))
    return (largest / (largest + np.sqrt(number) * (1 - largest))).astype(np.float32)


def answers(
    scores: NDArray[np.floating[Any]], sources: Sequence[object], decision: dict[str, Any]
) -> pd.DataFrame:
    """The answers to messages with these scores (n,).

    Args:
        sources: (n,), such as `sms` or `files/2026-11.csv`; anything else is an unknown source.
        decision: the content of the artifact `decision`.
    """
    names = [source.split("/")[0] if isinstance(source, str) else "" for source in sources]
    rules = [decision.get("sources", {}).get(name, decision) for name in names]
    values = np.array([[_rule_value(rule, key) for key in RULE] for rule in rules], np.float64)
    slope, intercept, threshold, confident_ham, confident_spam = values.reshape(-1, len(RULE)).T
    clipped = np.clip(scores.astype(np.float64), CLIP, 1 - CLIP)
    probability = 1 / (1 + np.exp(-(slope * np.log(clipped / (1 - clipped)) + intercept)))
    is_spam = probability >= threshold
    confident = np.where(is_spam, probability >= confident_spam, probability <= confident_ham)
    return pd.DataFrame(
        {
            "label": np.where(is_spam, "spam", "ham"),
            "probability": probability,
            "threshold": threshold,
            "confident": confident,
        }
    )


def _rule_value(rule: dict[str, float], key: str) -> float:
    """A value of a rule; a decision of older code says of no label that it is not confident."""
    return rule["threshold"] if key.startswith("confident") and key not in rule else rule[key]


def undo_entities(text: str) -> str:
    """The text without HTML escapes, as the tokenizer's training text; see normalize.py."""
    for _ in range(ENTITY_LEVELS):
        text = html.unescape(re.sub(HUGE_ENTITY, "\ufffd", text))
    return text


def _padded(token_ids: list[list[int]], size: int) -> NDArray[np.int32]:
    """(size, t): messages in order of length, padded on the right; rows left over are empty."""
    longest = len(token_ids[-1])
    width = max(MIN_WIDTH, 1 << (longest - 1).bit_length())
    batch = np.full((size, width), PAD_ID, np.int32)
    batch[:, 0] = START_ID  # the fused GPU kernel fails on a row of padding alone
    for row, ids in zip(batch, token_ids, strict=False):
        row[: len(ids)] = ids
    return batch


mlflow.models.set_model(SpamDetector())
