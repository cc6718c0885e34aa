"""pipeline/core/dvc_cache.py"""

import hashlib
import shutil
import subprocess

import pytest
from dvc.lock import make_lock

from pipeline.core.dvc_cache import (
    RWLOCK,
    TORN,
    NotCachedError,
    cached_md5s,
    can_restore_outputs,
    remove_torn_locks,
    restored_files,
)
from tests.harness.small_project import runner

CONTENT = "{}\n"
MD5 = hashlib.md5(CONTENT.encode()).hexdigest()
UNKNOWN = "0" * 32


def dead_process():
    """The id of a process that has ended."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


@pytest.mark.slow  # runs DVC
def test_files_come_from_the_cache_or_the_remote(tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    run = runner(project)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    (project / "kept.json").write_text(CONTENT)
    run("dvc", "add", "--quiet", "kept.json")
    run("dvc", "push", "--quiet")
    monkeypatch.chdir(project)
    before = sorted(project.iterdir())
    (project / f".restored.killed.{dead_process()}.tmp").mkdir()
    for cached in ({MD5}, set()):
        assert cached_md5s([MD5, UNKNOWN]) == cached
        with restored_files({"again.json": MD5}) as folder:
            assert (folder / "again.json").read_text() == CONTENT
        shutil.rmtree(project / ".dvc" / "cache")
    assert sorted(project.iterdir()) == before
    start = f"model.keras {UNKNOWN}: neither in DVC's cache nor in its remote "
    line = rf"^{start}\(.*\); somebody who has it runs `dvc push`$"
    with pytest.raises(NotCachedError, match=line), restored_files({"model.keras": UNKNOWN}):
        pass


LOCK = """schema: '2.0'
stages:
  ingest:
    cmd: python -m pipeline.ingest
    outs:
    - path: data/ingested
      hash: md5
      md5: 0123456789abcdef0123456789abcdef
      size: 8
"""


def test_only_a_cut_lock_is_removed(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    lock = tmp_path / "dvc.lock"
    remove_torn_locks()
    for good in (LOCK, f"<<<<<<< HEAD\n{LOCK}=======\n{LOCK}>>>>>>> other\n"):
        lock.write_text(good)
        remove_torn_locks()
        assert lock.read_text() == good
    assert not caplog.messages
    for end in ("", "sch", "schema: '2.0'\nstages:\n  ing", "    outs:\n    - pa", "      size:"):
        lock.write_text(LOCK[: LOCK.index(end) + len(end)])
        remove_torn_locks()
        assert not lock.exists()
        assert caplog.messages.pop() == "dvc.lock: cut, as by a kill; removed, DVC writes it anew"


@pytest.mark.slow  # waits for the lock of another DVC
def test_only_a_cut_list_of_commands_is_removed(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    RWLOCK.parent.mkdir(parents=True)
    RWLOCK.write_text("{}")
    remove_torn_locks()
    assert RWLOCK.read_text() == "{}"
    for cut in ("", '{"read": {'):
        RWLOCK.write_text(cut)
        with make_lock(f"{RWLOCK}.lock", tmp_dir=str(RWLOCK.parent)):  # another DVC writes it
            remove_torn_locks()
        assert RWLOCK.read_text() == cut
        remove_torn_locks()
        assert not RWLOCK.exists()
    assert set(caplog.messages) == {f"{RWLOCK}: {TORN}"}


def test_nothing_can_be_restored_without_a_readable_lock_or_git(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = runner(tmp_path)
    run("git", "init", "--quiet")
    (tmp_path / "dvc.lock").write_text(f"<<<<<<< HEAD\n{LOCK}=======\n{LOCK}>>>>>>> other\n")
    run("git", "add", "dvc.lock")
    assert not can_restore_outputs()
    monkeypatch.setenv("PATH", str(tmp_path))  # has no Git
    assert not can_restore_outputs()
