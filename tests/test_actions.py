"""A workflow runs here as it would at GitHub: real Git, real bash, and nothing left behind."""

import itertools
import os
import select
import shutil
import textwrap

import pytest
from conftest import runner

from benchmarks.actions import Event, GitHub, WorkflowError, gh, marketplace, run
from benchmarks.actions.workflow import ACTIONS, VARIABLES

HEAD = """\
on:
  schedule: [{cron: "0 5 * * *"}]
  workflow_dispatch: {inputs: {why: {type: string, default: none}, force: {type: boolean, default: false}}}
  repository_dispatch: {types: [retrain]}
  push: {branches: [main, other]}
  pull_request:
permissions: {contents: write, pull-requests: write}
env: {A: workflow, B: workflow, TOKEN: "${{ secrets.TOKEN }}", NONE: "${{ secrets.NONE }}"}
jobs:
"""
CHECKOUT = "- uses: actions/checkout@abc\n"
PUSH = """\
- run: |
    git -c user.name=me -c user.email=a@b.c commit --quiet --allow-empty --message third
    git push --quiet origin HEAD:refs/heads/new
"""


@pytest.fixture
def hub(tmp_path):
    """GitHub with two commits on main, and a branch and a tag at the first."""
    git = runner(tmp_path)
    git("git", "init", "--quiet", "--bare", "--initial-branch=main", "origin.git")
    git("git", "clone", "--quiet", "origin.git", "desk")
    git = runner(tmp_path / "desk")
    for text in ("first", "second"):
        (tmp_path / "desk/text").write_text(text)
        git("git", "add", "text")
        git("git", "-c", "user.name=A", "-c", "user.email=a@b.c", "commit", "--quiet", "--message", text)
    git("git", "push", "--quiet", "origin", "HEAD:main", "HEAD~1:refs/heads/old", "HEAD~1:refs/tags/v1")
    secrets = {"TOKEN": "s3cret", "KEY": "line one\nline two"}
    return GitHub(tmp_path / "origin.git", tmp_path / "hub", secrets)


def job(steps, more="", name="work"):
    return f"  {name}:\n    runs-on: ubuntu-24.04\n{more}    steps:\n{textwrap.indent(steps, '      ')}"


@pytest.fixture
def do(hub, tmp_path):
    """Runs the steps of one job `work`, or what stands for it."""
    numbers = itertools.count()

    def do(steps="", event=Event("schedule"), jobs="", hub=hub, **settings):  # noqa: B008 (it is frozen)
        (tmp_path / "w.yml").write_text(HEAD + (jobs or job(steps)), encoding="utf-8")
        return run(tmp_path / "w.yml", event, hub, tmp_path / "runs" / str(next(numbers)), **settings)

    return do


def log(result, number=0):
    return result.jobs["work"].steps[number].log


def outcomes(result):
    return [step.outcome for step in result.jobs["work"].steps]


# ---- steps


def test_a_step_that_fails_fails_the_run_and_skips_the_later_ones(do):
    steps = "- run: false | true\n- run: 'false'\n- run: echo\n- {if: github.ref_name == 'main', run: echo}\n"
    result = do(steps)
    assert outcomes(result) == ["success", "failure", "skipped", "skipped"]  # a pipe ends as its last part
    assert log(result, 1) == "##[error]Process completed with exit code 1."
    assert result.success is False


def test_outputs_reach_later_steps_and_conditions(do):
    result = do("""\
- id: out
  run: echo "decision=wait=2" >> "$GITHUB_OUTPUT"
- if: steps.out.outputs.decision == 'WAIT=2' && steps.none.outputs.any == ''
  env: {D: "${{ steps.out.outputs.decision }}"}
  run: echo "$D"
- if: steps.out.outputs.decision == 'retrain'
  run: echo never
""")
    assert result.jobs["work"].steps[0].outputs == {"decision": "wait=2"}
    assert (log(result, 1), outcomes(result)) == ("wait=2", ["success", "success", "skipped"])
    assert result.success is True


