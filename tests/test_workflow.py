"""A workflow file is modelled to its last key, or refused with its file, its job and its step named."""

from pathlib import Path

import pytest

from benchmarks.actions import Event, WorkflowError, check, starts, triggers

PIN = "@" + "0123456789abcdef0123" * 2
WHOLE = f"""\
name: Retrain
on:
  schedule:
    - cron: "17 3 * * 1,4"
  workflow_dispatch:
    inputs:
      why:
        description: Why now
        required: true
      how: {{type: choice, options: [quick, whole], default: quick}}
      force: {{type: boolean, default: false}}
  repository_dispatch:
    types: [drift]
  push:
    branches: [main]
    paths: ["pipeline/**", params.yaml]
  pull_request:
    branches: [main]
permissions:
  contents: read
concurrency:
  group: retrain-${{{{ github.ref }}}}
  cancel-in-progress: false
env:
  URI: ${{{{ secrets.URI || vars.URI }}}}
defaults:
  run:
    shell: bash
jobs:
  train:
    name: Train on ${{{{ matrix.python }}}}
    runs-on: ubuntu-latest
    if: github.event_name != 'push' || inputs.force
    permissions: {{contents: write, issues: none}}
    timeout-minutes: 30
    strategy:
      fail-fast: false
      matrix:
        python: ["3.11", "3.12"]
    env:
      SIZE: 3
    outputs:
      version: ${{{{ steps.model.outputs.version }}}}
    steps:
      - uses: actions/checkout{PIN}
        with: {{fetch-depth: 0, ref: main, persist-credentials: false}}
      - uses: actions/setup-python{PIN}
        with: {{python-version: "${{{{ matrix.python }}}}", cache: pip, cache-dependency-path: a.lock}}
      - uses: actions/cache{PIN}
        id: cache
        with:
          path: .dvc/cache
          key: dvc-${{{{ hashFiles('dvc.lock') }}}}
          restore-keys: dvc-
      - name: Make a model of ${{{{ env.SIZE }}}}
        id: model
        if: steps.cache.outputs.cache-hit != 'true' && success()
        run: echo "$GITHUB_SHA ${{{{ runner.temp }}}}" >> "$GITHUB_OUTPUT"
        env:
          GH_TOKEN: ${{{{ github.token }}}}
        continue-on-error: true
        timeout-minutes: 5
        shell: bash
      - uses: actions/upload-artifact{PIN}
        if: always()
        with: {{name: reports, path: reports, if-no-files-found: error, retention-days: 7}}
  tell:
    needs: train
    runs-on: ubuntu-24.04
    if: failure() && needs.train.result == 'failure'
    steps:
      - run: echo "${{{{ needs.train.outputs.version }}}}"
"""


