"""MLflow's addresses, which it keeps for the whole process and in the environment."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import pytest


@contextmanager
def store_at(address: str, folder: Path) -> Iterator[pytest.MonkeyPatch]:
    """Works in a folder with the MLflow at an address; "" leaves the choice to the project.

    Afterwards MLflow has forgotten the address, and no variable of the environment has it.
    """
    _forget_addresses()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, address)  # also where it is empty: MLflow sets both itself
        try:
            yield patch
        finally:
            _forget_addresses()


def _forget_addresses() -> None:
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)
