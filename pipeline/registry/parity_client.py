"""Asks a model in MLflow's own ways: a script that `elsewhere` runs where `pipeline` cannot be imported."""

import csv
import importlib.util
import json
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd


@cache
def _loaded(model: str) -> Any:
    return mlflow.pyfunc.load_model(model)


def by_frame(model: str, texts: list[str]) -> pd.DataFrame:
    return _loaded(model).predict(pd.DataFrame({"text": texts}))


def by_series(model: str, texts: list[str]) -> pd.DataFrame:
    return _loaded(model).predict(pd.Series(texts, name="text"))


def by_file(model: str, texts: list[str]) -> pd.DataFrame:
    """What `mlflow models predict -t csv` does; every cell quoted, as pandas leaves a lone \\r bare."""
    pd.DataFrame({"text": texts}).to_csv("batch.csv", index=False, quoting=csv.QUOTE_ALL)
    files = {"input_path": "batch.csv", "output_path": "batch.json"}
    mlflow.models.predict(model, content_type="csv", env_manager="local", **files)
    return pd.DataFrame(json.loads(Path("batch.json").read_text(encoding="utf-8"))["predictions"])


WAYS: dict[str, Callable[[str, list[str]], pd.DataFrame]] = {
    "DataFrame": by_frame,
    "Series": by_series,
    "batch file": by_file,
}


def answer(way: str, model: str, texts: list[str]) -> dict[str, list[Any]] | str:
    """Labels and probabilities by column; where there are none, what was raised, without a message's text."""
    try:
        said = WAYS[way](model, texts)
        return {column: said[column].tolist() for column in ("label", "probability")}
    except BaseException as error:  # of the model's own code, whichever that is
        at = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(at.filename).name}:{at.lineno}"


def main(model: str, texts_file: str, answers_file: str, *ways: str) -> None:
    """Reads `{"text": [...]}` and writes an answer for each of the ways."""
    assert importlib.util.find_spec("pipeline") is None, (
        "pipeline can be imported: this would prove nothing"
    )
    texts = json.loads(Path(texts_file).read_text(encoding="utf-8"))["text"]
    _loaded(model)  # what this raises names no text
    answers = {way: answer(way, model, texts) for way in ways or WAYS}
    Path(answers_file).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
