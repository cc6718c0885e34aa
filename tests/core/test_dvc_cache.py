"""DVC's cache gives back any bytes that it ever held, from here or from the remote."""

import shutil

import pytest

from pipeline.core import dvc_cache
from pipeline.core.dvc_cache import cached_md5s, file_md5, restored_files
from pipeline.core.errors import PipelineError
from tests.harness.small_project import runner


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A DVC project in which one file was kept, and then changed, with a remote that has it too."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    run = runner(folder)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path / "remote"))
    (folder / "kept.json").write_text("{}\n")
    run("dvc", "add", "--quiet", "kept.json")
    run("dvc", "push", "--quiet")
    return folder


def test_md5_is_the_name_that_dvc_gives_the_bytes(project):
    assert file_md5(project / "kept.json") in (project / "kept.json.dvc").read_text()
    with pytest.raises(PipelineError, match=r"^none\.json: missing; "):
        file_md5(dvc_cache.Path("none.json"))


def test_held_are_those_whose_bytes_are_here(project):
    name = file_md5(project / "kept.json")
    assert cached_md5s([name, "0" * 32]) == {name}
    shutil.rmtree(project / ".dvc" / "cache")
    assert cached_md5s([name]) == set()


@pytest.mark.parametrize("here", [True, False])
def test_files_come_from_the_cache_or_from_the_remote_and_leave_nothing(here, project):
    name = file_md5(project / "kept.json")
    before = sorted(path.name for path in project.iterdir())
    if not here:
        shutil.rmtree(project / ".dvc" / "cache")
    with restored_files({"again.json": name}) as folder:
        assert (folder / "again.json").read_text() == "{}\n"
    assert sorted(path.name for path in project.iterdir()) == before


def test_bytes_that_are_nowhere_are_one_line(project):
    with pytest.raises(PipelineError) as refused, restored_files({"model.keras": "0" * 32}):
        pass
    line = str(refused.value)
    assert line.startswith(f"model.keras {'0' * 32}: neither in DVC's cache nor in its remote (")
    assert line.endswith("); somebody who has it runs `dvc push`")
    assert "\n" not in line
