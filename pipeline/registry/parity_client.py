"""Scores messages with an MLflow model through MLflow's interfaces.

`parity` runs this file as a script, in a process that cannot import `pipeline`.
"""

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
def _load_model(model: str) -> Any:
    return mlflow.pyfunc.load_model(model)


def score_frame(model: str, messages: pd.DataFrame) -> pd.DataFrame:
    """The answer to a DataFrame with the columns text and source."""
    return _load_model(model).predict(messages)


def score_series(model: str, messages: pd.DataFrame) -> pd.DataFrame:
    """The answer to a Series named text."""
    return _load_model(model).predict(messages["text"])


def score_csv_file(model: str, messages: pd.DataFrame) -> pd.DataFrame:
    """The answer of `mlflow models predict -t csv`."""
    messages.to_csv("batch.csv", index=False, quoting=csv.QUOTE_ALL)  # pandas leaves a lone \r bare
    mlflow.models.predict(
        model,
        input_path="batch.csv",
        output_path="batch.json",
        content_type="csv",
        env_manager="local",
    )
    return pd.DataFrame(json.loads(Path("batch.json").read_text(encoding="utf-8"))["predictions"])


PYTHON_INTERFACES: dict[str, Callable[[str, pd.DataFrame], pd.DataFrame]] = {
    "DataFrame": score_frame,
    "Series": score_series,
    "batch file": score_csv_file,
}


def answer_or_error(
    interface: str, model: str, messages: pd.DataFrame
) -> dict[str, list[Any]] | str:
    """Label and probability by column; on an error its type and place, without a message's text."""
    try:
        answer = PYTHON_INTERFACES[interface](model, messages)
        return {column: answer[column].tolist() for column in ("label", "probability")}
    except BaseException as error:  # the model's own code may raise anything
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return f"{type(error).__name__} at {Path(frame.filename).name}:{frame.lineno}"


def main(model: str, messages_file: str, answers_file: str, *interfaces: str) -> None:
    """Reads `{"text": [...], "source": [...]}` and writes the answer of each interface, as JSON."""
    if importlib.util.find_spec("pipeline") is not None:
        raise RuntimeError("pipeline can be imported, so this would not test the model's code")
    columns = json.loads(Path(messages_file).read_text(encoding="utf-8"))
    messages = pd.DataFrame(columns, dtype="str")
    _load_model(model)  # its errors contain no message, so they are not shortened
    answers = {name: answer_or_error(name, model, messages) for name in interfaces}
    Path(answers_file).write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
