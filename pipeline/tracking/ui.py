"""Shows runs and models in MLflow's pages, on this machine alone."""

import logging
import os
import sys

from pipeline.core.cli import argument_parser
from pipeline.tracking.mlflow_client import MODEL_NAME, connect, tracking_uri

log = logging.getLogger(__name__)

EXAMPLE = "python -m pipeline ui --port 5002"


def main(argv: list[str] | None = None) -> None:
    """Runs `mlflow ui` in place of this process. Raises: PipelineError, as a command does."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1 (default: 5000)")
    port = str(parser.parse_args(argv).port)
    uri = tracking_uri()
    if uri.startswith("http"):
        log.info("open the server that MLFLOW_TRACKING_URI names")
        return
    with connect() as client:  # a database that cannot be read is one line here
        experiment = client.get_experiment_by_name(MODEL_NAME)
    if experiment:  # MLflow's start page shows the tools for language models
        page = f"#/experiments/{experiment.experiment_id}/runs?workflowType=machine_learning"
        log.info("open http://127.0.0.1:%s/%s", port, page)
        log.info("MLflow hides training elsewhere until you choose Model training at its top left")
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri]
    os.execv(sys.executable, [*command, "--host", "127.0.0.1", "--port", port])
