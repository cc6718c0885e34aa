"""Compares a registered model with the model here, in a process that has none of our code."""

import csv
import io
import itertools
import json
import logging
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import requests

from pipeline.registry import parity_client, subprocesses
from pipeline.tracking import mlflow_client

log = logging.getLogger(__name__)

ANSWER_SECONDS = 600  # until a model or a server without an answer is given up
PROBABILITY_TOLERANCE = 1e-6  # labels must be equal
TIMED_REQUESTS = 20  # of one message each
UNKNOWN_SOURCE = "unknown"  # of messages whose source has no decision of its own
SAMPLE_SIZE = 40  # messages in the comparison, besides HOSTILE_TEXTS
HOSTILE_TEXTS = [  # "", NA, null and the like are missing: MLflow's batch file reads them as null
    *("12345", "-1e5", "0x10", "inf", "True", "2024-01-31"),  # pandas may convert them
    *('"', "\\n", "=1+1", ",", "\ttab\t", " ", "  blanks  "),
    *("WIN a prize, \"now\"\nor 'never'", "one\r\ntwo\rthree"),
    *("\N{THUMBS UP SIGN}\U0001f3fd", "e\u0301"),
    *("\U0001d405REE", "\u200b", "\ufeffbom", "\x00", "free\x00prize", "\x1b[31m", "\u2028"),
    *("你好，世界", "Выиграй приз", "مرحبا", "שלום", "हैलो"),
    "WIN a prize " * 833 + "now!",  # 10,000 characters
]


class ScoringError(Exception):
    """A model does not load or gives no usable answer; the message is one line without texts."""


