"""The workflows are valid, pinned, have least permissions, and everything they name exists."""

import importlib
import re
import subprocess

import pytest
import ruamel.yaml

from tests.harness.small_project import ROOT

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOWS = {file.stem: ruamel.yaml.YAML(typ="safe").load(file) for file in FILES}
STEPS = [
    (f"{name}-{job}-{number}", step)
    for name, workflow in WORKFLOWS.items()
    for job, entry in workflow["jobs"].items()
    for number, step in enumerate(entry["steps"])
]
ACTIONS = [pytest.param(step["uses"], id=name) for name, step in STEPS if "uses" in step]
COMMANDS = [pytest.param(step["run"], id=name) for name, step in STEPS if "run" in step]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
RETRAIN_STEPS = WORKFLOWS["retrain"]["jobs"]["retrain"]["steps"]


def test_workflows_fit_the_published_schema():
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_passes_shellcheck(command):
    shellcheck = ["shellcheck", "--shell=bash", "-"]
    done = subprocess.run(shellcheck, input=command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_command_contains_no_expression(command):
    assert "${{" not in command  # it would run as code; input from outside comes through `env`


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_a_make_target_or_plain_shell(command):
    program, *words = command.split()
    assert program in ("make", "rm")
    if program == "make":
        assert f"\n{words[0]}: " in MAKEFILE


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python -m pipeline ([a-z-]+)", MAKEFILE))))
def test_command_of_the_makefile_exists(name):
    commands = importlib.import_module("pipeline.__main__").COMMANDS
    assert importlib.util.find_spec(commands[name][0])


@pytest.mark.parametrize("name", sorted(set(re.findall(r"python -m ([\w.]+\.\w+)", MAKEFILE))))
def test_module_of_the_makefile_exists(name):
    assert (ROOT / f"{name.replace('.', '/')}.py").exists()


@pytest.mark.parametrize("action", ACTIONS)
def test_action_is_pinned_to_a_commit_with_its_version(action):
    assert re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40}", action)
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    comments = set(re.findall(rf"{action}(.*)", text))
    assert len(comments) == 1
    assert re.fullmatch(r" # v\d+\.\d+\.\d+", comments.pop())


def test_jobs_have_only_the_permissions_they_need():
    assert WORKFLOWS["ci"]["permissions"] == {"contents": "read"}
    assert WORKFLOWS["retrain"]["permissions"] == {}
    jobs = {name: job["permissions"] for name, job in WORKFLOWS["retrain"]["jobs"].items()}
    assert jobs == {
        "retrain": {"contents": "write", "pull-requests": "write", "issues": "write"},
        "follow": {"contents": "read"},
    }


def test_no_retraining_is_cancelled_by_another():
    assert WORKFLOWS["retrain"]["concurrency"] == {"group": "retrain", "cancel-in-progress": False}


def test_scheduled_job_runs_make_retrain_with_input_from_env():
    (step,) = [step for step in RETRAIN_STEPS if step.get("id") == "retrain"]
    assert step["run"] == "make retrain"
    assert set(step["env"]) == {"REASON", "FORCE", "GH_TOKEN"}
    rule = MAKEFILE.partition("\nretrain: ")[2].partition("\n\n")[0]
    for command in ("retrain decide", "retrain run", "propose"):
        assert f"python -m pipeline {command}" in rule


def test_messages_are_uploaded_only_from_a_private_repository():
    (upload,) = [step for step in RETRAIN_STEPS if "upload-artifact" in step.get("uses", "")]
    conditions = upload["if"].split(" && ")
    assert "github.event.repository.private" in conditions
    assert "steps.retrain.outputs.review == 'yes'" in conditions
    assert upload["with"]["path"].split() == ["data/docs", "data/review"]


def test_folders_of_cache_and_artifact_are_ignored_by_git():
    folders = ["data/docs/", "data/review/", ".dvc/kept/"]
    text = (ROOT / ".github/workflows/retrain.yml").read_text(encoding="utf-8")
    assert all(folder.rstrip("/") in text for folder in folders)
    command = ["git", "check-ignore", *folders]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ignored.stdout.split() == folders


@pytest.mark.parametrize("through", ["environment", "command line"])
@pytest.mark.parametrize(("target", "variable"), [("retrain", "REASON"), ("predict", "TEXT")])
def test_text_of_a_person_is_never_run_as_code(tmp_path, monkeypatch, target, variable, through):
    text = "$(shell touch ran) `touch ran` $(touch ran) 'a' \"b\""
    for name in ("python", "dvc"):
        program = tmp_path / "venv/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text(
            '#!/bin/sh\necho "$@" >> calls\n[ "$3" = score ] && cat >> calls; exit 0\n'
        )
        program.chmod(0o755)
    (tmp_path / "requirements.lock").touch()
    (tmp_path / "venv/.up-to-date").touch()
    command = ["make", "-f", str(ROOT / "Makefile"), target, "VENV=venv"]
    if through == "environment":
        monkeypatch.setenv(variable, text)
    else:
        command.append(f"{variable}={text}")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert text in (tmp_path / "calls").read_text()
    assert not (tmp_path / "ran").exists()


def test_ci_tests_every_supported_python():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'requires-python = ">=3.11,<3.14"' in declared
    test = WORKFLOWS["ci"]["jobs"]["test"]
    assert test["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
