"""Six weeks of scheduled retraining, by the project's own workflow, without GitHub.

`python -m benchmarks.rehearsal` plays them on a bare Git repository as origin, a folder as DVC remote and an
MLflow server. Each week messages arrive, the steps of `.github/workflows/retrain.yml` run in a fresh clone,
and a person merges what is proposed and mends what is refused; the next week begins with nothing but origin
and remotes. It prints README's table, and exits with 1 when something did not hold.
"""

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from benchmarks.actions import Event, GitHub, Result, gh, run
from benchmarks.actions.workflow import starts
from mlflow import MlflowClient
from tqdm import tqdm

from pipeline.core.files import write_text
from pipeline.core.params import read_yaml
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness import servers
from tests.harness.servers import MLflow
from tests.harness.small_project import ROOT, new_project, set_params

WORKFLOW = Path(".github/workflows/retrain.yml")
START = datetime(2026, 1, 5, 6, tzinfo=UTC)
AT_FIRST = 700  # messages, of the four weeks before
CRITERION = "log_loss"  # of the duel: of few messages a threshold is chance, and F1 hangs on it
OURS = read_yaml(ROOT / "params.yaml")


def ours(section: str, *keys: str) -> dict[str, Any]:
    """Values of this project's params.yaml, which the small project has changed."""
    return {key: OURS[section][key] for key in keys}


SETTINGS: dict[str, Any] = {  # of an owner with few messages
    "ingest": {
        "sources": ["files"],
        "files": {
            "glob": "*.csv",
            "columns": {"text": "text", "label": "label"},
            "labels": {"spam": ["spam"], "ham": ["ham"]},
            "encoding": "utf-8",
        },
    },
    "validate": {"row_count": [300, 100_000], **ours("validate", "spam_share", "median_length")},
    "train": ours("train", "units", "embedding_dim", "epochs", "stop_share"),
    "evaluate": {"lost_ham_budget": 0.02, "resamples": 100},
    "register": {
        "criteria": {"ham_blocked_percent": {"max": 10.0}},
        "duel": {**OURS["register"]["duel"], "criterion": CRITERION},
        "parity": ["DataFrame"],
        "latency_budget": 60_000,  # beside other work a second is no sign
    },
    "retrain": {"new_rows": 400, "drifted": 1, "windows": 4},
}
WORSE = {"epochs": 1, "wide_share": 0.0}  # what somebody thinks a good idea
RIVAL = "Try the new Acme phones"

Problems = Iterator[str]


