"""The models that benchmarks/quality.py compares: each entry of MODELS trains one on rows.

Rows have the columns text and label. A trained model is a Scorer: from n texts to scores (n,) in
[0, 1], higher for spam.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline

from pipeline import vectorize
from pipeline.core.params import read_params
from pipeline.evaluation.metrics import Scorer, is_spam
from pipeline.models import architectures, augmentation, training
from pipeline.models.baseline import baseline, baseline_scorer
from pipeline.models.scoring import network_scorer
from pipeline.preprocessing.normalize import canonicalise, fold
from pipeline.preprocessing.tokenizer import fit_tokenizer, shard_tables, tokenizer_json

Trainer = Callable[[pd.DataFrame], Scorer]

OURS = "bilstm"
# Of all networks but ours.
ARTICLE_PARAMS = {"embedding_dim": 64, "units": 64, "learning_rate": 0.001, "batch_size": 32}
ARTICLE_PARAMS |= {"epochs": 10, "fewest_steps": 0, "patience": 4, "corruptions": []}
ARTICLE_VOCABULARY = 2000


@dataclass(frozen=True)
class TrainingInput:
    """What the stage train gets of rows, as the stage vectorize writes it."""

    table: pd.DataFrame  # the columns of SHARD
    spec: dict[str, Any]  # the content of tokenizer.json
    params: training.Params


def training_input(name: str, rows: pd.DataFrame, **changes: Any) -> TrainingInput:
    """What a network gets of rows.

    Args:
        name: of architectures.MODELS.
        changes: of the params of train.
    """
    text_params = read_params(vectorize.Params, "vectorize")
    vocabulary_size = text_params.vocabulary_size
    if name != OURS:
        vocabulary_size = ARTICLE_VOCABULARY
        changes = ARTICLE_PARAMS | changes
    committed = read_params(training.Params, "train").model_dump()
    params = training.Params(**committed | {"model": name} | changes)
    tokenizer = fit_tokenizer(
        rows["text"],
        vocabulary_size=vocabulary_size,
        sequence_length=text_params.sequence_length,
    )
    spec = json.loads(tokenizer_json(tokenizer, text_params.window_length))
    table = pa.concat_tables(shard_tables(rows, tokenizer, len(rows))).to_pandas()
    return TrainingInput(table, spec, params)


def network(name: str, rows: pd.DataFrame, **changes: Any) -> Scorer:
    """A network of architectures.MODELS, trained as by the stages vectorize and train."""
    given = training_input(name, rows, **changes)
    train, stop = training.split_rows(given.table, given.params)
    trainer = training.Trainer(given.spec, given.params)
    trainer.train(train, stop)
    return network_scorer(given.spec, trainer.model)


def linear_svm(rows: pd.DataFrame) -> Scorer:
    """The baseline of the pipeline."""
    return baseline_scorer(rows["text"].tolist(), is_spam(rows))


def logistic_regression(rows: pd.DataFrame) -> Scorer:
    """Logistic regression on the features of the baseline."""
    model = baseline()
    model.steps[-1] = ("logistic", LogisticRegression(C=50, max_iter=1000))
    return _fitted(model, rows["text"].tolist(), is_spam(rows))


def corrupted_logistic_regression(rows: pd.DataFrame) -> Scorer:
    """Logistic regression on normalised characters, trained with the corruptions of our network."""
    params = read_params(training.Params, "train")
    texts, spam = rows["text"].tolist(), is_spam(rows)
    random = Random(params.seed)
    words = [word for text in rows["text"][~spam] for word in text.split()]
    words = [word for word in words if augmentation.may_train(word)]
    copies = params.copies if params.corruptions else 0
    corrupt = partial(augmentation.corrupted, names=params.corruptions, random=random, words=words)
    edited = [corrupt(text) for text in texts * copies]
    characters = TfidfVectorizer(ngram_range=(2, 5), sublinear_tf=True, analyzer="char")
    characters.set_params(preprocessor=lambda text: canonicalise(text).lower())
    model = make_pipeline(characters, LogisticRegression(C=50, max_iter=1000))
    return _fitted(model, texts + edited, np.tile(spam, 1 + copies))


def naive_bayes(rows: pd.DataFrame) -> Scorer:
    """Multinomial naive Bayes on words."""
    model = make_pipeline(CountVectorizer(), MultinomialNB(alpha=0.1))
    return _fitted(model, rows["text"].tolist(), is_spam(rows))


def _fitted(model: Any, texts: list[str], spam: np.ndarray) -> Scorer:
    model.fit(texts, spam)
    return lambda texts: model.predict_proba(list(texts))[:, 1]


def fasttext(rows: pd.DataFrame) -> Scorer:
    """fastText, supervised, on words, word pairs and character n-grams."""
    import fasttext as library

    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        for text, label in zip(rows["text"], rows["label"], strict=True):
            file.write(f"__label__{label} {fold(text)}\n")
        file.flush()
        settings = {"epoch": 25, "lr": 0.5, "wordNgrams": 2, "minn": 2, "maxn": 5, "dim": 50}
        model = library.train_supervised(file.name, thread=1, seed=1, verbose=0, **settings)

    def score(texts: Sequence[str]) -> np.ndarray:
        labels, probabilities = model.predict([fold(text) for text in texts], k=2)
        pairs = zip(labels, probabilities, strict=True)
        return np.array([dict(zip(*pair, strict=True))["__label__spam"] for pair in pairs])

    return score


def bogofilter(rows: pd.DataFrame) -> Scorer:
    """The mail filter bogofilter, which must be installed."""
    folder = tempfile.TemporaryDirectory()

    def run(*options: str, texts: Sequence[str]) -> str:
        command = ["bogofilter", "--bogofilter-dir", folder.name, "-M", *options]
        head = "From a@b Thu Jan  1 00:00:00 1970\nSubject: \n\n "
        mbox = "".join(f"{head}{' '.join(text.split())}\n\n" for text in texts)
        return subprocess.run(command, input=mbox, capture_output=True, text=True).stdout

    def score(texts: Sequence[str]) -> np.ndarray:
        return np.array([float(line.split()[1]) for line in run("-T", texts=texts).splitlines()])

    for label, option in (("spam", "-s"), ("ham", "-n")):
        run(option, texts=rows["text"][rows["label"] == label])
    return score


PEERS: dict[str, Trainer] = {
    **{name: partial(network, name) for name in [OURS, *sorted(architectures.MODELS)]},
    "linear SVM": linear_svm,
    "logistic regression": logistic_regression,
    "logistic regression, corrupted": corrupted_logistic_regression,
    "naive Bayes": naive_bayes,
    "fastText": fasttext,
    "bogofilter": bogofilter,
}
ABLATIONS: dict[str, Trainer] = {  # our network without one part
    "wide path alone": partial(network, OURS, wide_share=1.0),
    "deep path alone": partial(network, OURS, wide_share=0.0),
    "no corruption": partial(network, OURS, corruptions=[]),
    "no token dropout": partial(network, OURS, token_dropout=0.0),
    "no corrupted copies": partial(network, OURS, copies=0),
}
for left_out in augmentation.CORRUPTIONS:
    others = [name for name in augmentation.CORRUPTIONS if name != left_out]
    ABLATIONS[f"without {left_out}"] = partial(network, OURS, corruptions=others)
MODELS = PEERS | ABLATIONS
NETWORKS = {OURS, *architectures.MODELS, *ABLATIONS}  # which take the arguments of training_input