@pytest.fixture
def file(tmp_path):
    """Writes a workflow, and returns where it lies."""

    def write(text: str) -> Path:
        path = tmp_path / "retrain.yml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_everything_that_is_modelled_passes(file):
    workflow = check(file(WHOLE))
    assert list(workflow["jobs"]) == ["train", "tell"]
    assert "on" in workflow  # a text, as in YAML 1.2


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: Retrain", "run-name: Retrain", "the key 'run-name' is not modelled; choose from name, on, "),
        ("name: Retrain", "name: ${{ github.ref }}", "name: an expression is not modelled here"),
        ("jobs:", "job:", "the key 'job' is not modelled"),
        ("  pull_request:", "  release:", "on: the key 'release' is not modelled; choose from sched"),
        ("branches: [main]\npermissions", "types: [opened]\npermissions", "pull_request: the key 'types'"),
        ('"17 3 * * 1,4"', '"17 3 * *"', "on: schedule: cron: '17 3 * *' has 4 fields, not 5"),
        ('"17 3 * * 1,4"', '"61 3 * * 1"', "cron: '61' in '61 3 * * 1' is not modelled; choose from 0 to 59"),
        ('"17 3 * * 1,4"', '"17 3 * * MON"', "cron: 'MON' in '17 3 * * MON' is not modelled"),
        ("types: [drift]", "kinds: [drift]", "on: repository_dispatch: the key 'kinds'"),
        ('"pipeline/**"', '"!docs"', "on: push: paths: '!' in the pattern '!docs' is not modelled"),
        ("type: choice, ", "type: number, ", "how: 'number' is not modelled; choose from string, boo"),
        ("default: quick", "default: slow", "how: default: 'slow' is not modelled; choose from quick, whole"),
        ("default: false}", "default: no}", "force: default: 'no' is not modelled; choose from true, false"),
        ("type: boolean, default: false", "type: boolean", "force: the key 'default' is missing"),
        ("  contents: read", "  content: read", "permissions: the key 'content' is not modelled"),
        ("  contents: read", "  contents: all", "permissions: contents: 'all' is not modelled"),
        ("${{ github.ref }}", "${{ secrets.A }}", "concurrency: group: 'secrets' is not known here"),
        ("${{ secrets.URI ||", "${{ matrix.URI ||", "env: URI: 'matrix' is not known here"),
        ("    shell: bash\njobs", "    shell: sh\njobs", "defaults: run: shell: 'sh' is not modelled"),
        ("SIZE: 3", "GITHUB_SHA: 3", "jobs: 'train': env: GITHUB_SHA: GitHub sets it"),
        ("SIZE: 3", "SIZE: 2026-01-01", "jobs: 'train': env: SIZE: a text is needed, not datetime.date"),
        ("SIZE: 3", "SIZE: ${{ env.URI }}", "jobs: 'train': env: SIZE: 'env' is not known here"),
        ("SIZE: 3", "SIZE: ${{ github.token }}", "env: SIZE: 'github.token' is not known here"),
        ("  train:\n", "  train it:\n", "jobs: 'train it': 'train it' is no name"),
        ("runs-on: ubuntu-latest", "runs-on: windows-latest", "runs-on: 'windows-latest' is not modelled"),
        ("runs-on: ubuntu-latest", "container: a", "'train': the key 'container' is not modelled"),
        ("    runs-on: ubuntu-latest\n", "", "jobs: 'train': the key 'runs-on' is missing"),
        ("inputs.force\n", "secrets.A\n", "jobs: 'train': if: 'secrets' is not known here"),
        ("inputs.force\n", "matrix.python\n", "jobs: 'train': if: 'matrix' is not known here"),
        ("inputs.force\n", "hashFiles('a')\n", "if: the function 'hashFiles' may not be used here"),
        ("timeout-minutes: 30", "timeout-minutes: 0.5", "timeout-minutes: whole minutes are needed"),
        ('python: ["3.11", "3.12"]', "include: [{a: b}]", "strategy: matrix: include: it is not modelled"),
        ('python: ["3.11", "3.12"]', "python: x", "strategy: matrix: python: a list is needed, not 'x'"),
        ("fail-fast: false", "max-parallel: 1", "strategy: the key 'max-parallel' is not modelled"),
        ("matrix.python }}\n", "matrix.os }}\n", "'train': name: 'matrix.os' is not known here"),
        ("steps.model.outputs.version", "steps.modell.outputs.a", "outputs: version: 'steps.modell' is not"),
        ("needs: train", "needs: trainer", "jobs: 'tell': needs: there is no job 'trainer'"),
        ("    runs-on: ubuntu-latest\n", "    runs-on: ubuntu-latest\n    needs: tell\n", "need one another"),
        ("outputs.version }}\"", "outputs.none }}\"", "run: 'needs.train.outputs.none' is not known"),
        ("needs.train.result", "needs.tell.result", "jobs: 'tell': if: 'needs.tell' is not known here"),
        # steps
        (f"actions/checkout{PIN}", f"actions/github-script{PIN}", "the action 'actions/github-script' is"),
        (f"actions/checkout{PIN}", "./here", "steps: step 1 (Run ./here): the action './here' is not"),
        (f"actions/checkout{PIN}", "actions/checkout@v4", "'actions/checkout@v4' is not pinned to a commit"),
        ("fetch-depth: 0", "submodules: true", "with: the key 'submodules' is not modelled"),
        ("fetch-depth: 0", "fetch-depth: all", "with: fetch-depth: a number is needed, not 'all'"),
        ("persist-credentials: false", "persist-credentials: 0", "with: persist-credentials: '0' is not mod"),
        ('"${{ matrix.python }}"', "3.10", "with: python-version: '3.1' is not modelled; choose from 3.10, "),
        ("cache: pip", "cache: poetry", "with: cache: 'poetry' is not modelled"),
        ("path: .dvc/cache", "path: .dvc/*", "with: path: '*' in the path '.dvc/*' is not modelled"),
        ("          path: .dvc/cache\n", "", "with: the key 'path' is missing"),
        ("hashFiles('dvc.lock')", "hashFiles('/dvc.lock')", "the pattern '/dvc.lock' of files is not"),
        ("if-no-files-found: error", "if-no-files-found: fail", "if-no-files-found: 'fail' is not modelled"),
        ("retention-days: 7", "retention-days: 91", "retention-days: '91' is not modelled"),
        ("outputs.cache-hit", "outputs.hit", "if: 'steps.cache.outputs.hit' is not known here; choose"),
        ("steps.cache.outputs.cache-hit", "steps.model.outcome", "if: 'steps.model' is not known here"),
        ("'true' && success()", "'true' && secrets.A", "step 4 (Make a model of ${{ env.SIZE }}): if: 'sec"),
        ("id: model", "id: cache", "step 4 (Make a model of ${{ env.SIZE }}): the id 'cache' is given twice"),
        ("        shell: bash", "        shell: python", "shell: 'python' is not modelled"),
        ("        shell: bash", "        working-directory: a", "the key 'working-directory' is not"),
        ("        shell: bash", f"        uses: actions/cache{PIN}", "either 'run' or 'uses' is needed"),
        ("        continue-on-error: true", "        continue-on-error: 1", "continue-on-error: '1' is not"),
        ("$GITHUB_SHA", "$GITHUB_RETENTION_DAYS", "the variable 'GITHUB_RETENTION_DAYS' is not modelled"),
        ("runner.temp", "runner.arch", "run: 'runner.arch' is not known here; choose from os, temp"),
        ("runner.temp", "job.status", "run: 'job' is not known here"),
        ("runner.temp", "toJSON(github)", "run: expression 'toJSON(github)': the function 'toJSON' is not"),
        ("runner.temp", "success()", "run: the function 'success' may not be used here"),
        # YAML
        ("if: always()", "if: !always()", "line 65: a tag is not modelled"),
        ("env:\n      SIZE: 3", "env: &a\n      SIZE: 3", "line 40: an anchor is not modelled"),
        ("env:\n      SIZE: 3", "env:\n      <<: {A: b}", "line 41: '<<' is not modelled"),
        ("name: Retrain", "name: [", "not YAML: "),
        ("name: Retrain", "name: Retrain\nname: Again", "not YAML: found duplicate key"),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_named_with_its_place(file, old, new, problem):
    assert old in WHOLE
    with pytest.raises(WorkflowError) as refused:
        check(file(WHOLE.replace(old, new, 1)))
    assert str(refused.value).startswith("retrain.yml: ")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_step_is_named_with_file_and_job(file):
    text = WHOLE.replace("runner.temp", "runner.arch")
    with pytest.raises(WorkflowError) as refused:
        check(file(text))
    place = "retrain.yml: jobs: 'train': steps: step 4 (Make a model of ${{ env.SIZE }}): run: "
    assert str(refused.value) == place + "'runner.arch' is not known here; choose from os, temp"


