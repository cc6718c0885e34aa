"""Corrects the paths of artifacts in the project's own MLflow database after a move.

MLflow stores them as absolute paths and has no call that changes them (mlflow issue 3144).
"""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pipeline.core.cli import project_root
from pipeline.core.errors import PipelineError

log = logging.getLogger(__name__)

PATH_COLUMNS = (  # tables and columns with the paths that MLflow reads artifacts from
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


def own_database() -> Path:
    """The project's own database, which is used without `MLFLOW_TRACKING_URI`."""
    return project_root().resolve() / "mlflow.db"


def artifact_folder() -> Path:
    """The folder of the artifacts, if MLflow's database is a file."""
    return project_root().resolve() / "mlartifacts"


def follow_move() -> None:
    """Makes the paths in the project's own database lead to `artifact_folder`.

    A location at another place is replaced if the folder is here, also as a copy, or if that
    place is gone. All paths change in one transaction, or none.

    Raises: PipelineError if the database cannot be written.
    """
    here = artifact_folder()
    with closing(sqlite3.connect(own_database())) as connection:
        for old in _experiment_locations(connection):
            if old == here.as_uri() or not old.endswith(f"/{here.name}"):
                continue
            if here.is_dir() or not Path(url2pathname(urlsplit(old).path)).exists():
                _replace_prefix(connection, old, here.as_uri())
                log.info("MLflow: follows the project, which was moved from %s", old)


def _experiment_locations(connection: sqlite3.Connection) -> list[str]:
    try:
        rows = connection.execute("SELECT artifact_location FROM experiments").fetchall()
    except sqlite3.Error:  # such as a file of another kind, which MLflow itself reports
        return []
    return [location for (location,) in rows]


def _replace_prefix(connection: sqlite3.Connection, old: str, new: str) -> None:
    try:
        with connection:  # a transaction
            for table, column in PATH_COLUMNS:
                connection.execute(
                    f"UPDATE {table} SET {column} = :new || substr({column}, length(:old) + 1) "
                    f"WHERE substr({column}, 1, length(:old)) = :old",
                    {"old": old, "new": new},
                )
    except sqlite3.Error as error:
        raise PipelineError(
            f"{own_database()}: the project was moved, and its paths cannot be corrected: {error}; "
            "give permission, and end other programs that use the file, then run it again"
        ) from error