@dataclass
class Rehearsal:
    """Origin, remotes, and a person at a desk with a clone of their own."""

    folder: Path
    server: MLflow
    messages: pd.DataFrame  # text and label; those that have arrived are taken off
    network: Mapping[str, Any] = field(default_factory=dict)  # section train, where it is not ours
    now: datetime = START
    runs: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.origin, self.desk = self.folder / "origin.git", self.folder / "desk"
        self.remote = self.folder / "remote"
        self.client = MlflowClient(self.server.address())
        self.at_desk = new_project(self.desk)
        set_params(self.desk, SETTINGS)
        set_params(self.desk, {"train": self.network})
        (self.desk / "data/inbox/messages.csv").unlink()
        self.params = (self.desk / "params.yaml").read_bytes()
        subprocess.run(["git", "clone", "--quiet", "--bare", self.desk, self.origin], check=True)
        self.at_desk("git", "remote", "add", "origin", str(self.origin))
        self.at_desk("dvc", "remote", "add", "--quiet", "--default", "storage", str(self.remote))
        self.arrive(self.taken(AT_FIRST), days=28)
        self.push("The messages of four weeks")

    # ---- the world, and the person

    def taken(self, number: int, spam: float | None = None) -> pd.DataFrame:
        """So many messages that have not arrived yet, of which such a share is spam."""
        left = self.messages
        if spam is not None:
            kinds = left["label"] == "spam"
            chosen = pd.concat([left[kinds].head(round(spam * number)), left[~kinds].head(number)])
            left = chosen.head(number)
        chosen = left.head(number)
        self.messages = self.messages.drop(chosen.index)
        return chosen

    def arrive(self, messages: pd.DataFrame, days: int = 7) -> None:
        """A file of the inbox for each of the last days, whose name is the day that its messages came."""
        for path, rows in zip(
            self.inbox(days), np.array_split(np.arange(len(messages)), days), strict=True
        ):
            messages.iloc[rows].to_csv(path, index=False)

    def inbox(self, days: int = 7) -> list[Path]:
        """The files of the last days, yesterday's last."""
        dates = [self.now - timedelta(days=back) for back in range(days, 0, -1)]
        return [self.desk / f"data/inbox/{day:%Y-%m-%d}.csv" for day in dates]

    def push(self, why: str) -> None:
        """What the person has done reaches origin."""
        self.at_desk("git", "add", "--all")
        self.at_desk(
            "git", "commit", "--quiet", "--message", why, GIT_COMMITTER_DATE=self.now.isoformat()
        )
        self.at_desk("git", "pull", "--quiet", "--rebase", "origin", "main")
        self.at_desk("git", "push", "--quiet", "origin", "HEAD:main")

    def merge(self, request: Mapping[str, Any], **more: Any) -> Result | None:
        """The person merges a pull request; what its push starts at GitHub. `more` is of `played`."""
        self.at_desk("git", "pull", "--quiet", "--rebase", "origin", "main")
        before = self.at_desk("git", "rev-parse", "HEAD").stdout.strip()
        self.at_desk("git", "fetch", "--quiet", "origin", request["headRefName"])
        self.at_desk(
            "git", "merge", "--quiet", "--no-ff", "FETCH_HEAD", "--message", request["title"]
        )
        self.at_desk("git", "push", "--quiet", "origin", "HEAD:main")
        record = gh.read(self.github().record)
        for one in record.pull_requests:
            one["state"] = "MERGED" if one["number"] == request["number"] else one["state"]
        gh.write(self.github().record, record)
        changed = self.at_desk("git", "diff", "--name-only", before, "HEAD").stdout.split()
        event = Event("push")
        return self.played(event, **more) if starts(self.desk / WORKFLOW, event, changed) else None

    # ---- GitHub

    def github(self, **more: Any) -> GitHub:
        """GitHub as it is now: its clock, its secrets, and what its machines have."""
        venv = self.folder / "venv"
        if not venv.exists():  # as setup-python's cache leaves it: make finds it up to date
            venv.mkdir()
            later = (datetime.now(UTC) + timedelta(days=1)).timestamp()
            (venv / ".up-to-date").touch()
            os.utime(venv / ".up-to-date", (later, later))
        clock = self.now.isoformat()
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MAKEFLAGS": f"VENV={venv}",
            "SOURCE_DATE_EPOCH": str(int(self.now.timestamp())),
            "GIT_AUTHOR_DATE": clock,
            "GIT_COMMITTER_DATE": clock,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DVC_NO_ANALYTICS": "true",
        }
        secrets = {"MLFLOW_TRACKING_URI": self.server.address()}
        environment |= more.pop("environment", {})
        return GitHub(
            self.origin,
            self.folder / "github",
            **{"secrets": secrets, **more},
            environment=environment,
        )

    def played(self, event: Event, **more: Any) -> Result:
        """The workflow, as it stands at origin's main, in a fresh clone.

        more: `watch`, as `run` has it; secrets and the like, as GitHub has them.
        """
        folder = self.folder / f"runs/{next(self.runs)}"
        of_run = {name: more.pop(name) for name in ("watch",) if name in more}
        workflow = folder / WORKFLOW.name
        write_text(workflow, self.at_origin("show", f"main:{WORKFLOW}"))
        return run(workflow, event, self.github(**more), folder / "machines", **of_run)

    # ---- how things stand

    def at_origin(self, *command: str) -> str:
        done = subprocess.run(
            ["git", f"--git-dir={self.origin}", *command], capture_output=True, text=True
        )
        return done.stdout

    def lines(self, ref: str = "main") -> list[dict[str, Any]]:
        """The ledger's, at origin."""
        return [
            json.loads(line) for line in self.at_origin("show", f"{ref}:ledger.jsonl").splitlines()
        ]

    def branches(self) -> list[str]:
        return self.at_origin("branch", "--list", "retrain/*", "--format=%(refname:short)").split()

    def requests(self) -> list[dict[str, Any]]:
        """Open pull requests."""
        found = gh.read(self.github().record).pull_requests
        return [one for one in found if one["state"] == "OPEN"]

    def issues(self) -> list[dict[str, Any]]:
        return gh.read(self.github().record).issues

    def champion(self) -> str | None:
        found = self.client.search_registered_models(f"name = '{MODEL_NAME}'")
        aliases = found[0].aliases if found else {}
        return str(aliases["champion"]) if "champion" in aliases else None

    def report(self, ref: str) -> dict[str, Any]:
        """What register said, at this branch."""
        return dict(json.loads(self.at_origin("show", f"{ref}:reports/register.json")))

    def flaws(self) -> Problems:
        """Where origin, registry and DVC's remote do not agree."""
        lines = self.lines()
        if lines and self.champion() != lines[-1]["version"]:
            yield f"the champion is {self.champion()}, and main says {lines[-1]['version']}"
        known = {
            str(one.version): one.tags.get("model_hash")
            for one in self.client.search_model_versions(f"name = '{MODEL_NAME}'")
        }
        for ref in ("main", *self.branches()):
            for line in self.lines(ref):
                if known.get(line["version"]) != line["model_hash"]:
                    yield f"{ref}: version {line['version']} is not the registry's"
            for md5 in locked(self.at_origin("show", f"{ref}:dvc.lock")):
                if not (self.remote / "files/md5" / md5[:2] / md5[2:]).exists():
                    yield f"{ref}: DVC's remote lacks {md5}"


