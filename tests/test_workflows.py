"""The workflows are valid, pinned, have least permissions, and everything they name exists."""

import importlib.metadata
import importlib.util
import re
import subprocess

import pytest
import ruamel.yaml

from pipeline.__main__ import COMMANDS
from tests.harness.small_project import ROOT, runner

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
WORKFLOWS = {file.stem: ruamel.yaml.YAML(typ="safe").load(file) for file in FILES}
JOBS = [job for workflow in WORKFLOWS.values() for job in workflow["jobs"].values()]
RUN_LINES = [step["run"] for job in JOBS for step in job["steps"] if "run" in step]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
RETRAIN_STEPS = WORKFLOWS["retrain"]["jobs"]["retrain"]["steps"]


def test_workflows_fit_the_published_schema():
    command = ["check-jsonschema", "--builtin-schema", "vendor.github-workflows", *FILES]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", RUN_LINES)
def test_command_passes_shellcheck(command):
    shellcheck = ["shellcheck", "--shell=bash", "-"]
    done = subprocess.run(shellcheck, input=command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", RUN_LINES)
def test_command_is_a_make_target_or_plain_shell(command):
    assert "${{" not in command  # it would run as code; input from outside comes through `env`
    program, *words = command.rpartition(" | ")[2].split()
    assert program in ("make", "rm")
    if program == "make":
        assert f"\n{words[0]}: " in MAKEFILE


def test_modules_and_commands_of_the_makefile_exist():
    modules = re.findall(r"python -m ((?:benchmarks|docs|tests)\.[\w.]+)", MAKEFILE)
    commands = re.findall(r"python -m pipeline ([a-z-]+)", MAKEFILE)
    modules += [COMMANDS[name][0] for name in commands]
    assert all(importlib.util.find_spec(module) for module in modules)


def test_actions_are_pinned_to_a_commit_with_its_version():
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    pins = set(re.findall(r"uses: (.*)", text))
    for pin in pins:
        assert re.fullmatch(r"actions/[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", pin)
    assert len({pin.partition("@")[0] for pin in pins}) == len(pins)


def test_jobs_have_only_the_permissions_they_need():
    assert WORKFLOWS["ci"]["permissions"] == {"contents": "read"}
    assert WORKFLOWS["retrain"]["permissions"] == {}
    jobs = {name: job["permissions"] for name, job in WORKFLOWS["retrain"]["jobs"].items()}
    assert jobs == {
        "retrain": {"contents": "write", "pull-requests": "write", "issues": "write"},
        "follow": {"contents": "read"},
    }


def test_scheduled_job_runs_make_retrain_with_input_from_env():
    assert WORKFLOWS["retrain"]["concurrency"] == {"group": "retrain", "cancel-in-progress": False}
    (step,) = [step for step in RETRAIN_STEPS if step.get("id") == "retrain"]
    assert step["run"] == "make retrain"
    assert step["env"]["REASON"] == "${{ inputs.reason || github.event.client_payload.reason }}"


REGISTRY = {f"MLFLOW_TRACKING_{name}" for name in ("URI", "USERNAME", "PASSWORD")}
REMOTE = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


def test_only_steps_that_need_a_secret_have_it():
    given = {}
    for step in [step for job in JOBS for step in job["steps"]]:
        values = {**step.get("env", {}), **step.get("with", {})}
        if names := {
            key for key, value in values.items() if re.search("secrets|token", str(value))
        }:
            given[step["run"]] = names
        if step.get("uses", "").startswith("actions/checkout"):
            assert step["with"]["persist-credentials"] is False
    assert given == {
        "make pull": REMOTE,
        "make retrain": REGISTRY | REMOTE | {"GH_TOKEN"},
        "make follow": REGISTRY | REMOTE,
    }
    assert [workflow for workflow in WORKFLOWS.values() if "env" in workflow] == []
    assert [job["env"] for job in JOBS if "env" in job] == [
        {"HAS_SERVER": "${{ secrets.MLFLOW_TRACKING_URI != '' }}"}
    ]


# ---- what is installed


def installs():
    """The commands of the Makefile that install, and the packages that each installs."""
    done = runner(ROOT)("make", "--dry-run", "--always-make", "install")
    for line in done.stdout.splitlines():
        if "pip install" in line:
            locked, _, command = line.partition(" | ")
            chosen = runner(ROOT)("sh", "-c", locked).stdout
            yield command.split(), re.findall(r"^([\w-]+)==", chosen, re.MULTILINE)


def test_lock_has_hashes_and_no_addresses():
    packages = re.split(r"\n(?=\w)", LOCK.strip())
    without = [one for one in packages if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:", one, re.S)]
    assert without == []
    assert "://" not in LOCK
    assert {"setuptools", "wheel"} <= {package.partition("==")[0] for package in packages}


def test_nothing_without_a_hash_is_installed_or_run():
    (wheels, from_wheels), (source, from_source) = installs()
    for command in (wheels, source):
        assert {"--require-hashes", "--no-deps"} <= {*command}
    assert "--only-binary=:all:" in wheels
    assert {"--no-build-isolation", "--no-cache-dir"} <= {*source}  # no wheel of an earlier build
    assert from_source == ["antlr4-python3-runtime"]
    assert {"setuptools", "wheel"} < {*from_wheels}
    assert sorted(from_wheels + from_source) == sorted(re.findall(r"^([\w-]+)==", LOCK, re.M))


def test_installed_package_without_a_wheel_was_built_by_the_lock():
    built = importlib.metadata.distribution("antlr4-python3-runtime").read_text("WHEEL")
    (locked,) = re.findall("^setuptools==(\\S+)", LOCK, re.MULTILINE)
    assert f"Generator: setuptools ({locked})\n" in built


def test_messages_are_uploaded_only_from_a_private_repository():
    (upload,) = [step for step in RETRAIN_STEPS if "upload-artifact" in step.get("uses", "")]
    conditions = upload["if"].split(" && ")
    assert "github.event.repository.private" in conditions
    assert "steps.retrain.outputs.review == 'yes'" in conditions
    assert upload["with"]["path"].split() == ["data/docs", "data/review"]


def test_folders_of_cache_and_artifact_are_ignored_by_git():
    steps = [step for step in RETRAIN_STEPS if "path" in step.get("with", {})]
    folders = [f"{path}/" for step in steps for path in step["with"]["path"].split()]
    assert {*folders} == {"data/docs/", "data/review/", ".dvc/kept/"}
    assert runner(ROOT)("git", "check-ignore", *folders).stdout.split() == folders


@pytest.mark.parametrize("through", ["environment", "command line"])
@pytest.mark.parametrize(
    ("target", "variable"),
    [("retrain", "REASON"), ("predict", "TEXT"), ("serve", "PORT"), ("mutants", "ONLY")],
)
def test_text_of_a_person_is_never_run_as_code(tmp_path, monkeypatch, target, variable, through):
    text = "$(shell touch ran) `touch ran` $(touch ran) 'a' \"b\""
    for name in ("python", "dvc"):
        program = tmp_path / ".venv/bin" / name
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text('#!/bin/sh\necho "$@" >> calls\n[ "$3" != predict ] || cat >> calls\n')
        program.chmod(0o755)
    command = ["make", "--old-file=.venv/.up-to-date", "-f", str(ROOT / "Makefile"), target]
    if through == "environment":
        monkeypatch.setenv(variable, text)
    else:
        command.append(f"{variable}={text}")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    assert text in (tmp_path / "calls").read_text()
    assert not (tmp_path / "ran").exists()


def test_ci_tests_every_supported_python():
    assert 'requires-python = ">=3.11,<3.14"' in (ROOT / "pyproject.toml").read_text("utf-8")
    matrix = WORKFLOWS["ci"]["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
