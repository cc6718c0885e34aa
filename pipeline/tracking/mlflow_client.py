"""Connects to MLflow, reports its failures in one line, and creates things only once."""

import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import mlflow
import requests
import tenacity
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
)
from mlflow.exceptions import MlflowException

from pipeline.core.errors import PipelineError, convert_os_errors, redact_credentials
from pipeline.core.files import atomic_path
from pipeline.core.params import PARAMS_FILE
from pipeline.tracking.artifact_paths import artifact_folder, follow_move, own_database

log = logging.getLogger(__name__)
ResultT = TypeVar("ResultT")

MODEL_NAME = "spam-detector"  # of the experiment and of the registered model
RETRY_MESSAGE = "MLflow does not answer: trying again"
ERROR_CAUSE = re.compile(  # the part of a long error message of MLflow that names the cause
    r"\[Errno -?\d+\] ([^')\"]+)|too many \d+ error responses|timed out"
    r"|Remote end closed connection|\(sqlite3\.\w+\) [\w ]*\w"
    r"|out-of-date database schema \([^)]*\)"
)


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else an SQLite file in the project's root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{own_database()}"


# ---- the connection


@contextmanager
def connect() -> Iterator[MlflowClient]:
    """A client of `tracking_uri()`, while the block runs.

    Raises: PipelineError, for every failure of MLflow inside the block.
    """
    _quiet_libraries()
    _create_database()
    if Path(tracking_uri().removeprefix("sqlite:///")).resolve() == own_database().resolve():
        follow_move()
    mlflow.set_tracking_uri(tracking_uri())  # sets the environment variable too
    mlflow.set_registry_uri(tracking_uri())
    try:
        client = MlflowClient()
    except Exception as error:  # of MLflow, of the database or of its driver
        raise connection_error(error) from error
    try:
        with convert_os_errors(f"MLflow at {redact_credentials(tracking_uri())}"):
            yield client
    except (MlflowException, requests.RequestException) as error:
        raise connection_error(error) from error


def _quiet_libraries() -> None:
    for library in ("alembic", "mlflow"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it raises what it logs
    logging.getLogger("urllib3.connectionpool").addFilter(_shorten_retry_warning)


def _shorten_retry_warning(record: logging.LogRecord) -> bool:
    """Replaces urllib3's four lines about a failed try by one."""
    record.msg = RETRY_MESSAGE
    record.args = ()
    return True


def _create_database() -> None:
    """Creates the project's own SQLite file as a whole: a kill cannot leave half of its tables.

    A file that the user names must exist, and outside of a project none is created: after a
    typing error, an empty registry would look like one without a champion.

    Raises: PipelineError.
    """
    file = Path(tracking_uri().removeprefix("sqlite:///"))
    if not tracking_uri().startswith("sqlite:///") or file.exists():
        return
    if os.environ.get("MLFLOW_TRACKING_URI"):
        raise PipelineError(
            f"MLFLOW_TRACKING_URI: {file} does not exist; correct the path, "
            "or create the database with `mlflow experiments search`"
        )
    if not (file.parent / PARAMS_FILE).exists():
        problem = f"{file.parent}: no {PARAMS_FILE}, so no project"
        raise PipelineError(f"{problem}; run in the project's root, or set MLFLOW_TRACKING_URI")
    with atomic_path(file) as temporary:
        MlflowClient(f"sqlite:///{temporary}").search_experiments()


def connection_error(error: Exception) -> PipelineError:
    """An error of MLflow, its database or its driver as one line: place, problem, remedy."""
    text = redact_credentials(" ".join(str(error).partition("[SQL:")[0].split()))
    cause = ERROR_CAUSE.search(text)
    problem = (cause[1] or cause[0]) if cause else text[:150]
    place = f"MLflow at {redact_credentials(tracking_uri())}"
    return PipelineError(f"{place}: {problem}; {_connection_remedy(error)}")


def _connection_remedy(error: Exception) -> str:
    if "database schema" in str(error):
        return (
            "copy the database and run `mlflow db upgrade` with this address, "
            "or update this clone if a newer MLflow made it"
        )
    if tracking_uri().startswith("sqlite"):
        return "check that the file is a writable MLflow database, and that the disk has room"
    status = error.get_http_status_code() if isinstance(error, MlflowException) else None
    if status in (401, 403):
        return "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    if status in (400, 409):  # for example after a lost response, when the call was sent again
        return "run it again: it continues where it stopped"
    return "check that MLFLOW_TRACKING_URI is right and that its server is up"


# ---- calls


@contextmanager
def http_limits(retries: int, timeout: int | None = None) -> Iterator[None]:
    """Limits each call of MLflow's client while the block runs.

    Args:
        retries: after the first try.
        timeout: seconds of one try; None for MLflow's own.
    """
    limits = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries, "MLFLOW_HTTP_REQUEST_TIMEOUT": timeout}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update({name: str(value) for name, value in limits.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def find_or_create(find: Callable[[], ResultT | None], create: Callable[[], ResultT]) -> ResultT:
    """The result of `find`, else of `create`, which takes effect once even if a response is lost.

    After a lost response MLflow's client would send the call again and create a second thing.
    Here `find` runs before each try. (A call that takes effect only after the next `find` still
    creates a second one: MLflow has no unique tags.)

    Raises: MlflowException.
    """
    attempts = iter(_attempts())
    while True:  # the last attempt returns or raises
        attempt = next(attempts)
        result = find()
        if result is not None:
            return result
        with attempt, http_limits(retries=0):
            return create()


def _attempts() -> tenacity.Retrying:
    """As many tries, with the same pauses, as MLflow's client makes; one if it uses a file."""
    is_server = tracking_uri().startswith("http")
    retries = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() if is_server else 0
    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(_is_temporary),
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=tenacity.wait_exponential(multiplier=MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get()),
        before_sleep=lambda _: log.warning(RETRY_MESSAGE),
        reraise=True,
    )


def _is_temporary(error: BaseException) -> bool:
    if not isinstance(error, MlflowException):
        return False
    return error.get_http_status_code() in (429, 500, 503, 504)


def experiment_id(client: MlflowClient) -> str:
    """The id of our experiment, which is created if it does not exist."""

    def find() -> str | None:
        experiment = client.get_experiment_by_name(MODEL_NAME)
        if experiment and experiment.lifecycle_stage == "deleted":  # by hand, in MLflow's UI
            client.restore_experiment(experiment.experiment_id)
            log.warning("MLflow: restores the experiment %s, which was deleted", MODEL_NAME)
        return str(experiment.experiment_id) if experiment else None

    is_file = tracking_uri().startswith("sqlite")
    artifacts = artifact_folder().as_uri() if is_file else None
    return find_or_create(
        find, lambda: str(client.create_experiment(MODEL_NAME, artifact_location=artifacts))
    )
