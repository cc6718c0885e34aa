"""Plays seven weeks of scheduled retraining, without GitHub.

In each week messages arrive, `make retrain` runs in a fresh clone of a bare repository, and a
person merges what is proposed and corrects what is refused. The origin, the DVC remote and MLflow
are real, in a temporary folder; only `gh` is replaced. It needs the SMS messages, prints a Markdown
table, and exits with 1 if anything was not as expected. It takes about seven minutes.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from pipeline.core.cli import argument_parser
from pipeline.core.params import read_yaml
from tests.harness.retraining_world import World
from tests.harness.small_project import ROOT, new_project, set_params

EXAMPLE = "python -m tests.harness.retraining_rehearsal"
FIRST_MESSAGES = 700  # of the four weeks before
CRITERION = "log_loss"  # of the duel; with few messages, F1 depends on single ones
RIVAL = "Try the new Acme phones"
OURS = read_yaml(ROOT / "params.yaml")
SETTINGS: dict[str, Any] = {  # our params for few messages; the small project has changed them
    "ingest": {
        "sources": ["files"],
        "files": {
            "glob": "*.csv",
            "columns": {"text": "text", "label": "label"},
            "labels": {"spam": ["spam"], "ham": ["ham"]},
            "encoding": "utf-8",
        },
    },
    "validate": OURS["validate"] | {"row_count": [300, 100_000]},
    "train": OURS["train"],
    "evaluate": {"lost_ham_budget": 0.02, "resamples": 100},
    "register": {
        "criteria": {"ham_blocked_percent": {"max": 10.0}},
        "duel": OURS["register"]["duel"] | {"criterion": CRITERION},
        "parity": ["DataFrame"],
        "latency_budget": 60_000,
    },
    "retrain": {"new_rows": 400, "drifted": 1, "windows": 4},
}


class Inbox:
    """Messages arrive at the person's desk, in one file for each day."""

    def __init__(self, world: World, messages: pd.DataFrame) -> None:
        self.world = world
        self.messages = messages  # text and label of those that have not arrived yet
        self.params = (world.desk / "params.yaml").read_bytes()
        (world.desk / "data/inbox/messages.csv").unlink()
        self.arrive(self.take(FIRST_MESSAGES), days=28)
        world.push("The messages of four weeks")

    def take(self, count: int, spam_share: float | None = None) -> pd.DataFrame:
        """The next messages; a fixed share of them spam, if it is given."""
        rows = self.messages
        if spam_share is not None:
            is_spam = rows["label"] == "spam"
            rows = pd.concat([rows[is_spam].head(round(spam_share * count)), rows[~is_spam]])
        rows = rows.head(count)
        self.messages = self.messages.drop(rows.index)
        return rows.copy()

    def files(self, days: int = 7) -> list[Path]:
        """The files of the last days, yesterday's last."""
        dates = [self.world.now - timedelta(days=back) for back in range(days, 0, -1)]
        return [self.world.desk / f"data/inbox/{date:%Y-%m-%d}.csv" for date in dates]

    def arrive(self, messages: pd.DataFrame, days: int = 7) -> None:
        """Spreads the messages over the files of the last days."""
        parts = np.array_split(np.arange(len(messages)), days)
        for path, rows in zip(self.files(days), parts, strict=True):
            messages.iloc[rows].to_csv(path, index=False)


def quiet(inbox: Inbox) -> None:
    """Sixty messages like the others."""
    inbox.arrive(inbox.take(60))


def drifted(inbox: Inbox) -> None:
    """Ham messages are twice as long."""
    messages = inbox.take(200)
    more = inbox.take(200, spam_share=0.0)["text"].to_numpy()
    messages["text"] += np.where(messages["label"] == "ham", " " + more, "")
    inbox.arrive(messages)


def poisoned(inbox: Inbox) -> None:
    """Somebody labels messages with a rival's name spam."""
    messages = inbox.take(200, spam_share=0.12)
    changed = messages.index.isin(messages.index[messages["label"] == "ham"][:30])
    messages.loc[changed, "text"] += f" {RIVAL}"
    messages.loc[changed, "label"] = "spam"
    inbox.arrive(messages)


def correct_labels(inbox: Inbox) -> None:
    """The person corrects the labels."""
    for path in inbox.files():
        messages = pd.read_csv(path)
        wrong = messages["text"].str.contains(RIVAL, regex=False)
        messages.assign(label=messages["label"].mask(wrong, "ham")).to_csv(path, index=False)


def broken_file(inbox: Inbox) -> None:
    """A file arrives whose last line is cut off."""
    (inbox.world.desk / "data/inbox/broken.csv").write_text('text,label\n"half a mess')


def remove_file(inbox: Inbox) -> None:
    """The person removes the file."""
    (inbox.world.desk / "data/inbox/broken.csv").unlink()


