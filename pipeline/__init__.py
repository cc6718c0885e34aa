"""The spam filter: the six stages of `dvc.yaml`, one module each, and their packages."""

import gc
import os
import sys
import time

START = time.perf_counter()  # of the process, before it imports libraries

if sys.flags.optimize > 1:
    raise SystemExit(
        "error: PYTHONOPTIMIZE=2 removes the docstrings that libraries need; "
        "set it to 1 or unset it"
    )

_QUIET_LIBRARIES = {  # read by the libraries when they are imported
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the URL may contain a password
}
os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever it is for the user's other projects
for _name, _value in _QUIET_LIBRARIES.items():
    os.environ.setdefault(_name, _value)

gc.set_threshold(10_000)  # imports make no garbage; looking for it less often saves a tenth of them
