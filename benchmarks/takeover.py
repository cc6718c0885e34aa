"""Moves the alias of the champion while clients ask the server, and checks every answer.

Makes a registry with two small versions and starts what `make serve` starts. Prints the requests
that failed, the answers of a version that was not the champion within the last 10 seconds, the
answers that went back to the old version, the time until an answer of the new champion came, and
the server's memory before and after.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import psutil
from mlflow import MlflowClient
from tqdm import tqdm

from benchmarks.serve import ready_server
from pipeline.core.cli import argument_parser, run_command
from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from tests.harness.ledger_entries import make_champion
from tests.harness.small_models import TEXTS, SmallRegistry

EXAMPLE = "python -m benchmarks.takeover --moves 50 --requests 100000"
CLIENTS = 16
GRACE_SECONDS = 10  # a version may answer so long after it lost the alias
LOST_SECONDS = 60  # until a server that does not follow is given up
NUMBERS = ("1", "2")


class Answer(NamedTuple):
    """A version's answer; times are in seconds."""

    sent: float
    received: float
    version: str


class Move(NamedTuple):
    """From this time on the version is the champion."""

    time: float
    version: str


@dataclass
class Load:
    """What the clients have seen so far."""

    answers: list[Answer] = field(default_factory=list)
    failures: int = 0
    is_over: bool = False

    @property
    def requests(self) -> int:
        return len(self.answers) + self.failures


def stale_answers(answers: Sequence[Answer], moves: Sequence[Move]) -> list[Answer]:
    """Answers of a version that was no champion from GRACE_SECONDS before the request to its end.

    Args:
        moves: by time; the first one is before all answers.
    """
    ends = [*(move.time for move in moves[1:]), float("inf")]
    return [
        answer
        for answer in answers
        if not any(
            move.version == answer.version
            and move.time <= answer.received
            and answer.sent - GRACE_SECONDS <= end
            for move, end in zip(moves, ends, strict=True)
        )
    ]


def seconds_until_seen(answers: Sequence[Answer], move: Move) -> float:
    """From a move to the first answer of its version that came later; infinite without one."""
    later = [
        answer.received
        for answer in answers
        if answer.version == move.version and answer.received >= move.time
    ]
    return min(later, default=float("inf")) - move.time


def backward_answers(answers: Sequence[Answer], moves: Sequence[Move]) -> list[Answer]:
    """Answers of another version to requests sent after the champion had answered once."""
    ends = [*(move.time for move in moves[1:]), float("inf")]
    seen = [move.time + seconds_until_seen(answers, move) for move in moves]
    return [
        answer
        for answer in answers
        if any(
            first < answer.sent and answer.received < end and answer.version != move.version
            for move, first, end in zip(moves, seen, ends, strict=True)
        )
    ]


async def ask(address: str, load: Load) -> None:
    """A client, which asks until the load is over."""
    async with aiohttp.ClientSession() as session:
        while not load.is_over:
            text = TEXTS[load.requests % len(TEXTS)]
            sent = time.monotonic()
            try:
                url = f"{address}/score"
                async with session.post(
                    url, json={"text": text}, raise_for_status=True
                ) as response:
                    version = (await response.json())["model_version"]
                load.answers.append(Answer(sent, time.monotonic(), version))
            except (aiohttp.ClientError, TimeoutError, KeyError):
                load.failures += 1


async def move_alias(load: Load, moves: int, requests: int) -> list[Move]:
    """Moves the alias evenly over the requests, each time after the move before was seen.

    The first entry of the result is the champion of the beginning.
    """
    made = [Move(time.monotonic(), NUMBERS[0])]
    with tqdm(total=requests, unit=" requests", disable=None) as bar:
        for number in range(1, moves + 1):
            await _wait_for(load, made[-1], number * requests // (moves + 1), bar)
            version = NUMBERS[number % len(NUMBERS)]
            await asyncio.to_thread(versions.set_alias, versions.CHAMPION, version)
            made.append(Move(time.monotonic(), version))
        await _wait_for(load, made[-1], requests, bar)
    return made


async def _wait_for(load: Load, move: Move, requests: int, bar: Any) -> None:
    """Waits until a move was seen and so many requests are done. Raises: PipelineError."""
    start = time.monotonic()
    while load.requests < requests or not _is_seen(load, move):
        if time.monotonic() > start + LOST_SECONDS and not _is_seen(load, move):
            raise PipelineError(f"version {move.version} has not answered for {LOST_SECONDS} s")
        await asyncio.sleep(0.05)
        bar.update(load.requests - bar.n)


def _is_seen(load: Load, move: Move) -> bool:
    return bool(load.answers) and load.answers[-1].version == move.version


async def run_load(address: str, moves: int, requests: int) -> tuple[Load, list[Move]]:
    """Asks and moves at the same time."""
    load = Load()
    clients = [asyncio.create_task(ask(address, load)) for _ in range(CLIENTS)]
    try:
        made = await move_alias(load, moves, requests)
    finally:
        load.is_over = True
        await asyncio.gather(*clients)
    return load, made


def make_registry(folder: Path) -> None:
    """Makes an MLflow of two versions, the first of which is the champion, for this process."""
    database = folder / "empty.db"
    MlflowClient(f"sqlite:///{database}").search_experiments()
    registry = SmallRegistry(folder, database)
    os.environ["MLFLOW_TRACKING_URI"] = registry.address
    models = [registry.add() for _ in NUMBERS]
    store = MlflowClient(registry.address, registry.address)
    for number, model in reversed(list(zip(NUMBERS, models, strict=True))):
        make_champion(store, number, model.artifacts.parent)


def report(load: Load, made: Sequence[Move], memory: Sequence[int]) -> str:
    """The figures, a line each.

    Args:
        memory: of the server in bytes, before and after.
    """
    stale = stale_answers(load.answers, made)
    backward = backward_answers(load.answers, made)
    first, *later = (seconds_until_seen(load.answers, move) for move in made[1:])
    return "\n".join(
        [
            f"{load.requests:,} requests by {CLIENTS} clients, {len(made) - 1} moves of the alias",
            f"failed requests: {load.failures}",
            f"answers of a version that was no champion within {GRACE_SECONDS} s: {len(stale)}",
            f"answers of the old version after the new one had answered: {len(backward)}",
            f"first move, to a version that is loaded and compiled: seen after {first:.1f} s",
            f"later moves, to one in memory: seen after at most {max(later, default=0):.1f} s",
            f"memory of the server: {memory[0] / 1e6:,.0f} MB before, {memory[1] / 1e6:,.0f} after",
        ]
    )


def main() -> None:
    """Runs the benchmark. Raises: PipelineError if the server does not start or follow."""
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--moves", type=int, default=10, help="of the alias; default: 10")
    parser.add_argument("--requests", type=int, default=5000, help="at least; default: 5000")
    options = parser.parse_args()
    for name, number in vars(options).items():
        if number < 1:
            raise PipelineError(f"--{name}: {number} is not at least 1")
    with tempfile.TemporaryDirectory() as name:
        make_registry(Path(name))
        with ready_server() as server:
            process = psutil.Process(server.process.pid)
            memory = [process.memory_info().rss]
            load, made = asyncio.run(run_load(server.address, options.moves, options.requests))
            memory.append(process.memory_info().rss)
    print(report(load, made, memory))


if __name__ == "__main__":
    run_command(main)