@pytest.mark.parametrize("line", ["no sign", "a<<END"])
def test_an_output_that_is_not_one_line_of_a_name_and_a_value_is_refused(do, line):
    place = r"w\.yml: jobs: work: steps: 1: Run echo .*: "
    with pytest.raises(WorkflowError, match=f"{place}'{line}', for GITHUB_ENV or GITHUB_OUTPUT, is not mod"):
        do(f"""- run: echo '{line}' >> "$GITHUB_OUTPUT"\n""")


def test_variables_and_folders_reach_later_steps_and_the_innermost_env_and_the_last_folder_win(do):
    result = do("""\
- run: |
    echo "A=exported" >> "$GITHUB_ENV"
    for name in one two; do
      mkdir "$name"; printf "#!/bin/sh\\necho $name" > "$name/cat"; chmod +x "$name/cat"
      echo "$PWD/$name" >> "$GITHUB_PATH"
    done
    cat < /dev/null
- run: echo "$A $B $C $(cat) [$NONE]"
  env: {B: step, C: "${{ env.A }}"}
""")
    assert [log(result, number) for number in range(2)] == ["", "exported step exported two []"]


def test_a_step_finds_what_github_sets_and_the_caller_passes_and_nothing_of_ours(do, hub, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    passed = GitHub(hub.origin, hub.folder, environment={"MINE": "1", "HOME": "/elsewhere"})
    found = dict(line.partition("=")[::2] for line in log(do("- run: env\n", hub=passed)).splitlines())
    own = {"PATH", "HOME", "LANG", "CI", "PWD", "SHLVL", "_", "MINE", "A", "B", "TOKEN", "NONE"}
    assert found.keys() == {*own, *VARIABLES, "GITHUB_ACTIONS", "RUNNER_TRACKING_ID"}
    assert (found["GITHUB_REF"], found["GITHUB_REF_NAME"], found["CI"]) == ("refs/heads/main", "main", "true")
    assert os.path.basename(found["HOME"]) == "home"  # the machine's own, not the one that was passed
    assert os.path.samefile(found["GITHUB_WORKSPACE"], found["PWD"])


def test_secrets_are_masked_wherever_they_show_and_known_to_later_steps(do):
    result = do("""\
- id: a
  env: {KEY: "${{ secrets.KEY }}", T: "${{ github.token }}", S: "${{ secrets.GITHUB_TOKEN == github.token }}"}
  run: |
    echo "a$TOKEN, $T, $S"
    echo "$KEY" >&2
    echo "token=x$TOKEN" >> "$GITHUB_OUTPUT"
    echo "# $TOKEN" >> "$GITHUB_STEP_SUMMARY"
- if: steps.a.outputs.token == 'xs3cret'
  run: echo seen
""")
    first, second = result.jobs["work"].steps
    assert first.log == "a***, ***, true\n***\n***"
    assert (first.outputs, first.summary, second.log) == ({"token": "x***"}, "# ***\n", "seen")


def test_a_command_to_the_runner_is_refused(do):
    with pytest.raises(WorkflowError, match="the workflow command '::set-output name=a::' is not modelled"):
        do('- run: echo "::set-output name=a::b"\n')


# ---- events and jobs


def test_a_job_runs_where_its_condition_holds_whatever_became_of_another(do):
    daily = job("- run: 'false'\n", "    if: github.event_name == 'schedule'\n")
    both = daily + job("- run: echo other\n", name="other")
    result = do(jobs=both)
    assert (outcomes(result), result.jobs["other"].steps[0].log) == (["failure"], "other")
    result = do(jobs=both, event=Event("push"))
    assert (outcomes(result), result.success) == ([], True)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Event("workflow_dispatch", inputs={"force": True}), "none yes"),
        (Event("workflow_dispatch", inputs={"why": "drift"}), "drift"),
        (
            Event("repository_dispatch", payload={"action": "retrain", "client_payload": {"w": "told"}}),
            "told",
        ),
        (Event("schedule"), ""),
    ],
)
def test_a_step_knows_what_was_asked(do, event, said):
    why, force = "inputs.why || github.event.client_payload.w", "inputs.force && 'yes' || ''"
    steps = f'- env: {{W: "${{{{ {why} }}}}", F: "${{{{ {force} }}}}"}}\n  run: echo $W $F\n'
    assert log(do(steps, event)) == said


