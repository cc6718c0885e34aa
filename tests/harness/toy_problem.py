"""A toy problem for networks: a message is spam if it contains one token."""

import numpy as np

from pipeline.models.batches import Rows, pad
from pipeline.models.training import Epoch, Params
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer

VOCABULARY_SIZE = 40
SPAM_TOKEN = 7
PARAMS = Params(
    model="dense",
    embedding_dim=5,
    units=6,
    dropout=0.0,
    token_dropout=0.0,
    wide_share=0.0,
    length_exponent=0.8,
    memory_rows=5,
    memory_width=4,
    read_heads=2,
    corruptions=[],
    corrupted=0.5,
    copies=1,
    learning_rate=0.03,
    deep_tokens=100,
    batch_size=8,
    epochs=9,
    fewest_steps=0,
    patience=9,
    stop_share=0.3,
    out_of_fold_rows=0,
    refit=False,
    seed=1,
)

TEXTS = ["free prize for you today", "are we having lunch at one", "Ok lar, see you", "win cash"]
TEXT_TOKENIZER = fit_tokenizer(TEXTS, vocabulary_size=320, sequence_length=60)
TEXT_ROWS = Rows(  # every text six times
    [np.array(ids, np.int32) for ids in encode_texts(TEXTS * 6, TEXT_TOKENIZER)],
    np.array([1, 0, 0, 1] * 6, np.float32),
)


def toy_params(**changes):
    """PARAMS with some values changed; the model is checked again."""
    return Params(**PARAMS.model_dump() | changes)


def toy_rows(n, seed=0):
    """n messages of 2 to 7 tokens; half of them contain SPAM_TOKEN and are spam."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.arange(n) % 2).astype(np.float32)
    token_ids = []
    for label in labels:
        ids = random.integers(8, VOCABULARY_SIZE, random.integers(2, 8)).astype(np.int32)
        if label:
            ids[random.integers(len(ids))] = SPAM_TOKEN
        token_ids.append(ids)
    return Rows(token_ids, labels)


def noise_rows(n, seed):
    """n messages with random labels."""
    rows = toy_rows(n, seed)
    return Rows(rows.token_ids, np.random.default_rng(seed + 100).permutation(rows.labels))


def scores_of(model, rows):
    """(n,): the network's scores, in float64."""
    return model(pad(rows.token_ids), training=False).numpy()[:, 0].astype(np.float64)


def toy_epoch(number, stop_average_precision, stop_loss=0.4):
    """An epoch with made-up figures."""
    return Epoch(
        epoch=number,
        loss=number / 10,
        accuracy=0.6 + number / 10,
        stop_loss=stop_loss,
        stop_accuracy=0.5,
        stop_average_precision=stop_average_precision,
    )
