"""Stands in for GitHub's program `gh`, as pipeline/github.py calls it: what it keeps lies in a JSON file.

What `gh` might take and this does not model is written beside the program too, so that whoever runs the
workflow is told even if a step swallows the failure.

Source: https://cli.github.com/manual
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock

COMMANDS = {  # the permission that each needs, and its flags: all are given, and no other
    "pr list": ("pull-requests: read", "--state --limit --json"),
    "pr create": ("pull-requests: write", "--head --base --title --body-file --label"),
    "pr close": ("pull-requests: write", "argument --comment"),
    "issue list": ("issues: read", "--state --label --json"),
    "issue create": ("issues: write", "--title --body-file --label"),
    "issue comment": ("issues: write", "argument --body-file"),
    "label create": ("issues: write", "argument --force"),
}
VALUES = {  # of which no other is modelled
    "--state": ("all", "open"),
    "--json": ("number,headRefName,state,isCrossRepository", "number,title"),
    "--limit": ("1000",),
}
UNMODELLED = "unmodelled"  # a file beside the program

Item = dict[str, Any]
Given = Mapping[str, str]


class Refusal(Exception):  # noqa: N818 (what gh says is no error of ours)
    """What `gh` says on standard error."""


@dataclass
class Record:
    """What GitHub keeps; pull requests and issues are numbered together."""

    pull_requests: list[Item] = field(default_factory=list)
    issues: list[Item] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)


def read(path: Path) -> Record:
    """What the file holds; an empty record where there is none."""
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Record()


def write(path: Path, record: Record) -> None:
    path.write_text(json.dumps(vars(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


# ---- the commands


def _carried_out(what: str, given: Given, record: Record, origin: str) -> str:
    """Changes the record; what `gh` prints, but for the addresses of what it makes."""
    items = record.pull_requests if what.startswith("pr") else record.issues
    open_ones = [item for item in items if item["state"] == "OPEN"]
    match what:
        case "pr list" | "issue list":
            return _shown(open_ones if given["--state"] == "open" else items, given)
        case "pr create":
            _merges(open_ones, given["--head"], given["--base"], origin)
            branches = {"headRefName": given["--head"], "baseRefName": given["--base"]}
            branches |= {"isCrossRepository": False}
            items.append(_new(record, given) | branches)
        case "pr close":
            _numbered(items, given)["comments"].append(given["--comment"])
            _numbered(items, given)["state"] = "CLOSED"
        case "issue create":
            items.append(_new(record, given))
        case "issue comment":
            _numbered(items, given)["comments"].append(_body(given))
        case "label create":
            record.labels = sorted({*record.labels, given["argument"]})
    return ""


def _shown(items: list[Item], given: Given) -> str:
    """Those of the label, if one was given, the newest first, in the fields that were asked for."""
    found = [item for item in reversed(items) if given.get("--label") in (None, *item["labels"])]
    return json.dumps([{name: item[name] for name in given["--json"].split(",")} for item in found])


def _merges(open_ones: list[Item], head: str, base: str, origin: str) -> None:
    """Raises: Refusal where no pull request can be made of a branch."""
    if head in [item["headRefName"] for item in open_ones]:
        raise Refusal(f'a pull request for branch "{head}" into branch "{base}" already exists')
    command = ["git", f"--git-dir={origin}", "rev-list", f"refs/heads/{base}..refs/heads/{head}", "--"]
    done = subprocess.run(command, capture_output=True, text=True)
    if not done.stdout:
        problem = "Head and base must be branches" if done.returncode else "No commits between them"
        raise Refusal(f"pull request create failed: GraphQL: {problem} (createPullRequest)")


def _new(record: Record, given: Given) -> Item:
    """An item with the next number. Raises: Refusal."""
    label, number = given["--label"], 1 + len(record.pull_requests) + len(record.issues)
    if label not in record.labels:
        raise Refusal(f"could not add label: '{label}' not found")
    words = {"title": given["--title"], "body": _body(given), "labels": [label]}
    return {"number": number, "state": "OPEN", "comments": []} | words


def _numbered(items: list[Item], given: Given) -> Item:
    for item in items:
        if str(item["number"]) == given["argument"]:
            return item
    raise Refusal(f"GraphQL: Could not resolve to an item with the number of {given['argument']}.")


def _body(given: Given) -> str:
    return Path(given["--body-file"]).read_text(encoding="utf-8")


# ---- the command line


def _parsed(words: Sequence[str]) -> Given | None:
    """The flags of a command, and its argument; None where they are not those that are modelled."""
    wanted = COMMANDS.get(" ".join(words[:2]), ("", ""))[1].split()
    left, given = list(words[2:]), []
    while left:
        name = left.pop(0) if left[0].startswith("-") else "argument"
        given.append((name, left.pop(0) if left and name != "--force" else ""))
    fit = all(value in VALUES.get(name, (value,)) for name, value in given)
    return dict(given) if fit and wanted and sorted(name for name, _ in given) == sorted(wanted) else None


def _answer(what: str, given: Given, record: str, origin: str, token: str, permissions: Given) -> str:
    scope, level = COMMANDS[what][0].split(": ")
    if os.environ.get("GH_TOKEN") != token:
        raise Refusal("HTTP 401: Bad credentials; in GitHub Actions, GH_TOKEN is ${{ github.token }}")
    if permissions.get(scope) not in (level, "write"):
        raise Refusal(f"GraphQL: Resource not accessible by integration ({scope}: {level})")
    with filelock.FileLock(f"{record}.lock"):
        kept = read(Path(record))
        said = _carried_out(what, given, kept, origin)
        write(Path(record), kept)
    return said


def install(folder: Path, record: Path, origin: Path, token: str, permissions: Given) -> None:
    """Puts a program `gh` into a folder: for one job, whose token is the only one that it knows."""
    folder.mkdir(parents=True)
    places = {"record": str(record.resolve()), "origin": str(origin.resolve())}
    settings = {**places, "token": token, "permissions": permissions}
    (folder / "gh.json").write_text(json.dumps(settings), encoding="utf-8")
    script = f'#!/bin/sh\nexec "{sys.executable}" -I "{Path(__file__).resolve()}" "{folder}" "$@"\n'
    (folder / "gh").write_text(script, encoding="utf-8")
    (folder / "gh").chmod(0o755)


def main(folder: Path, words: Sequence[str]) -> None:
    what, given = " ".join(words[:2]), _parsed(words)
    if given is None:
        choices = COMMANDS[what][1] if what in COMMANDS else ", ".join(COMMANDS)
        said = f"{' '.join(['gh', *words])!r} is not modelled; choose from {choices}"
        (folder / UNMODELLED).write_text(said, encoding="utf-8")
        sys.exit(said)
    settings = json.loads((folder / "gh.json").read_text(encoding="utf-8"))
    try:
        print(_answer(what, given, **settings))
    except Refusal as refusal:
        sys.exit(str(refusal))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