def parity_messages(messages: pd.DataFrame) -> pd.DataFrame:
    """SAMPLE_SIZE of the messages, evenly spaced, and HOSTILE_TEXTS of an unknown source.

    Texts that pandas reads back from CSV as something else, such as NA, are left out.

    Args:
        messages: columns text and source, and so are those of the result.
    """
    sample = messages[["text", "source"]].iloc[:: max(1, len(messages) // SAMPLE_SIZE)]
    hostile = pd.DataFrame({"text": HOSTILE_TEXTS, "source": UNKNOWN_SOURCE}, dtype="str")
    chosen = pd.concat([sample.head(SAMPLE_SIZE), hostile], ignore_index=True)
    written = chosen.to_csv(index=False, quoting=csv.QUOTE_ALL)
    read = pd.read_csv(io.StringIO(written, newline=""))["text"]
    return chosen[read == chosen["text"]].reset_index(drop=True)


def score_in_child(model: str, messages: pd.DataFrame) -> pd.DataFrame:
    """Columns label and probability of each message, by the code of an MLflow model in a folder.

    Args:
        messages: columns text and source.

    Raises: ScoringError.
    """
    answers = _ask_child(str(Path(model).resolve()), messages, ["DataFrame"])
    return checked_answer(answers["DataFrame"], len(messages))


def find_disagreements(
    uri: str,
    messages: pd.DataFrame,
    ask: Callable[[pd.DataFrame], pd.DataFrame],
    interfaces: Sequence[str],
    latency_budget: float,
) -> list[str]:
    """How a registered model's answers differ from the expected ones, a sentence per interface.

    Args:
        messages: columns text and source.
        ask: gives the expected answers, with columns label and probability.
        interfaces: of INTERFACES.
        latency_budget: milliseconds for one message over HTTP.
    """
    in_python = [name for name in interfaces if name in parity_client.PYTHON_INTERFACES]
    command = [sys.executable, "-I", "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--model-uri", uri]
    with_server = "HTTP" in interfaces
    with (
        subprocesses.running_server(command, _registry_environment())
        if with_server
        else nullcontext()
    ) as server:
        answers = _answers_or_error(in_python, lambda: _ask_child(uri, messages, in_python))
        if server:  # which started meanwhile
            answers |= _answers_or_error(["HTTP"], lambda: {"HTTP": _ask_server(server, messages)})
        expected = {name: ask(messages) for name in interfaces}
        if "Series" in interfaces:  # it has no room for sources
            expected["Series"] = ask(messages[["text"]])
        problems = {name: describe_difference(answers[name], expected[name]) for name in interfaces}
        sentences = [f"{name}: {problem}" for name, problem in problems.items() if problem]
        if server and not isinstance(answers["HTTP"], str):
            sentences += latency_problems(server.address, messages, latency_budget)
    return sentences


def _answers_or_error(names: Sequence[str], ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answers by interface, or the one error for all of these interfaces."""
    try:
        return ask() if names else {}
    except ScoringError as error:
        return dict.fromkeys(names, str(error))


# ---- answers


def checked_answer(answer: Any, rows: int) -> pd.DataFrame:
    """An answer as a table with label and probability.

    Args:
        answer: columns or a table; a string is an error.
        rows: number of messages.

    Raises: ScoringError if a label is neither ham nor spam, or a probability not in [0, 1].
    """
    if isinstance(answer, str):
        raise ScoringError(answer)
    try:
        table = pd.DataFrame({"label": answer["label"], "probability": answer["probability"]})
        table = table.astype({"probability": "float64"})
        checks = {
            "labels are neither ham nor spam": table["label"].isin(["ham", "spam"]),
            "probabilities do not lie in [0, 1]": table["probability"].between(0, 1),
        }
    except KeyError as error:
        raise ScoringError(f"no column {error}") from error
    except (TypeError, ValueError) as error:  # its text may contain a message
        raise ScoringError("labels or probabilities of another type") from error
    if len(table) != rows:
        raise ScoringError(f"{len(table)} answers to {rows} messages")
    for problem, passed in checks.items():  # counted, as a wrong label may be a message
        if not passed.all():
            raise ScoringError(f"{(~passed).sum()} of {rows} {problem}")
    return table


def describe_difference(answer: Any, expected: pd.DataFrame) -> str | None:
    """How an answer differs from the expected one, in a sentence; None if it does not."""
    try:
        table = checked_answer(answer, len(expected))
    except ScoringError as error:
        return str(error)
    labels = table["label"].to_numpy() != expected["label"].to_numpy()
    distances = np.abs(table["probability"].to_numpy() - expected["probability"].to_numpy())
    differing = labels | (distances > PROBABILITY_TOLERANCE)
    if not differing.any():
        return None
    return (
        f"{differing.sum()} of {len(expected)} answers differ, by up to {distances.max():.2g} in "
        f"probability, {labels.sum()} in label"
    )


def latency_problems(address: str, messages: pd.DataFrame, budget: float) -> list[str]:
    """A sentence if the median of TIMED_REQUESTS is over the budget, in milliseconds."""
    milliseconds = []
    for row in itertools.islice(itertools.cycle(range(len(messages))), TIMED_REQUESTS):
        start = time.perf_counter()
        try:
            score_over_http(address, messages.iloc[[row]])
        except ScoringError as error:
            return [f"HTTP, one message: {error}"]
        milliseconds.append(1000 * (time.perf_counter() - start))
    median = statistics.median(milliseconds)
    log.info("one message takes %.0f ms over HTTP", median)
    if median <= budget:
        return []
    return [f"one message takes {median:.0f} ms over HTTP, the budget is {budget:g}"]


# ---- interfaces


def score_over_http(address: str, messages: pd.DataFrame) -> pd.DataFrame:
    """The answer of MLflow's scoring server. Raises: ScoringError."""
    body: Any = {"dataframe_split": messages.to_dict("split", index=False)}
    try:
        with subprocesses.local_session() as session:
            response = session.post(f"{address}/invocations", json=body, timeout=ANSWER_SECONDS)
        if not response.ok:  # its body may contain messages
            raise ScoringError(f"{response.status_code} {response.reason}")
        return pd.DataFrame(response.json()["predictions"])
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise ScoringError(type(error).__name__) from error


INTERFACES: dict[str, Callable[[str, pd.DataFrame], pd.DataFrame]] = {
    **parity_client.PYTHON_INTERFACES,
    "HTTP": score_over_http,
}


def _registry_environment() -> dict[str, str]:
    """The registry's address for a child process, which works in another folder."""
    address = mlflow_client.tracking_uri()
    if address.startswith("sqlite:///"):
        address = f"sqlite:///{Path(address.removeprefix('sqlite:///')).resolve()}"
    return {"MLFLOW_TRACKING_URI": address, "MLFLOW_REGISTRY_URI": address}


def _ask_child(model: str, messages: pd.DataFrame, interfaces: Sequence[str]) -> dict[str, Any]:
    """The answer or the error of each interface, by `parity_client`. Raises: ScoringError."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = json.dumps(messages.to_dict("list"))
        (folder / "messages.json").write_text(columns, encoding="utf-8")
        command = [sys.executable, "-I", parity_client.__file__, model]
        command += ["messages.json", "answers.json", *interfaces]
        with subprocesses.running_program(command, folder, _registry_environment()) as process:
            try:
                status = process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                raise ScoringError(f"no answer in {ANSWER_SECONDS} seconds") from None
        if status < 0:
            raise ScoringError(f"killed by {signal.Signals(-status).name}")
        if status:
            raise ScoringError(subprocesses.last_output_line(folder))
        if not (folder / "answers.json").exists():
            raise ScoringError("it ended without an answer")
        return json.loads((folder / "answers.json").read_bytes())


def _ask_server(server: subprocesses.Server, messages: pd.DataFrame) -> pd.DataFrame:
    """The answer of a scoring server, once it has started. Raises: ScoringError."""
    if server.wait_until_up(ANSWER_SECONDS):
        return score_over_http(server.address, messages)
    if server.process.poll() is None:
        raise ScoringError(f"no answer in {ANSWER_SECONDS} seconds")
    line = subprocesses.last_output_line(server.folder)
    if line.startswith("Exception: Command "):  # MLflow's own; the cause stands before it
        traceback = "Traceback (most recent call last)"
        line = subprocesses.last_output_line(server.folder, before=traceback)
    raise ScoringError(line)
