"""Stands in for GitHub's program `gh`: records pull requests and issues in a JSON file.

`python gh.py RECORD pr|issue|label COMMAND ...` knows what pipeline/retraining/github.py calls.
With GH_FAILS=MESSAGE every call fails. With GH_KILLS=1 it kills its whole process group when a pull
request is opened.
"""

import fcntl
import json
import os
import signal
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any


class GitHub:
    """The pull requests (`pr`) and issues (`issue`) that `bin/gh` in a folder has recorded."""

    def __init__(self, folder: Path) -> None:
        self.programs = folder / "bin"
        self.programs.mkdir(parents=True)
        self.record = folder / "github.json"
        self.record.write_text("{}")
        program = self.programs / "gh"
        program.write_text(
            f'#!/bin/sh\nexec "{sys.executable}" "{__file__}" "{self.record}" "$@"\n'
        )
        program.chmod(0o755)

    def entries(self, kind: str) -> list[dict[str, Any]]:
        """All of a kind, the oldest first."""
        return json.loads(self.record.read_text()).get(kind, [])

    def open(self, kind: str) -> list[dict[str, Any]]:
        """The open ones."""
        return [entry for entry in self.entries(kind) if entry["state"] == "OPEN"]

    def set_state(self, number: int, state: str) -> None:
        """A person merges, closes or reopens a pull request."""
        record = json.loads(self.record.read_text())
        record["pr"][number - 1]["state"] = state
        self.record.write_text(json.dumps(record))


def run(record: dict, kind: str, command: str, words: list[str]) -> None:
    """Carries out one call; what it lists goes to standard output."""
    given = {word[2:]: value for word, value in pairwise([*words, ""]) if word.startswith("--")}
    if "body-file" in given:
        given["body"] = Path(given.pop("body-file")).read_text(encoding="utf-8")
    entries = record.setdefault(kind, [])
    if command == "list":
        listed = [entry for entry in entries if given["state"] in ("all", entry["state"].lower())]
        newest = listed[::-1][: int(given.get("limit", 30))]
        fields = given["json"].split(",")
        print(json.dumps([{field: entry[field] for field in fields} for entry in newest]))
    elif command == "close":
        entries[int(words[0]) - 1] |= {"state": "CLOSED", "comment": given["comment"]}
    elif command == "comment":
        entries[int(words[0]) - 1].setdefault("comments", []).append(given["body"])
    elif kind == "label":
        entries.append(words[0])
    else:
        assert given["label"] in record["label"]
        if kind == "pr" and os.environ.get("GH_KILLS"):
            os.killpg(0, signal.SIGKILL)
        head = given.get("head")
        if kind == "pr" and head in [e["headRefName"] for e in entries if e["state"] == "OPEN"]:
            sys.exit(f'a pull request for branch "{head}" into branch "main" already exists')
        entry = {"number": len(entries) + 1, "state": "OPEN", "isCrossRepository": False}
        entries.append(entry | {"headRefName": given.get("head"), **given})


def main() -> None:
    path, kind, command, *words = sys.argv[1:]
    if message := os.environ.get("GH_FAILS"):
        sys.exit(message)
    with open(path, "r+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        record = json.load(file)
        run(record, kind, command, words)
        file.seek(0)
        file.truncate()
        json.dump(record, file)


if __name__ == "__main__":
    main()