def test_what_a_step_sets_itself_is_known(file):
    check(file(WHOLE.replace("$GITHUB_SHA", "$GITHUB_OWN").replace("GH_TOKEN", "GITHUB_OWN")))


# ---- triggers


@pytest.mark.parametrize(
    ("event", "changed", "answer"),
    [
        (Event("push"), ["pipeline/train.py"], True),
        (Event("push"), ["README.md", "pipeline/a/b.py"], True),
        (Event("push"), ["params.yaml"], True),
        (Event("push"), ["README.md", "old/params.yaml", "pipelines/a.py"], False),
        (Event("push"), [], False),
        (Event("push", ref="refs/heads/other"), ["params.yaml"], False),
        (Event("push", ref="refs/tags/main"), ["params.yaml"], False),
        (Event("pull_request", payload={"pull_request": {"base": {"ref": "main"}}}), [], True),
        (Event("pull_request", payload={"pull_request": {"base": {"ref": "next"}}}), [], False),
        (Event("schedule"), [], True),
        (Event("schedule", payload={"schedule": "17 3 * * 1,4"}), [], True),
        (Event("schedule", payload={"schedule": "0 0 * * *"}), [], False),
        (Event("repository_dispatch", payload={"action": "drift"}), [], True),
        (Event("repository_dispatch", payload={"action": "other"}), [], False),
        (Event("workflow_dispatch"), [], True),
        (Event("release"), [], False),
    ],
)
def test_an_event_starts_what_asks_for_it(file, event, changed, answer):
    assert starts(file(WHOLE), event, changed) is answer


