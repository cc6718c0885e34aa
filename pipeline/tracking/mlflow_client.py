"""The connection to MLflow: its address, its failures as one line, and calls that make a thing once."""

import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import mlflow
import requests
from mlflow import MlflowClient
from mlflow.environment_variables import (
    MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR,
    MLFLOW_HTTP_REQUEST_MAX_RETRIES,
)
from mlflow.exceptions import MlflowException

from pipeline.core.cli import project_root
from pipeline.core.errors import PipelineError, convert_os_errors, redact_credentials
from pipeline.core.files import atomic_path

log = logging.getLogger(__name__)
ResultT = TypeVar("T")

MODEL_NAME = "spam-detector"  # of the experiment and of the registered model
ERROR_CAUSE = re.compile(  # in what MLflow's client says of a call that failed, beside its objects
    r"\[Errno -?\d+\] ([^')\"]+)|too many \d+ error responses|timed out|Remote end closed connection"
    r"|\(sqlite3\.\w+\) [\w ]*\w"
)


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, else an sqlite file in the project's root."""
    return (
        os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project_root().resolve()}/mlflow.db"
    )


@contextmanager
def connect() -> Iterator[MlflowClient]:
    """A client of `address()`; whatever goes wrong there becomes one line."""
    for library in ("alembic", "mlflow"):
        logging.getLogger(library).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it raises what it logs
    logging.getLogger("urllib3.connectionpool").addFilter(_plainly)
    _see_to_the_database()
    mlflow.set_tracking_uri(tracking_uri())  # from now on it stands in the environment too
    mlflow.set_registry_uri(tracking_uri())
    try:
        client = MlflowClient()
    except Exception as error:  # of MLflow, of the database or of its driver, whichever that is
        raise connection_error(error) from error
    try:
        with convert_os_errors(f"MLflow at {redact_credentials(tracking_uri())}"):
            yield client
    except (MlflowException, requests.RequestException) as error:
        raise connection_error(error) from error


def _plainly(record: logging.LogRecord) -> bool:
    """urllib3's warning of each failed try, without its four lines of objects."""
    record.msg, record.args = "MLflow does not answer: trying again", ()
    return True


def _see_to_the_database() -> None:
    """The project's own sqlite file appears whole: a kill among its first migrations would spoil it.

    One that the user names is not made: a mistyped name would look like a registry without a champion.
    """
    file = Path(tracking_uri().removeprefix("sqlite:///"))
    if not tracking_uri().startswith("sqlite:///") or file.exists():
        return
    if os.environ.get("MLFLOW_TRACKING_URI"):
        raise PipelineError(
            f"MLFLOW_TRACKING_URI: {file} is not there; mend the path, "
            "or make the database with `mlflow experiments search`"
        )
    with atomic_path(file) as temporary:
        MlflowClient(f"sqlite:///{temporary}").search_experiments()


def connection_error(error: Exception) -> PipelineError:
    """What MLflow, its database or its driver said, as one line: place, problem, way out."""
    said = redact_credentials(" ".join(str(error).partition("[SQL:")[0].split()))
    if cause := ERROR_CAUSE.search(said):
        said = cause[1] or cause[0]
    status = error.get_http_status_code() if isinstance(error, MlflowException) else None
    if tracking_uri().startswith("sqlite"):
        way_out = (
            "see that the file is an MLflow database and may be written, and that the disk has room"
        )
    elif status in (401, 403):
        way_out = "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
    elif status in (400, 409):  # an answer was lost, and its call sent again, say
        way_out = "run it again: it goes on where it stopped"
    else:
        way_out = "see that MLFLOW_TRACKING_URI is right, and that its server is up"
    return PipelineError(f"MLflow at {redact_credentials(tracking_uri())}: {said[:200]}; {way_out}")


@contextmanager
def http_limits(retries: int, timeout: int | None = None) -> Iterator[None]:
    """How often, and how many seconds, MLflow's client tries one call while the block runs."""
    settings = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": retries, "MLFLOW_HTTP_REQUEST_TIMEOUT": timeout}
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update({name: str(value) for name, value in settings.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            os.environ.update({name: value} if value is not None else {})


def find_or_create(find: Callable[[], ResultT | None], create: Callable[[], ResultT]) -> ResultT:
    """What `find` finds, else what `create` makes: one, even where the answer was lost on its way back.

    MLflow's client by itself would send the call once more, and make a second one. (A call that takes effect
    only after the client gave it up and searched again still does: a server knows of no unique tag.)
    """
    retries = MLFLOW_HTTP_REQUEST_MAX_RETRIES.get() if tracking_uri().startswith("http") else 0
    for trial in range(retries + 1):
        found = find()
        if found is not None:
            return found
        try:
            with http_limits(retries=0):
                return create()
        except MlflowException as error:
            if trial == retries or error.get_http_status_code() not in (429, 500, 503, 504):
                raise
            log.warning("MLflow does not answer: trying again")
            time.sleep(MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR.get() * 2**trial)
    raise AssertionError("the last trial returns or raises")


def experiment_id(client: MlflowClient) -> str:
    """The id of our experiment, which is made where there is none."""

    def find() -> str | None:
        found = client.get_experiment_by_name(MODEL_NAME)
        return str(found.experiment_id) if found else None

    local = tracking_uri().startswith("sqlite")
    artifacts = (project_root().resolve() / "mlartifacts").as_uri() if local else None
    return find_or_create(find, lambda: str(client.create_experiment(MODEL_NAME, artifact_location=artifacts)))
