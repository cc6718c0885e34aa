"""pipeline/core/files.py"""

import os
import subprocess
import sys

import pytest

from pipeline.core.files import atomic_path, read_bytes, read_json, write_json, write_text
from tests.harness.errors import error_of

REMEDY = "make it with `dvc repro` or `dvc pull`"


def write_output(path, *, folder, content="new", fail=False):
    """Writes a file, or a folder with one file, through atomic_path."""
    with atomic_path(path) as temporary:
        if folder:
            temporary.mkdir()
        (temporary / "inside" if folder else temporary).write_text(content)
        if fail:
            raise RuntimeError


def test_json_is_canonical_and_refuses_nan(tmp_path):
    path = tmp_path / "deep" / "er" / "a.json"
    write_json(path, "old")
    write_json(path, {"b": "é", "a": [1]})
    assert list(path.parent.iterdir()) == [path]
    assert path.read_bytes() == '{\n  "b": "é",\n  "a": [\n    1\n  ]\n}\n'.encode()
    assert read_json(path) == {"b": "é", "a": [1]}
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, float("nan"))


@pytest.mark.parametrize("folder", [False, True])
def test_failed_write_leaves_the_old_output(tmp_path, folder):
    path = tmp_path / "out"
    with pytest.raises(RuntimeError):
        write_output(path, folder=folder, fail=True)
    assert list(tmp_path.iterdir()) == []
    write_output(path, folder=folder, content="old")
    with pytest.raises(RuntimeError):
        write_output(path, folder=folder, fail=True)
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "inside" if folder else path).read_text() == "old"


def test_folder_in_place_of_a_file_is_kept_and_vice_versa(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    file = tmp_path / "file"
    file.write_text("old")
    end = "move it out of the way, then run it again"
    assert error_of(write_text, folder, "") == f"{folder}: Is a directory; {end}"
    assert error_of(write_text, file / "report.json", "") == f"{file}: File exists; {end}"
    line = f"{file}: Not a directory; move what is in the way, then run it again"
    assert error_of(write_output, file, folder=True) == line
    assert {path.name for path in tmp_path.rglob("*")} == {"folder", "deep", "file"}
    assert file.read_text() == "old"


def test_undecodable_name_in_json_is_read_back(tmp_path):
    write_json(tmp_path / "a", {"file": "a\udcff"})
    assert read_json(tmp_path / "a") == {"file": "a\udcff"}


def test_only_orphans_of_dead_processes_are_removed(tmp_path, monkeypatch):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    kept = {f".other.{dead.pid}.tmp", ".out.x.tmp", ".out.1.tmp"}
    for name in (f".out.{dead.pid}.tmp", f".out.{os.getpid()}.tmp", *kept):
        (tmp_path / name).touch()
    kill = os.kill

    def kill_as_user(pid, signal):
        if pid == 1:
            raise PermissionError
        kill(pid, signal)

    monkeypatch.setattr(os, "kill", kill_as_user)
    write_text(tmp_path / "out", "new")
    assert {path.name for path in tmp_path.iterdir()} == {"out", *kept}


def test_unreadable_file_is_one_line(tmp_path):
    path = tmp_path / "file"
    assert error_of(read_bytes, path) == f"{path}: missing; {REMEDY}"
    assert error_of(read_json, tmp_path, "remove it") == f"{tmp_path}: Is a directory; remove it"
    path.write_bytes(b"[" * 10**6)
    assert error_of(read_json, path).startswith(f"{path}: not JSON: maximum recursion depth ")
    path.write_bytes(b'"\xff"')
    problem = "'utf-8' codec can't decode byte 0xff in position 1: invalid start byte"
    assert error_of(read_json, path) == f"{path}: not JSON: {problem}; {REMEDY}"
