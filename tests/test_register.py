"""The stage register: run, version and report, once for each model."""

import json
from pathlib import Path

import pytest

from pipeline import register
from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT
from pipeline.registry import versions
from tests.harness.errors import error_of
from tests.harness.evaluated_project import FIGURES, Project
from tests.harness.small_project import ROOT, set_params

RULE = '{"slope": %s, "intercept": 0.0, "threshold": 0.5}'


@pytest.fixture
def project(store, tmp_path):
    return Project(tmp_path, store)


def test_second_register_changes_nothing(project):
    report = project.register()
    assert json.loads(report) == {
        "rows": 13,
        "figures": {"f1": FIGURES["f1"]},
        "verdict": "first: it meets the criteria, and there is no champion",
    }
    (run,) = project.runs()
    version = project.store.get_model_version("spam-detector", "1")
    assert version.run_id == run.info.run_id
    assert version.tags["model_hash"] == run.data.tags["model_hash"]
    assert version.description == run.data.tags["mlflow.note.content"]
    assert run.data.metrics["train/loss"] == 0.25
    assert project.register() == report
    (run_again,) = project.runs()
    assert run_again.data.to_dictionary() == run.data.to_dictionary()
    assert project.versions() == ["1"] == [versions.champion_number()]
    assert project.tags("1") == version.tags


@pytest.mark.parametrize(
    ("least", "verdict"),
    [
        (0.5, "criteria met: an experiment, which is not promoted"),
        (0.95, "criteria missed: f1 0.9 is below 0.95"),
    ],
)
def test_experiment_is_recorded_and_not_registered(least, verdict, project, monkeypatch):
    monkeypatch.setenv("DVC_EXP_NAME", "wider")
    project.set_criteria(f1={"min": least})
    report = json.loads(project.register())
    assert report["verdict"] == verdict
    assert report["figures"] == {"f1": FIGURES["f1"]}
    (run,) = project.runs()
    assert run.info.run_name == run.data.tags["dvc_experiment"] == "wider"
    assert run.data.tags["verdict"] == verdict
    assert project.versions() == []


@pytest.mark.parametrize(
    ("file", "content", "problem"),
    [
        ("decision.json", "5", "decision: input should be an object"),
        ("decision.json", '{"intercept": 0, "threshold": 1}', "decision.slope: missing"),
        ("decision.json", RULE % "NaN", "decision.slope: input should be a finite number, not nan"),
        ("decision.json", RULE % "0", "decision.slope: input should be greater than 0, not 0"),
        ("tokenizer.json", "5", "not a tokenizer: "),
        ("tokenizer.json", "{}", "not a tokenizer: "),
        ("curves.csv", "epoch,loss\n1,low\n", "column loss: could not convert string to float: "),
        ("reports/evaluate.json", "[]", "report: input should be an object"),
    ],
)
def test_file_of_another_shape_is_refused_in_one_line(file, content, problem, project):
    Path(file).write_text(content)
    line = error_of(project.register)
    assert line.startswith(f"{file}: {problem}")
    assert line.endswith(f"; {REBUILD_HINT}")
    assert project.versions() == []


def test_small_test_set_makes_no_champion(project):
    set_params(project.folder, {"register": {"fewest_rows": 1000}})
    assert json.loads(project.register())["verdict"] == (
        "criteria missed: test has 15 ham, and needs 1000 (register.fewest_rows); "
        "test has 8 spam, and needs 1000 (register.fewest_rows)"
    )
    assert project.aliases() == {"challenger": "1"}


# ---- the decision report


def attached_page(project):
    """The decision report that the newest run has."""
    run = project.runs()[-1]
    folder = project.store.download_artifacts(run.info.run_id, "reports", str(project.folder))
    return (Path(folder) / "report.html").read_bytes()


def test_run_has_the_page_with_the_verdict(project):
    (project.folder / "reports" / "report.html").write_text("of the model before")
    project.register()
    page = (project.folder / "reports" / "report.html").read_bytes()
    assert b"It meets the criteria, and there is no champion." in page
    assert attached_page(project) == page


@pytest.mark.slow
def test_second_register_replaces_the_page_of_its_run(project):
    project.register()
    project.set_criteria(f1={"min": 0.95})
    project.register()
    assert b"No. It misses a criterion." in attached_page(project)


# ---- arguments


@pytest.mark.parametrize("flags", [["--reason", "because"], ["--force", "--reason", " "]])
def test_force_and_reason_go_together(flags):
    with pytest.raises(PipelineError, match=r'^register: --force and --reason "..." go together$'):
        register.main(flags)


def test_default_paths_are_those_of_dvc_yaml(monkeypatch):
    monkeypatch.chdir(ROOT)
    paths, reason = register.parse_arguments(["--force", "--reason", "because"])
    assert (str(paths.dvc_file), str(paths.report)) == ("dvc.yaml", "reports/register.json")
    assert reason == "because"