@pytest.mark.parametrize(
    ("event", "more", "problem"),
    [
        (Event("release"), "", "on: this event 'release' does not start it"),
        (Event("repository_dispatch"), "", "'repository_dispatch' does not start it"),
        (Event("push", ref="refs/heads/other"), "", "another branch than main, is not modelled"),
        (Event("pull_request"), "", "a run of a pull request"),
        (
            Event("push"),
            "    strategy: {fail-fast: true, matrix: {a: [b]}}\n",
            "work: strategy: it is checked",
        ),
        (Event("push"), "    timeout-minutes: one\n", "work: timeout-minutes: a plain int is needed"),
    ],
)
def test_what_is_not_modelled_runs_nothing(do, tmp_path, event, more, problem):
    with pytest.raises(WorkflowError, match=problem):
        do(event=event, jobs=job(f"- run: touch {tmp_path}/here\n", more))
    assert not (tmp_path / "here").exists()


# ---- a run that is killed


@pytest.fixture
def fifo(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    yield reader
    os.close(reader)


def nobody_holds(fifo):
    """Whether the last process that had it open for writing is gone, within seconds."""
    return bool(select.select([fifo], [], [], 10)[0]) and os.read(fifo, 9) == b""


def test_a_run_is_watched_step_by_step_and_line_by_line(do):
    seen = []
    do("- run: echo one; echo $TOKEN\n- run: ls\n", watch=lambda *it: seen.append(it))
    first = ("work", "Run echo one; echo $TOKEN")
    assert seen == [(*first, None), (*first, "one"), (*first, "***"), ("work", "Run ls", None)]


class LostError(Exception):
    pass


def test_a_run_that_is_killed_leaves_no_process_behind_and_does_nothing_more(do, fifo, tmp_path):
    def lose(job, step, line):
        if line == "there":
            raise LostError

    work = f"exec 3> {tmp_path}/fifo; sleep 600 & setsid sleep 600 & echo there; wait"
    steps = f"- run: {work}\n- run: touch {tmp_path}/never\n"
    with pytest.raises(LostError):
        do(steps, watch=lose)
    assert nobody_holds(fifo)
    assert not (tmp_path / "never").exists()


def test_what_a_job_leaves_running_ends_with_it(do, fifo, tmp_path):
    do(f"- run: setsid sleep 600 > {tmp_path}/fifo 2>&1 &\n")
    assert nobody_holds(fifo)


# ---- the actions


def test_every_action_that_is_modelled_has_its_stand_in():
    assert ACTIONS.keys() == marketplace.RUN.keys()


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ("", "second | * main remotes/origin/main |"),
        ("  with: {fetch-depth: 0}\n", "second first | * main remotes/origin/main remotes/origin/old | v1"),
    ],
)
def test_a_checkout_is_on_its_branch_shallow_or_whole(do, given, seen):
    show = '- run: set -f; echo $(git log --format=%s) "|" $(git branch --all) "|" $(git tag)\n'
    assert log(do(CHECKOUT + given + show), 1) == seen


def test_a_checkout_needs_an_empty_workspace_its_permission_and_its_repository(do, hub):
    with pytest.raises(
        WorkflowError, match="2: Run actions/checkout@abc: a checkout into a workspace that is"
    ):
        do("- run: touch kept\n" + CHECKOUT)
    result = do(jobs=job(CHECKOUT, "    permissions: {issues: write}\n"))
    assert "'contents: read' is missing" in log(result)
    result = do(CHECKOUT, watch=lambda job, step, line: shutil.rmtree(hub.origin, ignore_errors=True))
    assert "The process 'git' failed with exit code 128" in log(result)


