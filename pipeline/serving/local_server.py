"""Finds a server that answers for this project, and asks it.

Imports no MLflow, which takes seconds: a cold command that asks a server answers in one.
"""

import os
import sqlite3
from contextlib import closing
from typing import Any

import requests

from pipeline.core.errors import PipelineError
from pipeline.registry.package_hash import PACKAGE_TAG
from pipeline.registry.subprocesses import local_session
from pipeline.tracking.artifact_paths import own_database

DEFAULT_ADDRESS = "http://127.0.0.1:5001"  # of `make serve`
FIND_SECONDS = 1  # for a server to say whether it is ready
SERVER_SECONDS = 60
START_HINT = "start it with `make serve`, or leave --server out"
CHAMPION_PACKAGES = """
SELECT tag.value FROM registered_model_aliases AS alias
JOIN model_version_tags AS tag ON tag.name = alias.name AND tag.version = alias.version
WHERE alias.alias = 'champion' AND tag.key = ?
"""


def serves_our_champion(address: str) -> bool:
    """Whether a server is ready with the files that this project's own registry has promoted.

    A server of another project, or with an older version, answers with another hash. Also False
    if MLFLOW_TRACKING_URI names a registry, or if nothing answers soon.
    """
    try:
        with local_session() as session:
            response = session.get(f"{address}/ready", timeout=FIND_SECONDS, allow_redirects=False)
        state = response.json()
    except (requests.RequestException, ValueError):
        return False
    if not isinstance(state, dict) or state.get("ready") is not True or state.get("problem"):
        return False
    return state.get("package") in _champion_packages()


def _champion_packages() -> list[str]:
    """The hash of the champion's files; empty if the project's own database has no champion."""
    if os.environ.get("MLFLOW_TRACKING_URI"):
        return []
    try:
        with closing(sqlite3.connect(f"{own_database().as_uri()}?mode=ro", uri=True)) as database:
            return [package for (package,) in database.execute(CHAMPION_PACKAGES, [PACKAGE_TAG])]
    except sqlite3.Error:  # no database yet, or one that MLflow itself will report
        return []


def ask_server(address: str, text: str, source: str | None, explain: bool) -> dict[str, Any]:
    """The server's answer to a message, with the keys that the model gives in this process.

    Raises: PipelineError.
    """
    try:
        with local_session() as session:
            response = session.post(
                f"{address.rstrip('/')}/score",
                params={"explain": "true"} if explain else {},
                json={"text": text, "source": source},
                timeout=SERVER_SECONDS,
                allow_redirects=False,
            )
        answer = response.json()
    except requests.ConnectionError as error:
        raise PipelineError(f"{address}: no server answers; {START_HINT}") from error
    except (requests.RequestException, ValueError) as error:
        problem = f"{type(error).__name__}, not an answer of `make serve`"
        raise PipelineError(f"{address}: {problem}; {START_HINT}") from error
    wanted = {"label", "probability", "threshold", "confident", "model_version"}
    if explain:
        wanted.add("reasons")
    if not isinstance(answer, dict) or not wanted <= answer.keys():
        message = answer.get("message") if isinstance(answer, dict) else None
        problem = message or "not an answer of `make serve`"
        raise PipelineError(f"{address}: {response.status_code}: {problem}; {START_HINT}")
    return {name: cell for name, cell in answer.items() if name in wanted}