def worse_training(inbox: Inbox) -> None:
    """Somebody makes the training faster and worse."""
    set_params(inbox.world.desk, {"train": {"epochs": 1, "wide_share": 0.0}})


def old_training(inbox: Inbox) -> None:
    """Somebody takes that back."""
    (inbox.world.desk / "params.yaml").write_bytes(inbox.params)


def backlog(inbox: Inbox) -> None:
    """Many messages at once, which a person has checked."""
    inbox.arrive(inbox.take(3400))


@dataclass(frozen=True)
class Week:
    """What happens, and what must come of it."""

    event: Callable[[Inbox], object]
    decision: str
    verdicts: Set[str] = frozenset()  # one of which register must give; none: no retraining
    correction: Callable[[Inbox], None] | None = None
    request: Mapping[str, str] | None = None  # what a person gives to `make retrain`


WEEKS = {
    "the first run": Week(lambda _: None, "retrain", {"first"}),
    "quiet": Week(quiet, "wait"),
    "drift": Week(drifted, "retrain", {"promote", "tie", "keep"}),
    "poisoned labels": Week(poisoned, "blocked", correction=correct_labels),
    "a broken file": Week(broken_file, "refused", correction=remove_file),
    "a worse model": Week(worse_training, "retrain", {"keep"}, correction=old_training),
    "a better model": Week(
        backlog, "retrain", {"promote"}, request={"REASON": "a checked backlog", "FORCE": "yes"}
    ),
}


def play(inbox: Inbox, name: str, week: Week) -> tuple[list[str], list[str]]:
    """Plays one week; returns the cells of its row, and what was not as expected."""
    world = inbox.world
    week.event(inbox)
    world.push(name)
    main, branches, issues = world.git("rev-parse", "main"), world.branches(), world.open("issue")
    clone = world.clone()
    start = time.monotonic()
    done = world.make(clone, "pull", "retrain", **(week.request or {}))
    seconds = time.monotonic() - start
    problems = [f"make failed: {done.stderr[-500:]}"] if done.returncode else []
    outputs = read_outputs(clone)
    verdicts = [read_verdict(world, branch) for branch in {*world.branches()} - {*branches}]
    reported = len(world.open("issue")) > len(issues)
    if outputs.get("decision") != week.decision:
        problems.append(f"decided {outputs}, not {week.decision}")
    if world.git("rev-parse", "main") != main:
        problems.append("main was changed")
    if {verdict.partition(":")[0] for verdict in verdicts or [""]} - (week.verdicts or {""}):
        problems.append(f"the verdict is {verdicts}, not of {week.verdicts}")
    if reported != (week.decision in ("blocked", "refused")):
        problems.append(f"an issue was {'' if reported else 'not '}opened")
    for request in world.open("pr"):
        world.merge(request)
        if world.make(world.clone(), "follow").returncode:
            problems.append("the registry did not follow the merge")
    if week.correction:
        week.correction(inbox)
        world.push(f"{name}: corrected")
    problems += world.flaws()
    world.now += timedelta(weeks=1)
    cells = [name, outputs.get("sentence", ""), *(verdicts or [""]), world.champion() or ""]
    return [*cells, f"{seconds:.0f}"], problems


def read_outputs(clone: Path) -> dict[str, str]:
    """The outputs of the step that retrained, as GitHub reads them."""
    path = clone / ".git/output"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines)


def read_verdict(world: World, branch: str) -> str:
    """The verdict of register on a branch, without the number of messages."""
    report = json.loads(world.git("show", f"{branch}:reports/register.json"))
    return str(report["verdict"].partition(" on ")[0])


def shuffle(messages: pd.DataFrame) -> pd.DataFrame:
    """Each text once, with its label, in a fixed random order."""
    messages = messages[["text", "label"]].drop_duplicates("text")
    return messages.iloc[np.random.default_rng(1).permutation(len(messages))].reset_index(drop=True)


def sms_messages(folder: Path) -> pd.DataFrame:
    """The SMS messages, as `dvc repro ingest` reads them in a project in this folder."""
    run = new_project(folder)
    set_params(folder, {"ingest": {"sources": ["sms"]}})
    if (ROOT / ".downloads").exists():
        shutil.copytree(ROOT / ".downloads", folder / ".downloads")
    run("dvc", "repro", "ingest")
    return pd.read_parquet(folder / "data/ingested/messages.parquet")


def main() -> None:
    argument_parser(__doc__, EXAMPLE).parse_args()
    rows, problems = [], []
    with tempfile.TemporaryDirectory() as home:
        messages = sms_messages(Path(home) / "sms")
        inbox = Inbox(World(Path(home) / "world", SETTINGS), shuffle(messages))
        for name, week in tqdm(WEEKS.items(), unit="week", disable=None):
            row, found = play(inbox, name, week)
            rows.append(row)
            problems += [f"{name}: {problem}" for problem in found]
    print("| week | decision | verdict | champion | seconds |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
