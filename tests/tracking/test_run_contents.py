"""What MLflow shows of a model is what the files say."""

import pytest

from pipeline.tracking import run_contents
from pipeline.tracking.run_contents import metric_name, run_description
from tests.harness.evaluated_project import FIGURES
from tests.harness.small_project import runner


@pytest.mark.parametrize(
    ("figure", "name"),
    [
        ("f1", "test/f1"),
        ("baseline.f1", "baseline/f1"),
        ("difference.f1", "difference/f1"),
        ("slices.long.recall", "slices/long.recall"),
    ],
)
def test_metric_is_named_so_that_the_ui_groups_it(figure, name):
    assert metric_name(figure) == name


def test_description_is_the_verdict_and_a_markdown_table_beside_the_baseline():
    assert run_description("criteria met", {"verdict": "f1 0.900", "figures": FIGURES}).split("\n") == [
        "**criteria met**",
        "",
        "f1 0.900",
        "",
        "| test | ours | 95 % | linear baseline |",
        "|---|---|---|---|",
        "| f1 | 0.9 | 0.8500 to 0.9500 | 0.8 |",
    ]


def test_description_has_no_line_for_a_figure_that_the_rows_do_not_define():
    undefined = {name: {"value": None, "n": 0} for name in ("newest.f1", "baseline.newest.f1")}
    told = {"verdict": "f1 0.900", "figures": FIGURES}
    assert run_description("promote", told | {"figures": FIGURES | undefined}) == run_description(
        "promote", told
    )


def test_commit_is_that_of_the_repository_and_empty_outside(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_contents.git_commit() == ""
    run = runner(tmp_path)
    run("git", "init", "--quiet")
    name = ("-c", "user.name=A stranger", "-c", "user.email=stranger@example.com")
    run("git", *name, "commit", "--quiet", "--allow-empty", "--message", "First")
    assert run_contents.git_commit() == run("git", "rev-parse", "HEAD").stdout.strip()
