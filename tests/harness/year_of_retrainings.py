"""A year of retrainings on a real MLflow server, and whether ledger, registry and files agreed throughout.

`python -m benchmarks.registry [--retrainings 50]` retrains on more and more of the real messages, as a user
does it, in a temporary project: `dvc repro`, `python -m pipeline.register`, `python -m pipeline ledger`.
Challengers are better, equal, worse or broken; some registers are killed, some find no server, or one that
fails now and then; a person rolls back, and forces. At the end the registry is deleted, and restored. It
prints Markdown tables, and exits with 1 when something did not hold.
"""

import argparse
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from tqdm import tqdm

from pipeline.core.files import read_json, write_json
from pipeline.core.hashing import unit_hash
from pipeline.core.params import read_yaml
from pipeline.models import keras_files
from pipeline.preprocessing import normalize
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness import servers
from tests.harness.servers import (
    Action,
    Answer,
    Forward,
    MLflow,
    Proxy,
    answers,
    bucket,
    calls,
    loses_the_answer,
)
from tests.harness.small_project import ROOT, environment, new_project, set_params

FEWEST = 1500  # messages at first
CRITERIA = {"average_precision": {"min": 0.75}, "ham_blocked_percent": {"max": 3.0}}
SETTINGS = {  # a network that trains in seconds
    "ingest": {
        "files": {
            "glob": "*.csv",
            "columns": {"text": "text", "label": "label"},
            "labels": {"spam": ["spam"], "ham": ["ham"]},
            "encoding": "utf-8",
        }
    },
    "validate": {"row_count": [500, 100_000]},
    "train": {
        "model": "dense",
        "corruptions": [],
        "wide_share": 0.0,
        "dropout": 0.0,
        "patience": 99,
    },
    "evaluate": {"lost_ham_budget": 0.01},
    "register": {
        "criteria": CRITERIA,
        "latency_budget": 60_000,
    },  # beside other work a second is no sign
}
TRAIN = {"epochs": 7, "learning_rate": 0.01}  # of a challenger that may win
FLIPPED = 0.15  # of all texts, where labels are flipped
ASKED = 100  # messages, before and after the registry is lost
GOLDEN = (5**0.5 - 1) / 2  # its multiples are spread over [0, 1), however many there are
SAME = 1e-6  # of a probability
TRIES = 4  # of a register, on a server that fails now and then
NO_WAIT = {"MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0", "MLFLOW_HTTP_REQUEST_BACKOFF_JITTER": "0"}
GIVES_UP = {**NO_WAIT, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
REGISTER = ("python", "-m", "pipeline.register")
LEDGER = ("python", "-m", "pipeline", "ledger")

# ---- what the registry, the ledger and the files say


@dataclass(frozen=True)
class Standing:
    """How things stand between two retrainings."""

    aliases: Mapping[str, str]  # the version of each
    versions: Mapping[str, str]  # the model_hash of each
    lines: Sequence[Mapping[str, Any]]  # of the ledger

    @property
    def champion(self) -> str | None:
        return self.aliases.get("champion")


def flaws(before: Standing, after: Standing) -> Iterator[str]:
    """What does not agree, or should not have happened in between."""
    added = after.lines[len(before.lines) :]
    if after.lines[: len(before.lines)] != before.lines:
        yield "lines of the ledger have changed"
    if len(added) != (moves := int(before.champion != after.champion)):
        yield f"{len(added)} lines for {moves} moves of the alias"
    for line, following in itertools.pairwise(after.lines):
        if following["previous"] != line["version"]:
            yield f"version {following['version']} says that it followed {following['previous']}"
    if after.lines:
        said = {
            alias: after.lines[-1][key]
            for alias, key in (("champion", "version"), ("previous",) * 2)
        }
        if {alias: after.aliases.get(alias) for alias in said} != said:
            yield f"aliases are {dict(after.aliases)}, and the last line says {said}"
    for line in after.lines:
        if after.versions.get(line["version"]) != line["model_hash"]:
            yield f"version {line['version']} is not the model of its line"
    if len(set(after.versions.values())) < len(after.versions):
        yield "a model has two versions"
    for line in added:
        yield from beyond(line)


def beyond(line: Mapping[str, Any]) -> Iterator[str]:
    """The criteria that a champion missed, unless a person wanted it so."""
    for name, bound in CRITERIA.items():
        value = line["figures"][name]["value"]
        held = bound.get("min", -np.inf) <= value <= bound.get("max", np.inf)
        if not held and line["verdict"] not in ("forced", "rollback"):
            yield f"version {line['version']} is the champion with {name} {value}"


# ---- what is retrained


@dataclass(frozen=True)
class Retraining:
    kind: str  # of KINDS
    fate: str = "undisturbed"  # of FATES: what happens to its register
    part: float = 0.5  # of its register's requests, where it is killed
    thorough: bool = (
        False  # asked in all ways that params.yaml names before the alias moves, or in one
    )
    regretted: bool = False  # a person rolls back afterwards


KINDS = {  # and how many of fifty
    "better: more data": 20,
    "equal: another seed": 8,
    "worse: fewer epochs": 5,
    "worse: flipped labels": 4,
    "worse, forced": 1,
    "broken: criteria missed": 3,
    "broken: weights are NaN": 3,
    "broken: weights are NaN, forced": 2,
    "broken: no threshold": 2,
    "broken: tampered with, forced": 2,
}
TRAINED = {  # otherwise than TRAIN says
    "worse: fewer epochs": {"epochs": 4},
    "worse, forced": {"epochs": 4},
    "broken: criteria missed": {"epochs": 1, "learning_rate": 1e-5},
}
ROLLED_BACK = "a person rolls back"
REGRETS = 4  # in a year


def planned(number: int) -> list[Retraining]:
    """`number` of them: kinds, fates and regrets are spread over the year, kills over a register."""
    shares = {kind: number * weight / sum(KINDS.values()) for kind, weight in KINDS.items()}
    counts = {kind: int(share) for kind, share in shares.items()}
    by_rest = sorted(shares, key=lambda kind: counts[kind] - shares[kind])
    counts.update({kind: counts[kind] + 1 for kind in by_rest[: number - sum(counts.values())]})
    order = sorted(((i + 0.5) / n, kind) for kind, n in counts.items() for i in range(n))
    kinds, cycle = [kind for _, kind in order], itertools.cycle(FATES_OF_A_YEAR)
    fates = [
        "undisturbed" if kind in BY_HAND or not turn else next(cycle)
        for turn, kind in enumerate(kinds)
    ]
    kills = itertools.count(1)
    regrets = {number * (i + 1) // (REGRETS + 1) for i in range(REGRETS)}
    return [
        Retraining(
            kind,
            fate,
            part=next(kills) * GOLDEN % 1 if fate.startswith("killed") else 0.5,
            thorough=turn % 10 == 0,
            regretted=turn in regrets,
        )
        for turn, (kind, fate) in enumerate(zip(kinds, fates, strict=True))
    ]


def rows_at(plan: Sequence[Retraining], turn: int, rows: int) -> int:
    """How many messages there are by then: more of them at each challenger that shall be better."""
    better = [one.kind == "better: more data" for one in plan]
    share = max(0, sum(better[: turn + 1]) - 1) / max(1, sum(better) - 1)
    return FEWEST + int(share * (rows - FEWEST))


def flipped(messages: pd.DataFrame) -> pd.DataFrame:
    """The messages, of which some have the other label; alike ones have the same."""
    flip = [unit_hash("flipped", normalize.mask(one)) < FLIPPED for one in messages["text"]]
    other = messages["label"].map({"ham": "spam", "spam": "ham"})
    return messages.assign(label=np.where(flip, other, messages["label"]))


# ---- the project


class Year:
    """A project on the real messages, its server, a proxy between the two, and what has happened so far."""

    def __init__(self, folder: Path, server: MLflow, proxy: Proxy) -> None:
        self.folder, self.server, self.proxy = folder, server, proxy
        self._run = new_project(folder)
        self.client = MlflowClient(server.address())
        self.requests = dict[str, list[str]]()  # of the last undisturbed register of each kind
        self.survived, self.verdicts = Counter[str](), dict[str, Counter[str]]()
        of_ours = read_yaml(ROOT / "params.yaml")["register"]
        self.ways = of_ours["parity"]
        set_params(folder, SETTINGS)
        set_params(folder, {"ingest": {"sources": ["sms"]}, "register": {"duel": of_ours["duel"]}})
        if (ROOT / ".downloads").exists():
            shutil.copytree(ROOT / ".downloads", folder / ".downloads")
        self._run("dvc", "repro", "ingest")
        self.messages = pd.read_parquet(folder / "data/ingested/messages.parquet")[
            ["text", "label"]
        ]
        set_params(folder, {"ingest": {"sources": ["files"]}})

    @property
    def address(self) -> str:
        """As the project's commands are told it."""
        return self.server.address(port=self.proxy.port)

    def run(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """A user's command, which may fail."""
        settings = {"MLFLOW_TRACKING_URI": self.address, **settings}
        return self._run(*command, check=False, **settings)

    def standing(self) -> Standing:
        found = self.client.search_registered_models(f"name = '{MODEL_NAME}'")
        versions = self.client.search_model_versions(f"name = '{MODEL_NAME}'")
        ledger = self.folder / "ledger.jsonl"
        return Standing(
            {alias: str(version) for model in found for alias, version in model.aliases.items()},
            {str(version.version): version.tags["model_hash"] for version in versions},
            [json.loads(line) for line in ledger.read_text().splitlines()]
            if ledger.exists()
            else [],
        )

    def answers(self, which: str = "@champion") -> np.ndarray:
        """(ASKED,): probabilities of the champion, or of version `/7`, loaded as MLflow does it."""
        with asking(self.server.address()):
            model = mlflow.pyfunc.load_model(f"models:/{MODEL_NAME}{which}")
        return model.predict(self.messages[["text"]].head(ASKED))["probability"].to_numpy()

    def verdict(self) -> str:
        """The first words of the last register's report."""
        report = self.folder / "reports/register.json"
        return (
            json.loads(report.read_text())["verdict"].partition(":")[0]
            if report.exists()
            else "none"
        )


@contextmanager
def asking(address: str) -> Iterator[None]:
    """MLflow's functions, in this process, ask that server while the block runs."""
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


# ---- a register, and what happens to it

Problems = Iterator[str]
Fate = Callable[[Year, Retraining], Problems]


def failed(done: subprocess.CompletedProcess[str]) -> Problems:
    """What went wrong with a command that should not have failed: its errors, or its last words."""
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        yield f"{' '.join(done.args)}: {' '.join(said) or done.stderr.strip()[-300:]}"


def refused(done: subprocess.CompletedProcess[str]) -> Problems:
    """What is amiss with a command that should have stopped, in a line that says why."""
    if not done.returncode:
        yield f"{' '.join(done.args)}: nothing was refused"
    elif "Traceback" in done.stderr:
        yield f"{' '.join(done.args)}: {done.stderr.strip()[-300:]}"


def undisturbed(year: Year, retraining: Retraining) -> Problems:
    yield from failed(year.run("dvc", "repro"))
    year.requests[retraining.kind] = year.proxy.requests


def killed(pattern: str) -> Fate:
    """SIGKILL to `dvc repro` and its stage when such a request comes, or when it has been carried out."""

    def fate(year: Year, retraining: Retraining) -> Problems:
        known = year.requests.get(retraining.kind) or min(year.requests.values(), key=len)
        number = 1 + int(
            retraining.part * sum(bool(re.search(pattern, request)) for request in known)
        )
        kill = calls(lambda: os.killpg(dvc.pid, signal.SIGKILL), after=retraining.part * 10 % 2 < 1)
        year.proxy.on(kill, pattern, [number])
        dvc = subprocess.Popen(
            ["dvc", "repro"],
            cwd=year.folder,
            env=environment() | {"MLFLOW_TRACKING_URI": year.address},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        year.survived["killed" if dvc.wait() == -signal.SIGKILL else "killed, but had ended"] += 1
        year.proxy.reset()
        yield from failed(year.run("dvc", "repro"))

    return fate


def no_server(year: Year, retraining: Retraining) -> Problems:
    """It is down for the whole of a register."""
    year.server.stop()
    yield from refused(year.run("dvc", "repro", **GIVES_UP))
    year.server.start()
    yield from failed(year.run("dvc", "repro"))


def failing(action: Action) -> Fate:
    """The server does this at every seventh request; a user tries again, and meets it at others."""

    def fate(year: Year, retraining: Retraining) -> Problems:
        for trial in range(TRIES):
            year.proxy.reset()
            year.proxy.on(action, numbers=range(6 + trial, 100_000, 7))
            done = year.run("dvc", "repro", **NO_WAIT)
            if done.returncode == 0:
                return
            yield from refused(done)
        yield from failed(done)

    return fate


FATES: dict[str, Fate] = {
    "undisturbed": undisturbed,
    "killed": killed(""),
    "killed at an alias": killed("/registered-models/alias$"),
    "no server": no_server,
    "the server answers 500": failing(answers(500)),
    "the server's answers are lost": failing(loses_the_answer),
}
FATES_OF_A_YEAR = [*FATES, "undisturbed", "killed", "killed", "undisturbed", "killed"]


# ---- what a person does


def of_nan(year: Year) -> None:
    network = year.folder / "models/model.keras"
    model = keras_files.load(network)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    keras_files.save(model, network)


def without_threshold(year: Year) -> None:
    decision = year.folder / "models/decision.json"
    write_json(decision, {k: v for k, v in read_json(decision).items() if k != "threshold"})


def tampered_with(year: Year) -> None:
    """Somebody turns the stored model into one that calls everything spam, before it is asked."""

    def action(forward: Forward) -> Answer:
        answer = forward()
        stored = bucket(year.server.artifacts).objects.all()
        of_decisions = [entry for entry in stored if entry.key.endswith("/decision.json")]
        newest = max(of_decisions, key=lambda entry: entry.last_modified)
        decision = json.loads(newest.get()["Body"].read()) | {"threshold": 0.0}
        newest.put(Body=json.dumps(decision).encode())
        return answer

    year.proxy.on(action, "POST .*/model-versions/create$")


BY_HAND: dict[
    str, Callable[[Year], None]
] = {  # what is done to the files before `pipeline.register`
    "worse, forced": lambda year: None,
    "broken: weights are NaN": of_nan,
    "broken: weights are NaN, forced": of_nan,
    "broken: no threshold": without_threshold,
    "broken: tampered with, forced": tampered_with,
}


def by_hand(year: Year, retraining: Retraining) -> tuple[str, list[str]]:
    """The verdict, or that there is none, and what went wrong."""
    BY_HAND[retraining.kind](year)
    force = ("--force", "--reason", "we know better") if retraining.kind.endswith("forced") else ()
    done = year.run(*REGISTER, *force)
    if not retraining.kind.startswith("broken"):
        return year.verdict(), list(failed(done))
    return ("refused", list(refused(done))) if force or done.returncode else (year.verdict(), [])


# ---- a year


def arrange(year: Year, plan: Sequence[Retraining], turn: int) -> None:
    """The messages and the params of a retraining."""
    retraining = plan[turn]
    messages = year.messages.head(rows_at(plan, turn, len(year.messages)))
    messages = flipped(messages) if retraining.kind == "worse: flipped labels" else messages
    messages.to_csv(year.folder / "data/inbox/messages.csv", index=False)
    changes = TRAIN | TRAINED.get(retraining.kind, {}) | {"seed": turn}
    ways = year.ways if retraining.thorough else year.ways[:1]
    set_params(year.folder, {"train": changes, "register": {"parity": ways}})


def retrain(year: Year, plan: Sequence[Retraining], turn: int) -> Problems:
    """One retraining, its register, whatever happens to that, and how things stand then."""
    retraining, before = plan[turn], year.standing()
    arrange(year, plan, turn)
    yield from failed(year.run("dvc", "repro", "evaluate"))
    year.proxy.reset()
    if retraining.kind in BY_HAND:
        verdict, problems = by_hand(year, retraining)
        yield from problems
    else:
        yield from FATES[retraining.fate](year, retraining)
        verdict = year.verdict()
        if not retraining.fate.startswith("killed"):
            year.survived[retraining.fate] += 1
    year.proxy.reset()
    year.verdicts.setdefault(retraining.kind, Counter())[verdict] += 1
    yield from checked(year, before)
    if retraining.kind.startswith("broken") and year.standing().champion != before.champion:
        yield "a broken model is the champion"


def roll_back(year: Year) -> Problems:
    """To the version before, or to the first of all, in turns; two in a row need to be told where to."""
    before = year.standing()
    others = [line["version"] for line in before.lines if line["version"] != before.champion]
    turn = year.verdicts.setdefault(ROLLED_BACK, Counter()).total()
    to = ("--to", others[0]) if turn % 2 or before.lines[-1]["verdict"] == "rollback" else ()
    yield from failed(year.run(*LEDGER, "rollback", *to, "--reason", "complaints"))
    year.verdicts[ROLLED_BACK]["rollback"] += 1
    yield from checked(year, before)


def checked(year: Year, before: Standing) -> Problems:
    """What does not agree now. Commits what agrees, as a user does."""
    after = year.standing()
    yield from flaws(before, after)
    yield from failed(year.run(*LEDGER, "verify"))
    yield from unloadable(year, after.versions.keys() - before.versions.keys())
    year.run("git", "add", "--all")
    year.run("git", "commit", "--quiet", "--message", f"{len(after.versions)} versions")


def unloadable(year: Year, numbers: Collection[str]) -> Problems:
    """The versions that do not download, load and answer."""
    for number in numbers:
        try:
            year.answers(f"/{number}")
        except Exception as error:  # of MLflow, S3, TensorFlow or the model, whichever that is
            yield f"version {number} does not load: {error}"


def lost_and_restored(year: Year) -> Problems:
    """The registry is gone, database and artifacts; the ledger and DVC's cache bring it back."""
    before, said = year.standing(), year.answers()
    yield from unloadable(year, before.versions)
    year.server.restore("empty")
    bucket(year.server.artifacts).objects.all().delete()
    yield from failed(year.run(*LEDGER, "restore"))
    after = year.standing()
    yield from flaws(replace(before, aliases=after.aliases), after)
    if after.champion != before.champion:
        yield f"version {after.champion} is the champion, and {before.champion} was"
    yield from failed(year.run(*LEDGER, "verify"))
    yield from unloadable(year, after.versions)
    if (apart := np.abs(year.answers() - said).max()) > SAME:
        yield f"the champion answers otherwise than before, by {apart:.2g}"


def played(year: Year, plan: Sequence[Retraining]) -> Problems:
    """A year, and its end; what did not hold, as it happens. The first retraining is undisturbed."""
    for turn, retraining in enumerate(tqdm(plan, unit="retraining", disable=None)):
        yield from (f"{turn}, {retraining}: {problem}" for problem in retrain(year, plan, turn))
        if retraining.regretted and len(year.standing().lines) > 1:
            yield from (f"{turn}, rolled back: {problem}" for problem in roll_back(year))
    yield from (f"restored: {problem}" for problem in lost_and_restored(year))


def table(year: Year) -> str:
    """What happened, as Markdown."""
    lines = ["| challenger | retrainings | verdicts |", "|---|---|---|"]
    for kind in (kind for kind in [*KINDS, ROLLED_BACK] if kind in year.verdicts):
        verdicts = year.verdicts[kind]
        said = ", ".join(f"{n} {verdict}" for verdict, n in verdicts.most_common())
        lines.append(f"| {kind} | {verdicts.total()} | {said} |")
    lines += ["", "| what happened to the registers | times |", "|---|---|"]
    lines += [f"| {fate} | {times} |" for fate, times in year.survived.items()]
    now = year.standing()
    lines += [
        "",
        f"{len(now.lines)} lines in the ledger, {len(now.versions)} versions restored from them, ",
    ]
    return "\n".join(lines) + f"of which {now.champion} is the champion."


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--retrainings", type=int, default=50)
    number = parser.parse_args().retrainings
    if reason := servers.missing():
        sys.exit(f"error: {reason}")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(servers.mlflow_server(home))
        year = Year(home / "project", server, stack.enter_context(servers.proxy_to(server.port)))
        problems = 0
        for problem in played(year, planned(number)):
            tqdm.write(problem, file=sys.stderr)
            problems += 1
        print(table(year))
    sys.exit(problems > 0)


if __name__ == "__main__":
    main()