def test_a_tag_starts_what_names_no_branches():
    tag = Event("push", ref="refs/tags/v1")
    assert triggers.started({"push": {"paths": ["a"]}}, tag)
    assert triggers.started("push", tag)
    assert triggers.started(["pull_request", "push"], tag)
    assert not triggers.started({"push": {"branches": ["**"]}}, tag)


@pytest.mark.parametrize(
    ("pattern", "names", "others"),
    [
        ("*", ["main"], ["a/b"]),
        ("**", ["main", "a/b"], []),
        ("feature/*", ["feature/a"], ["feature/a/b", "feature"]),
        ("**/README.md", ["README.md", "a/b/README.md"], ["a/README.mdx", "aREADME.md"]),
        ("**.py", ["a.py", "a/b.py"], ["a.pyc"]),
        ("docs/**", ["docs/a", "docs/a/b"], ["docs", "a/docs/b"]),
        ("*.lock", ["dvc.lock"], ["dvcxlock", "a/dvc.lock"]),
    ],
)
def test_a_pattern_is_a_glob_of_github(pattern, names, others):
    for name in (*names, *others):
        started = triggers.started({"push": {"branches": [pattern]}}, Event("push", f"refs/heads/{name}"))
        assert started == (name in names), name


# ---- inputs


ON = {
    "schedule": [{"cron": "0 0 * * *"}],
    "workflow_dispatch": {
        "inputs": {
            "why": {"required": True},
            "how": {"type": "choice", "options": ["quick", "whole"], "default": "quick"},
            "force": {"type": "boolean", "default": True},
            "note": None,
        }
    },
}


def test_inputs_are_what_a_person_chose_and_defaults():
    triggers.check(ON)
    chosen = triggers.inputs(ON, Event("workflow_dispatch", inputs={"why": "drift", "force": "false"}))
    assert chosen == {"why": "drift", "how": "quick", "force": False, "note": ""}


def test_there_are_no_inputs_and_no_defaults_where_no_person_was_asked():
    assert triggers.inputs(ON, Event("schedule")) == {}


@pytest.mark.parametrize(
    ("inputs", "problem"),
    [
        ({}, "why: it is required"),
        ({"why": "a", "size": "3"}, "'size' is not expected; choose from why, how, force, note"),
        ({"why": "a", "how": "slow"}, "how: 'slow' is not modelled; choose from quick, whole"),
        ({"why": "a", "force": "yes"}, "force: 'yes' is not modelled; choose from true, false"),
    ],
)
def test_inputs_that_github_would_not_take_are_refused(inputs, problem):
    with pytest.raises(WorkflowError, match=problem):
        triggers.inputs(ON, Event("workflow_dispatch", inputs=inputs))
