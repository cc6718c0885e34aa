"""The stages of `dvc.yaml`, a module each, and what they share."""

import os

for name, value in {  # read by the libraries when they are imported
    "TF_CPP_MIN_LOG_LEVEL": "3",  # TensorFlow greets from C++
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # with the password in it
}.items():
    os.environ.setdefault(name, value)