@pytest.mark.parametrize(
    ("given", "permissions", "arrives"),
    [
        ("", "", True),
        ("", "    permissions: {contents: read}\n", False),
        ("  with: {persist-credentials: false}\n", "", False),
    ],
)
def test_a_push_arrives_with_permission_and_credentials_only(do, hub, given, permissions, arrives):
    result = do(jobs=job(CHECKOUT + given + PUSH, permissions))
    assert result.success is arrives
    assert ("Permission to owner/name denied" in log(result, 1)) is not arrives
    assert runner(hub.origin)("git", "branch", "--list", "new").stdout.split() == ["new"] * arrives


def test_a_commit_needs_a_name(do):
    result = do(CHECKOUT + "- run: git commit --quiet --allow-empty --message third\n")
    assert "Author identity unknown" in log(result, 1)


def test_a_cache_of_pip_needs_its_file(do):
    python = (
        "- uses: actions/setup-python@abc\n  with: {cache: pip, python-version: '3', cache-dependency-path: "
    )
    assert outcomes(do(CHECKOUT + python + "text}\n")) == ["success"] * 2
    assert "No file matched to [none]" in log(do(CHECKOUT + python + "none}\n"), 1)


def restored(key, others="none-", path="kept"):
    given = f"path: {path}, key: {key}, restore-keys: {others}"
    return f"- uses: actions/cache/restore@abc\n  with: {{{given}}}\n"


def saved(key, path="kept"):
    return f"- uses: actions/cache/save@abc\n  with: {{path: {path}, key: {key}}}\n"


def keep(number):
    return f"- run: mkdir -p kept; echo {number} > kept/number\n"


SHOW = "- run: cat kept/number 2>&1 || true\n"
NOTHING = "cat: kept/number: No such file or directory"


def test_a_cache_is_restored_by_its_key_or_a_prefix_the_newest_first(do):
    for number, key in enumerate(("a-1", "a-2", "b-1"), start=1):
        do(keep(number) + saved(key))
    assert log(do(restored("a-1", "a-") + SHOW), 1) == "1"
    assert log(do(restored("c", "a-") + SHOW), 1) == "2"
    assert log(do(restored("d", "x") + SHOW), 1) == NOTHING
    assert log(do(restored("a-1", path="kept/number") + SHOW), 1) == NOTHING  # other paths are another cache


def test_a_cache_is_saved_once_by_a_step_of_its_own_and_may_be_evicted(do, hub):
    do(saved("a"))  # there is nothing to save
    assert not hub.caches.exists()
    for number in (1, 2):
        do(keep(number) + saved("a") + "- run: 'false'\n")
    assert log(do(restored("a") + SHOW), 1) == "1"
    (cache,) = hub.caches.iterdir()
    cache.unlink()
    assert log(do(restored("a") + SHOW), 1) == NOTHING


def test_an_artifact_has_what_is_not_hidden_below_what_its_paths_share_and_is_written_once(do, hub):
    upload = "- uses: actions/upload-artifact@abc\n  with: {name: out, retention-days: 1, path: "
    make = "- run: mkdir -p a/b a/.c d; touch a/1 a/b/2 a/b/.3 a/.c/4 d/5\n"
    result = do(make + upload + '"a/b\\nd\\nnone"}\n' + upload + "a}\n")
    folder = hub.artifact(result.run_id, "out")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert files == ["a/b/2", "d/5"]
    assert "(409) Conflict" in log(result, 2)
    assert "No files were found" in log(do(make + upload + "a/.c}\n"), 1)


def test_gh_has_the_permissions_of_the_job_and_what_it_does_not_model_ends_the_run(do, hub):
    token = '  env: {GH_TOKEN: "${{ github.token }}"}\n'
    ask, label = (
        "gh pr list --state open --limit 1000 --json number,title",
        "gh label create retrain --force",
    )
    result = do(f"- run: {ask}\n{token}- run: {label}\n{token}")
    assert log(result, 0) == "[]"
    assert "Resource not accessible by integration (issues: write)" in log(result, 1)
    assert gh.read(hub.record) == gh.Record()
    with pytest.raises(WorkflowError, match=r"1: Run gh pr merge 1 .*: 'gh pr merge 1' is not modelled"):
        do(f"- run: gh pr merge 1 || true\n{token}")
