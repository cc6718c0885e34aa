"""Stands in for GitHub's program `gh`: pull requests, issues and labels in a JSON file.

It says what `gh` says where `gh` would refuse too. What `gh` might take and this does not model is written
beside the JSON file too, so that whoever runs the workflow is told even if the workflow swallows the failure.

Source: https://cli.github.com/manual
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LABELS = (  # of a new repository
    *("bug", "documentation", "duplicate", "enhancement", "good first issue", "help wanted", "invalid"),
    *("question", "wontfix"),
)
NO_TOKEN = (
    "gh: To use GitHub CLI in a GitHub Actions workflow, set the GH_TOKEN environment variable. Example:\n"
    "  env:\n    GH_TOKEN: ${{ github.token }}"
)
Flags = dict[str, list[str]]


class Refusal(Exception):  # noqa: N818 (what gh says is no error of ours)
    """What `gh` says on standard error, and its exit code."""

    def __init__(self, said: str, code: int = 1) -> None:
        super().__init__(said)
        self.code = code


class NotModelledError(Exception):
    """What `gh` might take, and this program does not."""


@dataclass(frozen=True)
class Settings:
    """What this program knows of the job and of the repository."""

    record: str  # the JSON file
    origin: str  # the bare repository
    repository: str  # owner/name
    tokens: Mapping[str, Mapping[str, str] | None]  # permissions by sha256 of a token; None: all
    may_open: bool  # a repository's setting: workflows may open pull requests


@dataclass
class Record:
    """What GitHub keeps; pull requests and issues are numbered together."""

    pull_requests: list[dict[str, Any]] = field(default_factory=list)
    issues: list[dict[str, Any]] = field(default_factory=list)
    labels: list[str] = field(default_factory=lambda: list(LABELS))

    def new(self, flags: Flags, **more: str) -> dict[str, Any]:
        """A pull request or an issue, open and with the next number."""
        wanted = [name for value in flags.get("--label", []) for name in value.split(",")]
        for name in wanted:
            if name not in self.labels:
                raise Refusal(f"could not add label: '{name}' not found")
        number = 1 + len(self.pull_requests) + len(self.issues)
        text = {"title": flags["--title"][0], "body": _body(flags), **more}
        return {"number": number, **text, "labels": wanted, "state": "open", "comments": []}


def read(path: Path) -> Record:
    """What the file holds; an empty record where there is none."""
    return Record(**json.loads(path.read_text(encoding="utf-8"))) if path.exists() else Record()


def write(path: Path, record: Record) -> None:
    path.write_text(json.dumps(vars(record), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def unmodelled(path: Path) -> str:
    """What was asked of `gh` that is not modelled, once; nothing where all is well."""
    note = _note(path)
    said = note.read_text(encoding="utf-8") if note.exists() else ""
    note.unlink(missing_ok=True)
    return said


def _note(path: Path) -> Path:
    return path.with_suffix(".unmodelled")


@dataclass
class Call:
    """One command, as it was given."""

    settings: Settings
    record: Record
    flags: Flags
    argument: str = ""

    def url(self, kind: str, number: int) -> str:
        return f"https://github.com/{self.settings.repository}/{kind}/{number}"

    def demand(self, scope: str, level: str, what: str) -> None:
        """Refuses a token that lacks the permission."""
        token = os.environ["GH_TOKEN"]
        permissions = self.settings.tokens[hashed(token)]
        if permissions is not None and permissions.get(scope, "none") not in (level, "write"):
            raise Refusal(f"GraphQL: Resource not accessible by integration ({what})")


# ---- the commands


def pr_create(call: Call) -> None:
    head, base = call.flags["--head"][0], call.flags["--base"][0]
    call.demand("pull-requests", "write", "createPullRequest")
    for pull in call.record.pull_requests:
        if (pull["head"], pull["base"], pull["state"]) == (head, base, "open"):
            url = call.url("pull", pull["number"])
            raise Refusal(f'a pull request for branch "{head}" into branch "{base}" already exists:\n{url}')
    for branch, problem in ((head, "Head ref must be a branch"), (base, "Base ref must be a branch")):
        if not _git(call, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"):
            raise Refusal(f"pull request create failed: GraphQL: {problem} (createPullRequest)")
    if not _git(call, "rev-list", f"refs/heads/{base}..refs/heads/{head}"):
        problem = f"No commits between {base} and {head}"
        raise Refusal(f"pull request create failed: GraphQL: {problem} (createPullRequest)")
    if not call.settings.may_open:
        problem = "GitHub Actions is not permitted to create or approve pull requests"
        raise Refusal(f"pull request create failed: GraphQL: {problem} (createPullRequest)")
    pull = call.record.new(call.flags, head=head, base=base)
    call.record.pull_requests.append(pull)
    print(call.url("pull", pull["number"]))


def pr_list(call: Call) -> None:
    call.demand("pull-requests", "read", "repository.pullRequests")
    _show(call, [pull for pull in call.record.pull_requests if pull["head"] == call.flags["--head"][0]])


def pr_edit(call: Call) -> None:
    call.demand("pull-requests", "write", "updatePullRequest")
    pull = _numbered(call, call.record.pull_requests)
    pull.update(title=call.flags["--title"][0], body=_body(call.flags))
    print(call.url("pull", pull["number"]))


def issue_create(call: Call) -> None:
    call.demand("issues", "write", "createIssue")
    issue = call.record.new(call.flags)
    call.record.issues.append(issue)
    print(call.url("issues", issue["number"]))


def issue_list(call: Call) -> None:
    call.demand("issues", "read", "repository.issues")
    _show(call, [issue for issue in call.record.issues if call.flags["--label"][0] in issue["labels"]])


def issue_comment(call: Call) -> None:
    call.demand("issues", "write", "addComment")
    issue = _numbered(call, call.record.issues)
    issue["comments"].append(_body(call.flags))
    print(f"{call.url('issues', issue['number'])}#issuecomment-{len(issue['comments'])}")


def issue_close(call: Call) -> None:
    call.demand("issues", "write", "closeIssue")
    _numbered(call, call.record.issues)["state"] = "closed"


def label_create(call: Call) -> None:
    call.demand("issues", "write", "createLabel")
    if call.argument not in call.record.labels:
        call.record.labels.append(call.argument)


@dataclass(frozen=True)
class Command:
    run: Callable[[Call], None]
    argument: bool  # stands before or after the flags
    needed: tuple[str, ...]  # flags; a value behind `=` is the only one that is modelled
    may: tuple[str, ...] = ()


COMMANDS = {
    ("pr", "create"): Command(pr_create, False, ("--title", "--body-file", "--head", "--base"), ("--label",)),
    ("pr", "list"): Command(pr_list, False, ("--head", "--state=open", "--json")),
    ("pr", "edit"): Command(pr_edit, True, ("--title", "--body-file")),
    ("issue", "create"): Command(issue_create, False, ("--title", "--body-file"), ("--label",)),
    ("issue", "list"): Command(issue_list, False, ("--state=open", "--label", "--json")),
    ("issue", "comment"): Command(issue_comment, True, ("--body-file",)),
    ("issue", "close"): Command(issue_close, True, ()),
    ("label", "create"): Command(label_create, True, ("--force",)),
}


def _git(call: Call, *arguments: str) -> str:
    command = ["git", f"--git-dir={call.settings.origin}", *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout


def _body(flags: Flags) -> str:
    name = flags["--body-file"][0]
    try:
        return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise Refusal(f"open {name}: no such file or directory") from error


def _numbered(call: Call, items: list[dict[str, Any]]) -> dict[str, Any]:
    for item in items:
        if str(item["number"]) == call.argument.removeprefix("#"):
            return item
    problem = f"Could not resolve to an issue or pull request with the number of {call.argument}."
    raise Refusal(f"GraphQL: {problem}")


def _show(call: Call, items: list[dict[str, Any]]) -> None:
    """The open ones, the newest first, in the fields that were asked for."""
    fields = call.flags["--json"][0].split(",")
    if unknown := set(fields) - {"number", "title"}:
        raise NotModelledError(f"gh with --json {min(unknown)}")
    newest = [item for item in reversed(items) if item["state"] == "open"]
    shown = [{name: item[name] for name in sorted(fields)} for item in newest]
    print(json.dumps(shown, separators=(",", ":"), ensure_ascii=False))


# ---- the command line


def _parsed(given: Sequence[str], command: Command) -> tuple[Flags, str]:
    what = " ".join(["gh", *given[:2]])
    known = {name.partition("=")[0]: name.partition("=")[2] for name in (*command.needed, *command.may)}
    flags: Flags = {}
    arguments: list[str] = []
    left = list(given[2:])
    while left:
        name, equals, value = left.pop(0).partition("=")
        if not name.startswith("-") or name == "-":
            arguments.append(name + equals + value)
            continue
        if name not in known:
            raise NotModelledError(f"{what} {name}")
        if name != "--force" and not equals:
            if not left:
                raise Refusal(f"flag needs an argument: {name}")
            value = left.pop(0)
        if known[name] not in ("", value):
            raise NotModelledError(f"{what} {name} {value}")
        flags.setdefault(name, []).append(value)
    if missing := [name for name in known if name not in flags and name not in command.may]:
        raise NotModelledError(f"{what} without {missing[0]}")
    if len(arguments) != command.argument:
        raise Refusal(f"accepts {int(command.argument)} arg(s), received {len(arguments)}")
    return flags, "".join(arguments)


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _run(given: Sequence[str], settings: Settings) -> None:
    token = os.environ.get("GH_TOKEN", "")
    if not token:
        raise Refusal(NO_TOKEN, code=4)
    if tuple(given[:2]) not in COMMANDS:
        raise NotModelledError(" ".join(["gh", *given[:2]]))
    flags, argument = _parsed(given, COMMANDS[given[0], given[1]])
    if subprocess.run(["git", "rev-parse", "--git-dir"], capture_output=True).returncode:
        raise Refusal("failed to run git: fatal: not a git repository")
    if hashed(token) not in settings.tokens:
        raise Refusal("HTTP 401: Bad credentials (https://api.github.com/graphql)")
    call = Call(settings, read(Path(settings.record)), flags, argument)
    COMMANDS[given[0], given[1]].run(call)
    write(Path(settings.record), call.record)


def install(folder: Path, settings: Settings) -> None:
    """Puts a program `gh` into a folder."""
    folder.mkdir(parents=True)
    (folder / "gh.json").write_text(json.dumps(vars(settings)), encoding="utf-8")
    script = f'#!/bin/sh\nexec "{sys.executable}" -I "{Path(__file__).resolve()}" "{folder}/gh.json" "$@"\n'
    (folder / "gh").write_text(script, encoding="utf-8")
    (folder / "gh").chmod(0o755)


def main(settings: Settings, given: Sequence[str]) -> int:
    """The exit code; what is refused is said on standard error."""
    try:
        _run(given, settings)
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        return refusal.code
    except NotModelledError as error:
        said = f"{error} is not modelled"
        print(said, file=sys.stderr)
        _note(Path(settings.record)).write_text(said, encoding="utf-8")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Settings(**json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))), sys.argv[2:]))
