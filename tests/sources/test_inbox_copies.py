"""Copies of data/inbox/: what is data there, when it is copied, and what another clone gets."""

import json
import os
import subprocess

import pytest

from pipeline.core.errors import escape
from pipeline.sources import inbox_copies
from pipeline.sources.inbox_copies import InboxPlaces, collect_files, restore_files
from tests.harness.errors import error_of

PLACES = InboxPlaces()


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    PLACES.inbox.mkdir(parents=True)


def add(name, content="a"):
    path = PLACES.inbox / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def collected(skipped=None):
    """The content by name of what is collected, read from the copies."""
    copies = collect_files(PLACES, skipped)
    return {name: copies.path(name).read_text() for name in copies.files}


def other_clone(tmp_path, monkeypatch):
    """Goes to another clone of the project, with the manifest and the copies."""
    (tmp_path / "clone" / "data").mkdir(parents=True)
    for path in (PLACES.manifest, PLACES.copies):
        subprocess.run(["cp", "-r", path, tmp_path / "clone" / path], check=True)
    monkeypatch.chdir(tmp_path / "clone")


# ---- what is data


def test_regular_files_are_data_and_hidden_and_dvc_files_are_not():
    for name in ("b.csv", "deep/a.csv", "dvc.yaml", ".git/config", ".dvcignore", ".x/a", "b.dvc"):
        add(name)
    assert list(collected()) == ["b.csv", "deep/a.csv", "dvc.yaml"]


def make_link(path):
    path.symlink_to("/etc/hostname")


def make_folder_link(path):
    path.symlink_to("/etc")


@pytest.mark.parametrize(
    ("make", "kind"),
    [(os.mkfifo, "not a regular file"), (make_link, "a link"), (make_folder_link, "a link")],
)
def test_pipe_or_link_stops_the_run_or_is_left_out(make, kind):
    add("good.csv")
    assert list(collected()) == ["good.csv"]
    add("new.csv")
    before = PLACES.manifest.read_bytes()
    make(PLACES.inbox / "bad.csv")
    line = f"data/inbox/bad.csv: {kind}; put a file there, or remove it"
    assert error_of(collected) == line
    assert PLACES.manifest.read_bytes() == before
    skipped = []
    assert list(collected(skipped)) == ["good.csv", "new.csv"]
    assert skipped == [line]


@pytest.mark.parametrize("name", ["a\udcff.csv", "folder\udcff/a.csv"])
def test_name_that_is_not_utf8_stops_the_run_or_is_left_out(name):
    add("good.csv")
    add(name)
    line = f"data/inbox/{escape(name)}: its name is not UTF-8; rename it"
    assert error_of(collected) == line
    skipped = []
    assert list(collected(skipped)) == ["good.csv"]
    assert skipped == [line]
    assert list(collected([])) == ["good.csv"]  # the manifest can be read back


def test_all_problems_are_told_at_once():
    for name in ("a", "b"):
        os.mkfifo(PLACES.inbox / name)
    assert len(error_of(collected).splitlines()) == 2


# ---- what is copied


def test_manifest_follows_the_inbox():
    path = add("a.csv", "one")
    add("b.csv", "one")
    assert collected() == {"a.csv": "one", "b.csv": "one"}
    sha256 = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert json.loads(PLACES.manifest.read_text()) == {
        "files": {name: {"size": 3, "sha256": sha256} for name in ("a.csv", "b.csv")}
    }
    path.write_text("two")
    assert collected() == {"a.csv": "two", "b.csv": "one"}
    path.unlink()
    assert collected() == {"b.csv": "one"}
    assert [copy.name for copy in PLACES.copies.iterdir()] == [sha256]


def test_file_that_changes_at_the_same_time_and_size_is_copied_again():
    path = add("a.csv", "one")
    status = path.stat()
    collected()
    path.write_text("two")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert collected() == {"a.csv": "two"}


def test_settled_file_is_read_once(monkeypatch):
    path = add("a.csv", "one")
    os.utime(path, (1, 1))
    assert collected() == {"a.csv": "one"}
    monkeypatch.setattr(inbox_copies, "_copy_unchanged", None)
    assert collected() == {"a.csv": "one"}


def test_file_that_is_still_written_is_never_copied_in_part(monkeypatch):
    path = add("a.csv", "one")
    copy = inbox_copies.shutil.copyfileobj
    lines = iter(["two", "three", "four"])

    def copy_while_it_grows(source, target):
        copy(source, target)
        for line in lines:
            with path.open("a") as file:
                file.write(line)
            return

    monkeypatch.setattr(inbox_copies.shutil, "copyfileobj", copy_while_it_grows)
    line = "data/inbox/a.csv: it is still being written; run again when it is complete"
    assert error_of(collected) == line
    assert not PLACES.manifest.exists()
    assert collected() == {"a.csv": "onetwothreefour"}


def test_file_that_is_moved_meanwhile_waits_for_the_next_run(monkeypatch):
    path = add("a.csv.part")
    collect = inbox_copies._collect

    def collect_after_the_move(*args):
        if path.exists():
            path.rename(PLACES.inbox / "a.csv")
        return collect(*args)

    monkeypatch.setattr(inbox_copies, "_collect", collect_after_the_move)
    assert collected() == {}
    assert collected() == {"a.csv": "a"}


# ---- another clone


def test_other_clone_gets_the_files_and_may_delete_them(tmp_path, monkeypatch):
    add("a.csv", "one")
    add("deep/b.csv", "two")
    both = collected()
    other_clone(tmp_path, monkeypatch)
    restore_files(PLACES)
    assert (PLACES.inbox / "deep" / "b.csv").read_text() == "two"
    add("c.csv", "three")
    assert collected() == both | {"c.csv": "three"}
    (PLACES.inbox / "a.csv").unlink()
    assert list(collected()) == ["c.csv", "deep/b.csv"]


def test_missing_and_damaged_copies_are_errors(tmp_path, monkeypatch):
    add("a.csv", "one")
    collected()
    other_clone(tmp_path, monkeypatch)
    [copy] = PLACES.copies.iterdir()
    copy.write_text("six")
    assert error_of(collected) == f"{copy}: damaged; delete it, and run `dvc pull`"
    copy.unlink()
    assert error_of(collected) == f"{copy}: missing; run `dvc pull`: it is data/inbox/a.csv"


@pytest.mark.parametrize("name", ["../x.csv", "/tmp/x.csv", "link/x.csv"])
def test_manifest_leads_nowhere_else(tmp_path, monkeypatch, name):
    add("a.csv")
    collected()
    (PLACES.inbox / "link").symlink_to("..")
    manifest = PLACES.manifest.read_text().replace("a.csv", name)
    PLACES.manifest.write_text(manifest)
    line = f"data/inbox.lock.json: {name!r} leads out of the folder; remove it"
    assert error_of(restore_files, PLACES) == line


def test_broken_manifest_is_one_line():
    PLACES.manifest.write_text("[]")
    assert error_of(collected).startswith("data/inbox.lock.json: ")
    PLACES.manifest.write_text('{"files": {"a": {"size": 1, "sha256": "../x"}}}')
    assert error_of(collected).startswith("data/inbox.lock.json: manifest.files.a.sha256: ")
