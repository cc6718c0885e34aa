"""Plays seven weeks of scheduled retraining, without GitHub.

In each week messages arrive, `make retrain` runs in a fresh clone of a bare repository, and a
person merges what is proposed and corrects what is refused. The origin, the DVC remote and MLflow
are real, in a temporary folder; only `gh` is replaced. It needs the SMS messages, prints a Markdown
table, and exits with 1 if anything was not as expected. It takes about seven minutes.
"""

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

from pipeline.core.params import read_yaml
from tests.harness.retraining_world import World
from tests.harness.small_project import ROOT, new_project, set_params

RIVAL = "Try the new Acme phones"
OURS = read_yaml(ROOT / "params.yaml")
SETTINGS: dict[str, Any] = {  # our params for few messages; the small project has changed them
    "ingest": OURS["ingest"] | {"sources": ["files"]},
    "validate": OURS["validate"] | {"row_count": [300, 100_000]},
    "train": OURS["train"] | {"out_of_fold_rows": 0},  # they take four times as long
    "evaluate": {"lost_ham_budget": 0.02, "resamples": 100},
    "register": {
        "criteria": {"ham_blocked_percent": {"max": 10.0}},
        # with few messages, F1 depends on single ones
        "duel": OURS["register"]["duel"] | {"criterion": "log_loss"},
        "parity": ["DataFrame"],
        "latency_budget": 60_000,
    },
    "retrain": {"new_rows": 400, "drifted": 1, "windows": 4},
}


class Inbox:
    """Messages arrive at the person's desk in a fixed random order, in one file for each day."""

    def __init__(self, world: World, messages: pd.DataFrame) -> None:
        self.world = world
        texts = messages[["text", "label"]].drop_duplicates("text")
        order = np.random.default_rng(1).permutation(len(texts))
        self.messages = texts.iloc[order].reset_index(drop=True)  # those that have not arrived yet
        self.folder = world.desk / "data/inbox"
        (self.folder / "messages.csv").unlink()
        self.arrive(self.take(700), days=28)
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

    def arrive(self, messages: pd.DataFrame, days: int = 7) -> None:
        """Spreads the messages over the files of the last days."""
        parts = np.array_split(np.arange(len(messages)), days)
        for back, rows in zip(range(days, 0, -1), parts, strict=True):
            date = self.world.now - timedelta(days=back)
            messages.iloc[rows].to_csv(self.folder / f"{date:%Y-%m-%d}.csv", index=False)


Event = Callable[[Inbox], None]


def arrival(count: int) -> Event:
    """Messages like the others."""
    return lambda inbox: inbox.arrive(inbox.take(count))


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
    for path in inbox.folder.glob("*.csv"):
        messages = pd.read_csv(path)
        wrong = messages["text"].str.contains(RIVAL, regex=False)
        messages.assign(label=messages["label"].mask(wrong, "ham")).to_csv(path, index=False)


def broken_file(inbox: Inbox) -> None:
    """A file arrives whose last line is cut off."""
    (inbox.folder / "broken.csv").write_text('text,label\n"half a mess')


def worse_training(inbox: Inbox) -> None:
    """Somebody makes the training faster and worse."""
    set_params(inbox.world.desk, {"train": {"epochs": 1, "fewest_steps": 0, "wide_share": 0.0}})


def undo(inbox: Inbox) -> None:
    """A person takes the last commit back."""
    inbox.world.person("git", "revert", "--no-commit", "HEAD")


@dataclass(frozen=True)
class Week:
    """What happens, and what must come of it."""

    event: Event
    decision: str
    verdicts: Set[str] = frozenset()  # one of which register must give; none: no retraining
    correction: Event | None = None
    request: Mapping[str, str] | None = None  # what a person gives to `make retrain`


WEEKS = {
    "the first run": Week(lambda _: None, "retrain", {"first"}),
    "quiet": Week(arrival(60), "wait"),
    "drift": Week(drifted, "retrain", {"promote", "tie", "keep"}),
    "poisoned labels": Week(poisoned, "blocked", correction=correct_labels),
    "a broken file": Week(broken_file, "refused", correction=undo),
    "a worse model": Week(worse_training, "retrain", {"keep"}, correction=undo),
    "a better model": Week(
        arrival(3400), "retrain", {"promote"}, request={"REASON": "checked", "FORCE": "yes"}
    ),
}


def play(inbox: Inbox, name: str, week: Week) -> tuple[list[str], list[str]]:
    """Plays one week; returns the cells of its row, and what was not as expected."""
    world = inbox.world
    week.event(inbox)
    world.push(name)
    main, branches = world.git("rev-parse", "main"), world.branches()
    issues = len(world.github.open("issue"))
    clone = world.clone()
    start = time.monotonic()
    done = world.make(clone, "pull", "retrain", **(week.request or {}))
    seconds = time.monotonic() - start
    outputs = read_outputs(clone)
    proposals = {*world.branches()} - {*branches}
    subjects = [world.git("log", "-1", "--format=%s", branch) for branch in proposals]
    verdicts = [subject.strip().removeprefix("Retrain: ") for subject in subjects]
    reported = len(world.github.open("issue")) > issues
    names = {verdict.partition(":")[0] for verdict in verdicts or [""]}
    expectations = {
        f"make failed: {done.stderr[-500:]}": done.returncode == 0,
        f"decided {outputs}, not {week.decision}": outputs.get("decision") == week.decision,
        "main was changed": world.git("rev-parse", "main") == main,
        f"the verdict is {verdicts}, not of {week.verdicts}": names <= (week.verdicts or {""}),
        f"an issue was opened: {reported}": reported == (week.decision in ("blocked", "refused")),
    }
    problems = [problem for problem, as_expected in expectations.items() if not as_expected]
    for request in world.github.open("pr"):
        world.merge(request)
        if world.make(world.clone(), "follow").returncode:
            problems.append("the registry did not follow the merge")
    if week.correction:
        week.correction(inbox)
        world.push(f"{name}: corrected")
    problems += world.flaws()
    world.now += timedelta(weeks=1)
    cells = [name, outputs.get("sentence", ""), *(verdicts or [""]), world.champion()]
    return [*cells, f"{seconds:.0f}"], problems


def read_outputs(clone: Path) -> dict[str, str]:
    """The outputs of the step that retrained, as GitHub reads them."""
    path = clone / ".git/output"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines)


def sms_messages(folder: Path) -> pd.DataFrame:
    """The SMS messages, as `dvc repro ingest` reads them in a project in this folder."""
    run = new_project(folder)
    set_params(folder, {"ingest": {"sources": ["sms"]}})
    if (ROOT / ".downloads").exists():
        shutil.copytree(ROOT / ".downloads", folder / ".downloads")
    run("dvc", "repro", "ingest")
    return pd.read_parquet(folder / "data/ingested/messages.parquet")


def main() -> None:
    problems = []
    with tempfile.TemporaryDirectory() as home:
        inbox = Inbox(World(Path(home) / "world", SETTINGS), sms_messages(Path(home) / "sms"))
        print("| week | decision | verdict | champion | seconds |\n|---|---|---|---|---|")
        for name, week in WEEKS.items():
            row, found = play(inbox, name, week)
            print(f"| {' | '.join(row)} |", flush=True)
            problems += [f"{name}: {problem}" for problem in found]
    sys.exit("\n".join(problems) or None)


if __name__ == "__main__":
    main()
