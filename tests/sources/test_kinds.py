"""A declaration in data/sources.yaml names a kind of source and has the fields of that kind."""

import subprocess
from pathlib import Path

import pytest

from pipeline.sources import kinds
from tests.harness.errors import error_of

KINDS = "choose from package, npm, url, sql, imap, feedback"
DOC = {"kind": "url", "url": "x", "read": {"format": "doc"}}


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ("hello", f"mine: not a mapping with a kind; {KINDS}"),
        ({"kind": "ftp"}, f"mine.kind: unknown 'ftp'; {KINDS}"),
        ({"kind": "url"}, "mine.url: missing"),
        (DOC, "mine.read.format: unknown 'doc'; choose from csv"),
    ],
)
def test_invalid_declaration_is_refused(declared, line):
    assert error_of(kinds.parse_declaration, "mine", declared, "x").startswith(f"x: {line}")


@pytest.mark.parametrize("name", ["written", "calibration/mine"])
def test_name_with_a_meaning_is_refused(name):
    line = f"x: {name}: reserved, as are files, feedback, written, calibration; choose another name"
    assert error_of(kinds.parse_declaration, name, {"kind": "url"}, "x") == line


def npm_that(monkeypatch, code, stderr="", files=()):
    """Puts a program in place of npm."""

    def run(command, cwd, **options):
        assert command == ["npm", "pack", "--silent", "--ignore-scripts", "@a/mails@1.2"]
        for name in files:
            Path(cwd, name).write_bytes(b"packed")
        return subprocess.CompletedProcess(command, code, "", stderr)

    monkeypatch.setattr(kinds.subprocess, "run", run)


def test_npm_package_is_downloaded_or_the_reason_is_said(monkeypatch, tmp_path):
    declared = {"kind": "npm", "package": "@a/mails", "version": "1.2"}
    kind, parsed = kinds.parse_declaration("mine", declared, "x")
    npm_that(monkeypatch, 0, files=["a-mails-1.2.tgz"])
    kind.download(parsed, tmp_path / "to")
    assert (tmp_path / "to").read_bytes() == b"packed"
    assert kind.version(parsed) == "1.2"
    npm_that(monkeypatch, 1, "npm error 404\nmore")
    reason = "npm could not download it (npm error 404)"
    line = f"@a/mails@1.2: {reason}; check the network and `npm config list`"
    assert error_of(kind.download, parsed, tmp_path / "to") == line
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "")
    line = "@a/mails@1.2: npm not found; install Node.js with npm"
    assert error_of(kind.download, parsed, tmp_path / "to") == line
