"""pipeline/core/dvc_cache.py"""

import shutil
from pathlib import Path

import pytest

from pipeline.core.dvc_cache import NotCachedError, cached_md5s, file_md5, restored_files
from tests.harness.errors import error_of
from tests.harness.small_project import runner

pytestmark = pytest.mark.slow  # each test runs DVC


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A DVC project whose file `kept.json` is in its cache and in its remote."""
    folder = tmp_path_factory.mktemp("tracked")
    run = runner(folder)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    run("dvc", "remote", "add", "--default", "storage", str(tmp_path_factory.mktemp("remote")))
    (folder / "kept.json").write_text("{}\n")
    run("dvc", "add", "--quiet", "kept.json")
    run("dvc", "push", "--quiet")
    return folder


@pytest.fixture
def project(tracked, tmp_path, monkeypatch):
    """A copy of that project, with the same remote."""
    shutil.copytree(tracked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_md5_is_the_name_in_the_cache(project):
    assert file_md5(project / "kept.json") in (project / "kept.json.dvc").read_text()
    assert error_of(file_md5, Path("none.json")).startswith("none.json: missing; ")


@pytest.mark.parametrize("cached", [True, False])
def test_files_come_from_the_cache_or_the_remote(cached, project):
    md5 = file_md5(project / "kept.json")
    before = sorted(path.name for path in project.iterdir())
    if not cached:
        shutil.rmtree(project / ".dvc" / "cache")
    assert cached_md5s([md5, "0" * 32]) == ({md5} if cached else set())
    with restored_files({"again.json": md5}) as folder:
        assert (folder / "again.json").read_text() == "{}\n"
    assert sorted(path.name for path in project.iterdir()) == before


def test_file_that_is_nowhere_is_one_line(project):
    start = f"model.keras {'0' * 32}: neither in DVC's cache nor in its remote "
    line = rf"^{start}\(.*\); somebody who has it runs `dvc push`$"
    with pytest.raises(NotCachedError, match=line), restored_files({"model.keras": "0" * 32}):
        pass