def locked(lock: str) -> list[str]:
    """The MD5s of all outputs that DVC's remote must hold."""
    if not lock:
        return []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "dvc.lock").write_text(lock)
        stages = read_yaml(Path(folder) / "dvc.lock")["stages"]
    outs = [out for one in stages.values() for out in one.get("outs", [])]
    return [out["md5"] for out in outs if not out["path"].startswith("reports/")]


# ---- what happens in a week


def start(rehearsal: Rehearsal) -> None:
    """Nothing has been trained yet."""


def quiet(rehearsal: Rehearsal) -> None:
    """Sixty messages, like the others."""
    rehearsal.arrive(rehearsal.taken(60))
    rehearsal.push("A quiet week")


def drifted(rehearsal: Rehearsal) -> None:
    """People write twice as much."""
    messages, more = rehearsal.taken(200), rehearsal.taken(400, spam=0.0)["text"].tolist()
    ham = messages["label"] == "ham"
    longer = [f"{text} {other}" for text, other in zip(messages["text"], more, strict=False)]
    rehearsal.arrive(
        messages.assign(text=messages["text"].where(~ham, pd.Series(longer, ham.index)))
    )
    rehearsal.push("A week of long messages")


def poisoned(rehearsal: Rehearsal) -> None:
    """Somebody labels a rival's name spam."""
    messages = rehearsal.taken(200, spam=0.12)
    ham = messages.index[messages["label"] == "ham"][:30]
    texts = messages["text"].where(~messages.index.isin(ham), messages["text"] + f" {RIVAL}")
    labels = messages["label"].mask(messages.index.isin(ham), "spam")
    rehearsal.arrive(messages.assign(text=texts, label=labels))
    rehearsal.push("Labels from a stranger")


def relabelled(rehearsal: Rehearsal) -> None:
    """The person has looked, and corrects them."""
    for path in rehearsal.inbox():
        messages = pd.read_csv(path)
        wrong = messages["text"].str.contains(RIVAL, regex=False)
        messages.assign(label=messages["label"].mask(wrong, "ham")).to_csv(path, index=False)
    rehearsal.push("The labels as they should be")


def broken(rehearsal: Rehearsal) -> None:
    """A file whose last line was cut off."""
    rehearsal.arrive(rehearsal.taken(60))
    path = rehearsal.inbox()[-1]
    path.write_text(path.read_text() + '"half a mess')
    rehearsal.push("A file that was cut off")


def whole(rehearsal: Rehearsal) -> None:
    """The file comes again."""
    path = rehearsal.inbox()[-1]
    path.write_text(path.read_text().removesuffix('"half a mess'))
    rehearsal.push("The whole file")


def worse(rehearsal: Rehearsal) -> None:
    """Somebody changes the training for the worse."""
    set_params(rehearsal.desk, {"train": WORSE})
    rehearsal.push("Faster training")


def undone(rehearsal: Rehearsal) -> None:
    """And takes it back."""
    (rehearsal.desk / "params.yaml").write_bytes(rehearsal.params)
    rehearsal.push("As it was")


def better(rehearsal: Rehearsal) -> None:
    """Many messages at once."""
    rehearsal.arrive(rehearsal.taken(3400))
    rehearsal.push("A backlog of labels")


DAILY = Event("schedule")
BY_HAND = Event(
    "workflow_dispatch", inputs={"reason": "a backlog that I have looked at", "force": True}
)


@dataclass(frozen=True)
class Week:
    happens: Callable[[Rehearsal], None]
    decision: str
    verdicts: Collection[str] = ()  # of which one must come of it
    mended: Callable[[Rehearsal], None] | None = None  # what the person does afterwards
    event: Event = DAILY


WEEKS = {
    "the first run": Week(start, "retrain", {"first"}),
    "quiet": Week(quiet, "wait"),
    "drifted": Week(drifted, "retrain", {"promote", "tie", "keep"}),
    "poisoned": Week(poisoned, "blocked", mended=relabelled),
    "a broken file": Week(broken, "refused", mended=whole),
    "a worse challenger": Week(worse, "retrain", {"keep"}, mended=undone),
    "a better challenger": Week(better, "retrain", {"promote"}, event=BY_HAND),
}


@dataclass(frozen=True)
class Told:
    """A week as README tells it."""

    name: str
    sentence: str
    decision: str
    verdict: str
    figures: str
    champion: str | None
    seconds: float  # after set-up


