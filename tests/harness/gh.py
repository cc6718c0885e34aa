"""Stands in for GitHub's program `gh`: records pull requests and issues in a JSON file.

`python gh.py RECORD pr|issue|label COMMAND ...` knows what pipeline/retraining/github.py calls.
With GH_KILLS=1 it kills its whole process group when a pull request is opened.
"""

import fcntl
import json
import os
import signal
import sys
from pathlib import Path


def options(words: list[str]) -> dict[str, str]:
    """The values of all `--name value` options; `--body-file` is read as `body`."""
    named = {
        word[2:]: value
        for word, value in zip(words, [*words[1:], ""], strict=True)
        if word.startswith("--")
    }
    if "body-file" in named:
        named["body"] = Path(named["body-file"]).read_text(encoding="utf-8")
    return named


def run(record: dict, kind: str, command: str, words: list[str]) -> None:
    """Carries out one call; what it lists goes to standard output."""
    given, entries = options(words), record.setdefault(kind, [])
    if command == "list":
        shown = [entry for entry in entries if given["state"] in ("all", entry["state"].lower())]
        print(json.dumps(shown[::-1]))
    elif command == "close":
        entries[int(words[0]) - 1] |= {"state": "CLOSED", "comment": given["comment"]}
    elif command == "comment":
        entries[int(words[0]) - 1].setdefault("comments", []).append(given["body"])
    elif kind != "label":
        if kind == "pr" and os.environ.get("GH_KILLS"):
            os.killpg(0, signal.SIGKILL)
        entry = {"number": len(entries) + 1, "state": "OPEN", "isCrossRepository": False}
        entries.append(entry | {"headRefName": given.get("head"), **given})


def main() -> None:
    path, kind, command, *words = sys.argv[1:]
    with open(path, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        record = json.loads(file.read() or "{}")
        run(record, kind, command, words)
        file.truncate(0)
        json.dump(record, file)


if __name__ == "__main__":
    main()
