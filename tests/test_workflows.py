"""The workflows are valid, pinned and least permitted, and all that they name exists."""

import re
import subprocess

import pytest
import ruamel.yaml
from benchmarks.actions.expressions import evaluate, parse

from tests.harness.small_project import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOWS = {file.stem: ruamel.yaml.YAML(typ="safe").load(file) for file in FILES}
STEPS = [
    pytest.param(step, id=f"{name}-{job}-{number}")
    for name, workflow in WORKFLOWS.items()
    for job, entry in workflow["jobs"].items()
    for number, step in enumerate(entry["steps"])
]
LINES = [
    pytest.param(step.values[0]["run"], id=step.id) for step in STEPS if "run" in step.values[0]
]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_there_are_two_workflows():
    assert list(WORKFLOWS) == ["ci", "retrain"]


def test_workflows_fit_the_published_schema():
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("line", LINES)
def test_a_run_line_is_one_line_that_shellcheck_likes(line):
    assert len(line.splitlines()) == 1
    done = subprocess.run(
        ["shellcheck", "--shell=bash", "-"], input=line, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("line", LINES)
def test_no_expression_stands_in_a_run_line(line):
    assert "${{" not in line  # it would be code; what is from outside comes through `env`


@pytest.mark.parametrize("line", LINES)
def test_targets_modules_and_commands_of_a_run_line_exist(line):
    words = line.split()
    if words[0] == "make":
        assert f"\n{words[1]}: " in MAKEFILE
    elif module := re.match(r"python -m pipeline\.(\w+)", line):
        assert (ROOT / f"pipeline/{module[1]}.py").exists()
    else:
        assert words[0] in ("dvc", "echo", "rm")


@pytest.mark.parametrize("step", STEPS)
def test_an_action_is_pinned_to_a_commit_whose_version_is_named(step):
    if uses := step.get("uses"):
        assert re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}", uses)
        texts = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
        assert re.findall(rf"{uses}(.*)", texts) == [
            f" # {named}" for named in _versions(texts, uses)
        ]


def _versions(texts, uses):
    found = re.findall(rf"{uses} # (v\d+\.\d+\.\d+)\n", texts)
    assert len(set(found)) == 1
    return found


def test_nothing_is_permitted_that_is_not_needed():
    assert WORKFLOWS["ci"]["permissions"] == {"contents": "read"}
    assert WORKFLOWS["retrain"]["permissions"] == {}
    jobs = {name: job["permissions"] for name, job in WORKFLOWS["retrain"]["jobs"].items()}
    assert jobs == {
        "retrain": {"contents": "write", "pull-requests": "write", "issues": "write"},
        "follow": {"contents": "read"},
    }


def test_no_retraining_is_cancelled_by_another():
    assert WORKFLOWS["retrain"]["concurrency"] == {"group": "retrain", "cancel-in-progress": False}


@pytest.mark.parametrize(
    ("review", "repository", "uploads"),
    [
        ("yes", {"private": True}, True),
        ("yes", {"private": False}, False),
        ("yes", {}, False),
        ("no", {}, False),
    ],
)
def test_pages_that_hold_messages_are_kept_where_not_everybody_reads_them(
    review, repository, uploads
):
    steps = WORKFLOWS["retrain"]["jobs"]["retrain"]["steps"]
    (condition,) = [step["if"] for step in steps if "upload-artifact" in step.get("uses", "")]
    decided = {"decide": {"outputs": {"review": review}}}
    contexts = {"steps": decided, "github": {"event": {"repository": repository}}}
    assert bool(evaluate(parse(condition), contexts)) is uploads


def test_ci_tests_every_python_that_is_supported():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in declared
    assert WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]["python"] == [
        "3.11",
        "3.12",
        "3.13",
    ]


def test_a_laptop_does_what_the_scheduled_job_does():
    rule = MAKEFILE.partition("\nretrain: ")[2].partition("\n\n")[0]
    steps = [step.get("run", "") for step in WORKFLOWS["retrain"]["jobs"]["retrain"]["steps"]]
    for command in ("retrain decide", "retrain run", "propose"):
        assert f"python -m pipeline.{command}" in rule
        assert any(step.startswith(f"python -m pipeline.{command}") for step in steps)
    assert "dvc push" in rule
    assert "dvc push" in steps


def test_every_path_in_a_workflow_exists_or_is_ignored():
    paths = [
        path
        for file in FILES
        for path in re.findall(r"^ +(\.?[\w-]+/[\w./-]+)$", file.read_text(), re.M)
    ]
    assert paths == ["data/docs", "data/review"]
    folders = [f"{path}/" for path in (*paths, ".dvc/kept")]  # which a fresh clone does not have
    ignored = subprocess.run(
        ["git", "check-ignore", *folders], cwd=ROOT, capture_output=True, text=True
    )
    assert ignored.stdout.split() == folders
    assert (
        ROOT / WORKFLOWS["ci"]["jobs"]["lint"]["steps"][1]["with"]["cache-dependency-path"]
    ).exists()
