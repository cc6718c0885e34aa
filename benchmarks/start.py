"""Times commands from their start, with and without the cache of compiled networks.

predict   one message
score     1,000 messages of the last `dvc repro`, from CSV to CSV
serve     until `/ready` answers

Prints the medians of interleaved rounds, in seconds. Needs the champion that `dvc repro` registers.
Removes the cache in `.compiled/`, and leaves a new one.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pandas as pd
import requests
from tqdm import tqdm

from benchmarks.quality import MESSAGES, markdown
from pipeline.core.cli import argument_parser, run_command
from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet
from pipeline.registry.compile_cache import CACHE_FOLDER, FLAGS_VARIABLE
from tests.harness.servers import free_port

EXAMPLE = "python -m benchmarks.start --rounds 3"
PIPELINE = [sys.executable, "-m", "pipeline"]
ROWS = 1_000
READY_SECONDS = 600  # until a server that is not ready is given up
WITHOUT, FIRST, LATER = "without the cache", "first run with it", "later run"

Command = Callable[[Path, Mapping[str, str]], None]  # (temporary folder, environment)


def predict(folder: Path, environment: Mapping[str, str]) -> None:
    """Asks for one message."""
    _run("predict", "WIN a prize now", environment=environment)


def score(folder: Path, environment: Mapping[str, str]) -> None:
    """Labels a file of ROWS messages."""
    messages = read_parquet(MESSAGES, ["text"]).slice(0, ROWS).to_pandas()
    messages.to_csv(folder / "in.csv", index=False)
    _run("score", str(folder / "in.csv"), str(folder / "out.csv"), environment=environment)


def serve(folder: Path, environment: Mapping[str, str]) -> None:
    """Starts the server, and stops it when it is ready. Raises: PipelineError."""
    port = free_port()
    command = [*PIPELINE, "serve", "--port", str(port)]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment, **streams) as server:
        end = time.monotonic() + READY_SECONDS
        while not _is_ready(port):
            if server.poll() is not None or time.monotonic() > end:
                server.kill()
                raise PipelineError("serve: does not start; `make serve` says why")
            time.sleep(0.1)
        server.terminate()


COMMANDS: dict[str, Command] = {"predict": predict, "score": score, "serve": serve}


def _run(*arguments: str, environment: Mapping[str, str]) -> None:
    subprocess.run([*PIPELINE, *arguments], env=environment, check=True, capture_output=True)


def _is_ready(port: int) -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/ready", timeout=5).ok
    except requests.RequestException:
        return False


def timed(command: Command, environment: Mapping[str, str]) -> float:
    """The seconds of a command."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        command(Path(folder), environment)
        return time.perf_counter() - start


def measure_round(names: Iterable[str]) -> dict[tuple[str, str], float]:
    """Seconds by command and WITHOUT, FIRST or LATER. Args: names: of COMMANDS."""
    seconds = {}
    for name in names:
        shutil.rmtree(CACHE_FOLDER, ignore_errors=True)
        with_cache = {key: value for key, value in os.environ.items() if key != FLAGS_VARIABLE}
        for way, environment in (
            (WITHOUT, with_cache | {FLAGS_VARIABLE: ""}),
            (FIRST, with_cache),
            (LATER, with_cache),
        ):
            seconds[name, way] = timed(COMMANDS[name], environment)
    return seconds


def main() -> None:
    """Runs the benchmark. Raises: PipelineError if the server does not start."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--only", choices=COMMANDS, help="one command alone")
    options = parser.parse_args()
    names = [options.only] if options.only else list(COMMANDS)
    rounds = [measure_round(names) for _ in tqdm(range(options.rounds), "rounds", disable=None)]
    medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    table = pd.Series(medians).unstack().loc[names, [WITHOUT, FIRST, LATER]]
    print(markdown("seconds, median", table.map("{:.1f}".format)))


if __name__ == "__main__":
    run_command(main)