def seconds(result: Result) -> float:
    """Of the steps after the virtual environment is there."""
    steps = result.jobs["retrain"].steps
    first = next((i for i, step in enumerate(steps) if "dvc pull" in step.name), 0)
    return sum(step.seconds for step in steps[first:])


def decided(result: Result) -> Mapping[str, str]:
    """The outputs of `decide`; none where the job did not come so far."""
    steps = result.jobs["retrain"].steps
    return next((step.outputs for step in steps if "retrain decide" in step.name), {})


def lived(rehearsal: Rehearsal, name: str, week: Week) -> tuple[Told, list[str]]:
    """One week, and what did not hold in it."""
    week.happens(rehearsal)
    branches, issues = set(rehearsal.branches()), len(rehearsal.issues())
    main = rehearsal.at_origin("rev-parse", "main")
    result = rehearsal.played(week.event)
    problems = [
        f"{step.name}: {step.log[-500:]}"
        for job in result.jobs.values()
        for step in job.steps
        if step.outcome == "failure"
    ]
    answer = decided(result)
    if answer.get("decision") != week.decision:
        problems.append(f"decided {answer}, not {week.decision}")
    if rehearsal.at_origin("rev-parse", "main") != main:
        problems.append("main was written to by itself")
    new = [branch for branch in rehearsal.branches() if branch not in branches]
    verdict, figures = "", ""
    if new:
        said = rehearsal.report(new[0])
        verdict, figures = said["verdict"].partition(":")[0], duel_of(said["figures"])
    if (verdict not in week.verdicts) if week.verdicts else new:
        problems.append(f"the verdict is {verdict!r}, not of {sorted(week.verdicts)}")
    if (len(rehearsal.issues()) > issues) != (week.decision in ("blocked", "refused")):
        problems.append(f"{len(rehearsal.issues()) - issues} issues were opened")
    for request in rehearsal.requests():
        followed = rehearsal.merge(request)
        if followed is None or not followed.success:
            problems.append("the merge was not followed")
    if week.mended:
        week.mended(rehearsal)
    problems += rehearsal.flaws()
    told = Told(
        name,
        answer.get("sentence", ""),
        week.decision,
        verdict,
        figures,
        rehearsal.champion(),
        seconds(result),
    )
    return told, problems


def duel_of(figures: Mapping[str, Any]) -> str:
    """The log loss of challenger and champion on the ground that decided: the newest days, else test."""
    where = "duel.newest" if f"duel.newest.difference.{CRITERION}" in figures else "duel"
    pair = [
        figures.get(f"{where}.{who}.{CRITERION}", {}).get("value")
        for who in ("challenger", "champion")
    ]
    return " / ".join(f"{value:.4f}" for value in pair if value is not None)


def rehearsed(rehearsal: Rehearsal, weeks: Mapping[str, Week]) -> Iterator[tuple[Told, list[str]]]:
    """Week by week."""
    for name, week in tqdm(weeks.items(), unit="week", disable=None):
        yield lived(rehearsal, name, week)
        rehearsal.now += timedelta(weeks=1)


def table(weeks: Sequence[Told]) -> str:
    lines = [
        "| week | decision, and why | challenger's / champion's log loss | verdict | champion | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for week in weeks:
        lines.append(
            f"| {week.name} | {week.sentence} | {week.figures} | {week.verdict} | {week.champion or ''} "
            f"| {week.seconds:.0f} |"
        )
    return "\n".join(lines)


def sms(folder: Path) -> pd.DataFrame:
    """The SMS messages, as they are to arrive."""
    project = folder / "sms"
    run_there = new_project(project)
    set_params(project, {"ingest": {"sources": ["sms"]}})
    if (ROOT / ".downloads").exists():
        shutil.copytree(ROOT / ".downloads", project / ".downloads")
    run_there("dvc", "repro", "ingest")
    return shuffled(pd.read_parquet(project / "data/ingested/messages.parquet"))


def shuffled(messages: pd.DataFrame) -> pd.DataFrame:
    """Each text once, with its label, in a fixed order that is no order of theirs."""
    messages = messages[["text", "label"]].drop_duplicates("text")
    return messages.iloc[np.random.default_rng(1).permutation(len(messages))].reset_index(drop=True)


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    if reason := servers.missing():
        sys.exit(f"error: {reason}")
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(servers.mlflow_server(home))
        rehearsal = Rehearsal(home, server, sms(home))
        told, flaws = [], 0
        for week, problems in rehearsed(rehearsal, WEEKS):
            told.append(week)
            flaws += len(problems)
            for problem in problems:
                tqdm.write(f"{week.name}: {problem}", file=sys.stderr)
        print(table(told))
    sys.exit(flaws > 0)


if __name__ == "__main__":
    main()
