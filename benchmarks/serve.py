"""Measures the latency and the throughput of the served champion.

Starts what `make serve` starts, and sends it the messages of the last `dvc repro`, one a request
from 1, 8 and 64 clients at a time, and a thousand in one request. Prints the medians over the
rounds as a Markdown table. Clients and server share this machine.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import aiohttp
import numpy as np
from tqdm import tqdm

from benchmarks import quality
from pipeline.core.cli import argument_parser, project_root, run_command
from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet
from pipeline.registry import subprocesses

EXAMPLE = "python -m benchmarks.serve --rounds 5 --requests 1024"
CLIENTS = (1, 8, 64)
LISTED = 1000  # messages in one request
START_SECONDS = 600  # until a server that does not answer is given up


async def send_requests(
    address: str, texts: Sequence[str], clients: int
) -> tuple[list[float], float]:
    """The milliseconds of each request, and the seconds of all of them."""
    pending = iter(texts)
    milliseconds: list[float] = []

    async def client(session: aiohttp.ClientSession) -> None:
        for text in pending:
            start = time.perf_counter()
            body = {"dataframe_records": [{"text": text}]}
            url = f"{address}/invocations"
            async with session.post(url, json=body, raise_for_status=True) as response:
                await response.read()
            milliseconds.append(1000 * (time.perf_counter() - start))

    start = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return milliseconds, time.perf_counter() - start


async def wait_until_ready(address: str) -> None:
    """Waits until the server has compiled all shapes."""
    async with aiohttp.ClientSession() as session:
        while (await session.get(f"{address}/ready")).status != 200:
            await asyncio.sleep(1)


@contextmanager
def ready_server() -> Iterator[subprocesses.Server]:
    """What `make serve` starts, once it is ready. Raises: PipelineError if it does not start."""
    environment = {"PYTHONPATH": str(Path.cwd()), "DVC_ROOT": str(project_root().resolve())}
    command = [sys.executable, "-m", "pipeline", "serve"]
    with subprocesses.running_server(command, environment) as server:
        if not server.wait_until_up(START_SECONDS):
            line = subprocesses.last_output_line(server.folder)
            raise PipelineError(line.removeprefix("error: "))
        asyncio.run(wait_until_ready(server.address))
        yield server


async def send_list(address: str, texts: Sequence[str]) -> float:
    """Messages a second, in one request."""
    start = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        body = [{"text": text} for text in texts]
        async with session.post(f"{address}/score", json=body, raise_for_status=True) as response:
            await response.read()
    return len(texts) / (time.perf_counter() - start)


def latency_figures(milliseconds: Sequence[float], seconds: float) -> tuple[float, float, float]:
    """p50 and p99 in milliseconds, and requests a second."""
    p50, p99 = np.percentile(milliseconds, [50, 99])
    return float(p50), float(p99), len(milliseconds) / seconds


def latency_table(rounds: dict[int, list[tuple[float, float, float]]]) -> str:
    """The median of each figure over the rounds, a line for each number of clients."""
    lines = ["| clients | p50, ms | p99, ms | requests a second |", "|---|---|---|---|"]
    for clients, figures in rounds.items():
        p50, p99, rate = (statistics.median(values) for values in zip(*figures, strict=True))
        lines.append(f"| {clients} | {p50:.1f} | {p99:.1f} | {rate:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    """Runs the benchmark. Raises: PipelineError if the server does not start."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--rounds", type=int, default=5, help="default: 5")
    parser.add_argument(
        "--requests",
        type=int,
        default=1024,
        help="in a round, for each number of clients; default: 1024",
    )
    options = parser.parse_args()
    for name, number in vars(options).items():
        if number < 1:
            raise PipelineError(f"--{name}: {number} is not at least 1")
    messages = read_parquet(quality.MESSAGES, ["text"]).to_pandas()["text"].tolist()
    texts = (messages * (options.requests // len(messages) + 1))[: options.requests]
    rounds: dict[int, list[tuple[float, float, float]]] = {clients: [] for clients in CLIENTS}
    with ready_server() as server:
        lists = []
        for _ in tqdm(range(options.rounds), "rounds", disable=None):
            for clients, figures in rounds.items():
                taken = asyncio.run(send_requests(server.address, texts, clients))
                figures.append(latency_figures(*taken))
            lists.append(asyncio.run(send_list(server.address, messages[:LISTED])))
    print(latency_table(rounds))
    print(f"{LISTED:,} messages in one request: {statistics.median(lists):,.0f} a second")


if __name__ == "__main__":
    run_command(main)
