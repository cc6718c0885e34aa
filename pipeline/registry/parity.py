"""Asks a registered model in a process of its own, where `pipeline` cannot be imported."""

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

ANSWER_SECONDS = (
    600  # until a model that does not answer, or a server that does not start, is given up
)
TOLERANCE = 1e-6  # of a probability; labels must be equal
TIMED = 20  # requests of one message
MESSAGES = 40  # of those given, in the batch
HOSTILE = [  # without the empty text, NA, null and their like: MLflow's batch file reads them as no text
    *("12345", "-1e5", "0x10", "inf", "True", "2024-01-31"),  # pandas would make something of them
    *('"', "\\n", "=1+1", ",", "\ttab\t", " ", "  blanks  "),
    *(
        "WIN a prize, \"now\"\nor 'never'",
        "one\r\ntwo\rthree",
        "\N{THUMBS UP SIGN}\U0001f3fd",
        "e\u0301",
    ),
    *("\U0001d405REE", "\u200b", "\ufeffbom", "\x00", "free\x00prize", "\x1b[31m", "\u2028"),
    *("你好，世界", "Выиграй приз", "مرحبا", "שלום", "हैलो"),
    "WIN a prize " * 833 + "now!",  # 10,000 characters
]

SERVE = [
    *(sys.executable, "-I", "-m", "mlflow", "models", "serve"),
    *("--env-manager", "local", "--host", "127.0.0.1"),
]


class Unscorable(Exception):  # noqa: N818 (it is a model that it speaks of)
    """A model that does not load here, or gives no answer that can be used; says why in one line."""


