"""How long the served champion takes for a message, and how many it answers a second.

`python -m benchmarks.serve [--rounds 5]` starts what `make serve` starts, and asks it about the messages that
`dvc repro` left, one a request, from 1, 8 and 64 clients at a time. The rounds are interleaved, and their
medians are printed as a Markdown table. Clients and server share this machine.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import aiohttp
import numpy as np
from tqdm import tqdm

from benchmarks import quality
from pipeline.core.cli import project_root, run_command
from pipeline.core.errors import PipelineError
from pipeline.core.tables import read_parquet
from pipeline.registry import subprocesses

CLIENTS = (1, 8, 64)
REQUESTS = 1024  # of each number of clients, a round
START_SECONDS = 600  # until the server is given up


async def milliseconds(address: str, texts: list[str], clients: int) -> tuple[list[float], float]:
    """What each request took, and the seconds of all of them."""
    pending, taken = iter(texts), list[float]()

    async def client(session: aiohttp.ClientSession) -> None:
        for text in pending:
            start = time.perf_counter()
            body = {"dataframe_records": [{"text": text}]}
            async with session.post(
                f"{address}/invocations", json=body, raise_for_status=True
            ) as response:
                await response.read()
            taken.append(1000 * (time.perf_counter() - start))

    start = time.perf_counter()
    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return taken, time.perf_counter() - start


def figures(taken: list[float], seconds: float) -> tuple[float, float, float]:
    """p50 and p99 in milliseconds, and requests a second."""
    return float(np.percentile(taken, 50)), float(np.percentile(taken, 99)), len(taken) / seconds


def table(rounds: dict[int, list[tuple[float, float, float]]]) -> str:
    """The median of each figure over the rounds, a line for each number of clients."""
    lines = ["| clients | p50, ms | p99, ms | requests a second |", "|---|---|---|---|"]
    for clients, measured in rounds.items():
        p50, p99, rate = (statistics.median(values) for values in zip(*measured, strict=True))
        lines.append(f"| {clients} | {p50:.1f} | {p99:.1f} | {rate:,.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.serve", description=__doc__.splitlines()[0])
    parser.add_argument(
        "--rounds", type=int, default=5, help="of each number of clients (default: 5)"
    )
    count = parser.parse_args().rounds
    if count < 1:
        raise PipelineError(f"--rounds: {count} is not at least 1")
    messages = read_parquet(quality.MESSAGES, ["text"]).to_pandas()["text"].tolist()
    texts = (messages * (REQUESTS // len(messages) + 1))[:REQUESTS]
    rounds: dict[int, list[tuple[float, float, float]]] = {clients: [] for clients in CLIENTS}
    here = {"PYTHONPATH": str(Path.cwd()), "DVC_ROOT": str(project_root().resolve())}
    with subprocesses.serving([sys.executable, "-m", "pipeline", "serve"], here) as server:
        if not server.is_up(START_SECONDS):
            raise PipelineError(subprocesses.last_line(server.folder).removeprefix("error: "))
        asyncio.run(milliseconds(server.address, texts, max(CLIENTS)))  # compiles
        for _ in tqdm(range(count), "rounds", disable=None):
            for clients, measured in rounds.items():
                measured.append(figures(*asyncio.run(milliseconds(server.address, texts, clients))))
    print(table(rounds))


if __name__ == "__main__":
    run_command(main)