def batch(texts: Sequence[str]) -> list[str]:
    """The messages of the parity check: MESSAGES of the texts, evenly taken, and HOSTILE."""
    chosen = [*texts[:: max(1, len(texts) // MESSAGES)][:MESSAGES], *HOSTILE]
    written = pd.DataFrame({"text": chosen}).to_csv(index=False, quoting=csv.QUOTE_ALL)
    read = pd.read_csv(io.StringIO(written, newline=""))["text"]
    return [
        text for text, same in zip(chosen, read == chosen, strict=True) if same
    ]  # no "NA" and its like


def answers(model: str, texts: list[str]) -> pd.DataFrame:
    """Label and probability of each text, of a model in a local folder, by its own code.

    Raises: Unscorable.
    """
    return usable(
        _by_child(str(Path(model).resolve()), texts, ["DataFrame"])["DataFrame"], len(texts)
    )


def disagreements(
    uri: str, texts: list[str], expected: pd.DataFrame, ways: Sequence[str], latency_budget: float
) -> list[str]:
    """What the registered model says otherwise than expected, a sentence for each of the WAYS.

    latency_budget: milliseconds, for one message over HTTP.
    """
    inside = [way for way in ways if way in parity_client.WAYS]
    serve = [*SERVE, "--model-uri", uri]
    with subprocesses.serving(serve, _registry()) if "HTTP" in ways else nullcontext() as server:
        said = _of_each(inside, lambda: _by_child(uri, texts, inside))  # while the server starts
        if server:
            said |= _of_each(["HTTP"], lambda: {"HTTP": _by_server(server, texts)})
        told = {way: difference(answer, expected) for way, answer in said.items()}
        sentences = [f"{way}: {told[way]}" for way in ways if told[way]]
        if server and not isinstance(said["HTTP"], str):
            sentences += slowness(server.address, texts, latency_budget)
    return sentences


def _of_each(ways: Sequence[str], call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answers, or the one reason why none of these ways gave any."""
    try:
        return call() if ways else {}
    except Unscorable as unscorable:
        return dict.fromkeys(ways, str(unscorable))


# ---- what they say


def usable(said: Any, rows: int) -> pd.DataFrame:
    """An answer as a table of label and probability. Raises: Unscorable."""
    if isinstance(said, str):
        raise Unscorable(said)
    try:
        table = pd.DataFrame({"label": said["label"], "probability": said["probability"]})
        table = table.astype({"probability": "float64"})
        held = {
            "labels are neither ham nor spam": table["label"].isin(["ham", "spam"]),
            "probabilities do not lie in [0, 1]": table["probability"].between(0, 1),
        }
    except KeyError as error:
        raise Unscorable(f"no column {error}") from error
    except (TypeError, ValueError) as error:  # whose words may be those of a message
        raise Unscorable("labels or probabilities of another kind") from error
    if len(table) != rows:
        raise Unscorable(f"{len(table)} answers to {rows} messages")
    for problem, holds in held.items():  # which are counted, as a wrong label may be a message
        if not holds.all():
            raise Unscorable(f"{(~holds).sum()} of {rows} {problem}")
    return table


def difference(said: Any, expected: pd.DataFrame) -> str | None:
    """How an answer differs from the expected one; None where it does not."""
    try:
        found = usable(said, len(expected))
    except Unscorable as unscorable:
        return str(unscorable)
    labels = found["label"].to_numpy() != expected["label"].to_numpy()
    apart = np.abs(found["probability"].to_numpy() - expected["probability"].to_numpy())
    if not (differing := labels | (apart > TOLERANCE)).any():
        return None
    return (
        f"{differing.sum()} of {len(expected)} answers differ, by up to {apart.max():.2g} in probability, "
        f"{labels.sum()} in label"
    )


def slowness(address: str, texts: Sequence[str], budget: float) -> list[str]:
    """A sentence, where the median of TIMED requests, of one message each, is beyond the budget."""
    taken = []
    for text in itertools.islice(itertools.cycle(texts), TIMED):
        start = time.perf_counter()
        try:
            by_http(address, [text])
        except Unscorable as unscorable:
            return [f"HTTP, one message: {unscorable}"]
        taken.append(1000 * (time.perf_counter() - start))
    milliseconds = statistics.median(taken)
    log.info("a message takes %.0f ms over HTTP", milliseconds)
    if milliseconds <= budget:
        return []
    return [f"a message takes {milliseconds:.0f} ms over HTTP, the budget is {budget:g}"]


# ---- the ways to ask


def by_http(address: str, texts: list[str]) -> pd.DataFrame:
    """The answer of MLflow's server. Raises: Unscorable."""
    body: Any = {"dataframe_split": {"columns": ["text"], "data": [[text] for text in texts]}}
    try:
        with subprocesses.session() as asking:
            response = asking.post(f"{address}/invocations", json=body, timeout=ANSWER_SECONDS)
        if not response.ok:  # its body may hold messages
            raise Unscorable(f"{response.status_code} {response.reason}")
        return pd.DataFrame(response.json()["predictions"])
    except (requests.RequestException, KeyError, TypeError, ValueError) as error:
        raise Unscorable(type(error).__name__) from error


WAYS: dict[str, Callable[[str, list[str]], pd.DataFrame]] = {**parity_client.WAYS, "HTTP": by_http}


def _registry() -> dict[str, str]:
    """The registry's address for the child, which works in another folder."""
    scheme, sqlite, file = mlflow_client.tracking_uri().partition("sqlite:///")
    address = f"{sqlite}{Path(file).resolve()}" if sqlite else scheme
    return {"MLFLOW_TRACKING_URI": address, "MLFLOW_REGISTRY_URI": address}


def _by_child(model: str, texts: list[str], ways: Sequence[str]) -> dict[str, Any]:
    """What `ask.py` says of each way. Raises: Unscorable, where the process does not come to its end."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "texts.json").write_text(json.dumps({"text": texts}), encoding="utf-8")
        command = [
            sys.executable,
            "-I",
            parity_client.__file__,
            model,
            "texts.json",
            "answers.json",
            *ways,
        ]
        with subprocesses.running(command, folder, _registry()) as process:
            try:
                status = process.wait(ANSWER_SECONDS)
            except subprocess.TimeoutExpired:
                raise Unscorable(f"no answer in {ANSWER_SECONDS} seconds") from None
        if status < 0:
            raise Unscorable(f"killed by {signal.Signals(-status).name}")
        if status:
            raise Unscorable(subprocesses.last_line(folder))
        if not (folder / "answers.json").exists():
            raise Unscorable("it ended without an answer")
        return json.loads((folder / "answers.json").read_bytes())


def _by_server(server: subprocesses.Server, texts: list[str]) -> pd.DataFrame:
    """What MLflow's server says, once it is up. Raises: Unscorable."""
    if server.is_up(ANSWER_SECONDS):
        return by_http(server.address, texts)
    if server.process.poll() is None:
        raise Unscorable(f"no answer in {ANSWER_SECONDS} seconds")
    said = subprocesses.last_line(server.folder)
    if said.startswith(
        "Exception: Command "
    ):  # MLflow's own, of its uvicorn, which said why before
        said = subprocesses.last_line(server.folder, before="Traceback (most recent call last)")
    raise Unscorable(said)
