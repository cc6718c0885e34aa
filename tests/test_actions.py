"""A workflow runs here as it would at GitHub: real Git, real bash, and nothing left behind."""

import itertools
import json
import os
import select
import shutil
import textwrap
from pathlib import Path

import pytest
from conftest import runner

from benchmarks.actions import Event, GitHub, WorkflowError, gh, marketplace, run
from benchmarks.actions.catalogue import ACTIONS
from benchmarks.actions.workflow import VARIABLES

PIN = "@" + "0123456789abcdef0123" * 2
PUSH = Event("push")
CHECKOUT = f"- uses: actions/checkout{PIN}\n"
HEAD = """\
on:
  push:
  workflow_dispatch:
    inputs:
      why: {required: true}
      force: {type: boolean, default: false}
  schedule: [{cron: "0 5 * * *"}, {cron: "0 6 * * 1"}]
permissions: {contents: write, pull-requests: write}
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    """Two commits on main, with a branch and a tag at the first."""
    folder = tmp_path_factory.mktemp("repository")
    git = runner(folder)
    git("git", "init", "--quiet", "--initial-branch=main")
    git("git", "config", "user.name", "A stranger")
    git("git", "config", "user.email", "stranger@example.com")
    for text in ("first", "second"):
        (folder / "text").write_text(text)
        git("git", "add", "text")
        git("git", "commit", "--quiet", "--message", text)
    git("git", "branch", "old", "HEAD~1")
    git("git", "tag", "v1", "HEAD~1")
    git("git", "clone", "--quiet", "--bare", ".", "origin.git")
    return folder / "origin.git"


@pytest.fixture
def hub(repository, tmp_path):
    shutil.copytree(repository, tmp_path / "origin.git")
    secrets = {"TOKEN": "s3cret", "KEY": "line one\nline two"}
    return GitHub(tmp_path / "origin.git", tmp_path / "hub", secrets, variables={"URI": "http://a"})


def job(steps, more=""):
    """A job `work` of these steps."""
    return f"work:\n  runs-on: ubuntu-latest\n{more}  steps:\n{textwrap.indent(steps, '    ')}"


@pytest.fixture
def do(hub, tmp_path):
    """Runs the steps of one job `work`, or jobs."""
    numbers = itertools.count()

    def do(steps="", event=PUSH, head=HEAD, jobs="", hub=hub, **settings):
        workflow = tmp_path / "w.yml"
        workflow.write_text(f"{head}jobs:\n{textwrap.indent(jobs or job(steps), '  ')}", encoding="utf-8")
        return run(workflow, event, hub, tmp_path / "runs" / str(next(numbers)), **settings)

    return do


def log(result, number=0, job="work"):
    return result.jobs[job].steps[number].log


def outcomes(result, job="work"):
    return [step.outcome for step in result.jobs[job].steps]


# ---- steps


def test_a_step_that_fails_skips_the_later_ones_but_for_those_that_say_otherwise(do):
    result = do("""\
- run: "false"
- run: echo never
- if: always()
  run: echo always
- if: failure()
  run: echo failure
- if: "!cancelled() && github.ref_name == 'main'"
  run: echo not cancelled
- if: github.ref_name == 'main'
  run: echo never
""")
    assert outcomes(result) == ["failure", "skipped", "success", "success", "success", "skipped"]
    assert log(result) == "##[error]Process completed with exit code 1."
    assert (result.success, result.jobs["work"].result) == (False, "failure")


def test_a_step_that_may_fail_has_an_outcome_and_another_conclusion(do):
    result = do("""\
- id: may
  run: exit 3
  continue-on-error: ${{ true }}
- run: echo ${{ steps.may.outcome }} ${{ steps.may.conclusion }}
- if: "false"
  id: not
  run: echo never
- run: echo ${{ steps.not.outcome }} ${{ steps.not.outputs.any == '' }}
""")
    assert result.success
    assert log(result, 1) == "failure success"
    assert log(result, 3) == "skipped true"


def test_only_a_boolean_may_forgive(do):
    with pytest.raises(WorkflowError, match=r"step 1 .*: continue-on-error: true or false is needed"):
        do("- run: exit 3\n  continue-on-error: ${{ 'true' }}\n")


def test_outputs_of_one_line_and_of_several_reach_later_steps_also_from_one_that_fails(do):
    result = do("""\
- id: out
  run: |
    echo 'a=1=<<2' >> "$GITHUB_OUTPUT"
    printf 'b<<END\\n x=1\\n\\ny<<z\\nEND\\n' >> "$GITHUB_OUTPUT"
    exit 1
- if: failure()
  env:
    B: ${{ steps.out.outputs.b }}
  run: echo "${{ steps.out.outputs.a }}, $B"
""")
    assert dict(result.jobs["work"].steps[0].outputs) == {"a": "1=<<2", "b": " x=1\n\ny<<z"}
    assert log(result, 1) == "1=<<2,  x=1\n\ny<<z"


@pytest.mark.parametrize(
    ("line", "problem"),
    [("no sign", "Invalid format 'no sign'"), ("a<<END\\nb", "Matching delimiter not found 'END'")],
)
def test_an_output_that_github_cannot_read_fails_the_step(do, line, problem):
    result = do(f"""- run: printf '{line}\\n' >> "$GITHUB_OUTPUT"\n""")
    assert log(result) == f"##[error]Unable to process file command 'output' successfully. {problem}"


def test_variables_and_folders_reach_later_steps_and_the_last_folder_is_first(do):
    result = do("""\
- run: |
    echo "A=exported" >> "$GITHUB_ENV"
    for name in one two; do
      mkdir "$RUNNER_TEMP/$name"
      printf "#!/bin/sh\\necho $name" > "$RUNNER_TEMP/$name/cat"
      chmod +x "$RUNNER_TEMP/$name/cat"
      echo "$RUNNER_TEMP/$name" >> "$GITHUB_PATH"
    done
    cat < /dev/null
- run: echo "$A ${{ env.A }} $(cat)"
  env: {B: "${{ env.A }}"}
- if: env.A == 'here'
  env: {A: here}
  run: echo "$A"
""")
    assert [log(result, number) for number in range(3)] == ["", "exported exported two", "here"]


def test_a_step_cannot_export_what_github_sets(do):
    with pytest.raises(WorkflowError, match="GITHUB_ENV: GitHub does not let a step set 'GITHUB_SHA'"):
        do("""- run: echo "GITHUB_SHA=1" >> "$GITHUB_ENV"\n""")


def test_the_innermost_env_wins_and_its_values_are_texts(do):
    result = do(
        head=HEAD + "env: {A: workflow, B: workflow, C: workflow, N: 3.10, T: true}\n",
        jobs="""\
work:
  runs-on: ubuntu-latest
  env: {B: "job, ${{ github.event_name }}", C: job}
  steps:
    - env: {C: step}
      run: echo "$A $B $C $N $T"
""",
    )
    assert log(result) == "workflow job, push step 3.1 true"


def test_bash_fails_in_the_midst_of_a_pipe_only_where_the_shell_is_named(do):
    assert outcomes(do("- run: 'false | true'\n")) == ["success"]
    assert outcomes(do("- run: 'false | true'\n  shell: bash\n")) == ["failure"]
    assert outcomes(do("- run: 'false | true'\n", head=HEAD + "defaults: {run: {shell: bash}}\n")) == [
        "failure"
    ]
    assert outcomes(do("- run: |\n    false\n    true\n")) == ["failure"]


def test_a_step_finds_what_github_sets_and_nothing_of_ours(do, monkeypatch):
    monkeypatch.setenv("OURS", "1")
    result = do("""- run: env | sort\n""")
    found = dict(line.partition("=")[::2] for line in log(result).splitlines())
    own = {"PATH", "HOME", "LANG", "CI", "PWD", "SHLVL", "_"}
    assert found.keys() == own | set(VARIABLES)
    assert (found["GITHUB_REF"], found["GITHUB_REF_NAME"], found["CI"]) == ("refs/heads/main", "main", "true")
    assert (found["GITHUB_ACTIONS"], found["GITHUB_REPOSITORY"]) == ("true", "owner/name")
    assert os.path.samefile(found["GITHUB_WORKSPACE"], found["PWD"])


def test_what_the_caller_passes_is_on_every_machine(do, hub):
    passed = GitHub(hub.origin, hub.folder, environment={"MINE": "1", "HOME": "/elsewhere"})
    home = log(do('- run: echo "$MINE $HOME"\n', hub=passed))
    assert home.startswith("1 ")
    assert home.endswith("/work/home")


def test_a_summary_is_of_all_steps_and_masked(do):
    result = do("""\
- run: echo "# One" >> "$GITHUB_STEP_SUMMARY"
- run: echo "${{ secrets.TOKEN }}" >> "$GITHUB_STEP_SUMMARY"
""")
    assert result.summary == "# One\n***\n"


def test_paths_may_be_relative(do, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = GitHub(Path("origin.git"), Path("hub"))
    listed = "  run: gh pr list --head new --state open --json number\n"
    do(cached("a") + CHECKOUT + KEEP, hub=relative)
    result = run(Path("w.yml"), PUSH, relative, Path("again"))
    assert result.jobs["work"].steps[0].outputs == {"cache-hit": "true"}
    token = '- env: {GH_TOKEN: "${{ github.token }}"}\n'
    assert log(do(CHECKOUT + token + listed, hub=relative), 1) == "[]"


# ---- secrets


def test_secrets_are_masked_in_logs_and_outputs_line_by_line_and_leave_no_job(do):
    result = do(
        jobs="""\
one:
  runs-on: ubuntu-latest
  outputs:
    token: ${{ steps.a.outputs.token }}
    other: ${{ steps.a.outputs.other }}
  steps:
    - id: a
      env: {TOKEN: "${{ secrets.TOKEN }}", KEY: "${{ secrets.KEY }}"}
      run: |
        echo "a$TOKEN, ${{ github.token == secrets.GITHUB_TOKEN }}, ${{ github.token }}"
        echo "$KEY" >&2
        echo "token=x$TOKEN" >> "$GITHUB_OUTPUT"
        echo "other=x" >> "$GITHUB_OUTPUT"
    - if: steps.a.outputs.token == 'xs3cret'
      run: echo "::add-mask::new"; echo news; echo "::warning file=a::said"
two:
  needs: one
  runs-on: ubuntu-latest
  steps:
    - run: echo "[${{ needs.one.outputs.token }}] [${{ needs.one.outputs.other }}] [${{ secrets.NONE }}]"
"""
    )
    assert log(result, 0, "one") == "a***, true, ***\n***\n***"
    assert dict(result.jobs["one"].steps[0].outputs) == {"token": "x***", "other": "x"}
    assert log(result, 1, "one") == "***s\n::warning file=a::said"
    assert log(result, 0, "two") == "[] [x] []"


def test_a_command_to_the_runner_that_is_not_modelled_is_refused(do):
    with pytest.raises(WorkflowError, match=r"step 1 .*: the workflow command '::set-output::' is"):
        do('- run: echo "::set-output name=a::b"\n')


# ---- jobs


NEEDS = """\
a:
  runs-on: ubuntu-latest
  outputs: {text: "${{ steps.a.outputs.text }}"}
  steps:
    - id: a
      run: |
        printf 'text<<E\\n1\\n2\\nE\\n' >> "$GITHUB_OUTPUT"
        EXIT
b:
  needs: [a]
  runs-on: ubuntu-latest
  steps: [{run: "echo '${{ needs.a.outputs.text }}'"}]
c:
  needs: b
  runs-on: ubuntu-latest
  if: failure()
  steps: [{run: "echo ${{ needs.b.result }}"}]
d:
  needs: [b, c]
  runs-on: ubuntu-latest
  if: always() && needs.b.result != 'success'
  steps: [{run: "echo ${{ needs.b.result }} ${{ needs.c.result }}"}]
"""


def test_a_job_runs_after_those_that_it_needs_and_sees_their_outputs(do):
    result = do(jobs=NEEDS.replace("EXIT", "exit 0"))
    assert {name: job.result for name, job in result.jobs.items()} == {
        "a": "success",
        "b": "success",
        "c": "skipped",
        "d": "skipped",
    }
    assert log(result, 0, "b") == "1\n2"
    assert result.success


def test_a_job_that_fails_skips_those_that_need_it_but_for_those_that_say_otherwise(do):
    result = do(jobs=NEEDS.replace("EXIT", "exit 1"))
    assert [job.result for job in result.jobs.values()] == ["failure", "skipped", "success", "success"]
    assert log(result, 0, "c") == "skipped"
    assert log(result, 0, "d") == "skipped success"
    assert result.jobs["a"].outputs == {"text": "1\n2"}


MATRIX = """\
test:
  runs-on: ubuntu-latest
  strategy:
    fail-fast: FAST
    matrix: {python: ["3.10", "3.11"], size: [1, 2]}
  outputs: {last: "${{ matrix.python }}"}
  steps:
    - run: test "${{ matrix.python }}-${{ matrix.size }}" != 3.10-2
after:
  needs: test
  if: always()
  runs-on: ubuntu-latest
  steps: [{run: "echo ${{ needs.test.result }} ${{ needs.test.outputs.last }}"}]
"""


def test_a_matrix_runs_its_job_for_each_combination(do):
    result = do(jobs=MATRIX.replace("FAST", "false"))
    assert {name: job.result for name, job in result.jobs.items()} == {
        "test (3.10, 1)": "success",
        "test (3.10, 2)": "failure",
        "test (3.11, 1)": "success",
        "test (3.11, 2)": "success",
        "after": "success",
    }
    assert log(result, 0, "after") == "failure 3.11"


def test_a_matrix_that_fails_fast_cancels_the_rest(do):
    result = do(jobs=MATRIX.replace("FAST", "true"))
    results = [job.result for job in result.jobs.values()]
    assert results == ["success", "failure", "cancelled", "cancelled", "success"]


def test_a_step_out_of_time_fails(do):
    steps = '- run: trap "" INT TERM; sleep 600\n  timeout-minutes: 3\n- if: failure()\n  run: echo failed\n'
    result = do(steps, minute=0.1)
    assert outcomes(result) == ["failure", "success"]
    assert log(result) == "##[error]The step has timed out, or its job has"


def test_a_job_out_of_time_is_cancelled(do):
    steps = """\
- run: sleep 600
- run: echo never
- if: failure()
  run: echo never
- if: cancelled()
  run: echo cancelled
"""
    result = do(jobs=job(steps, "  timeout-minutes: 3\n"), minute=0.1)
    assert outcomes(result) == ["cancelled", "skipped", "skipped", "success"]
    assert (result.success, result.jobs["work"].result) == (False, "cancelled")


# ---- events


def test_inputs_have_their_types_and_the_event_holds_texts(do):
    steps = """\
- run: echo "${{ inputs.why }} ${{ inputs.force == false }} ${{ github.event.inputs.force == 'false' }}"
"""
    assert log(do(steps, Event("workflow_dispatch", inputs={"why": "drift"}))) == "drift true true"
    assert log(do(steps, Event("push"))) == " true false"  # null, which is as good as false
    with pytest.raises(WorkflowError, match=r"w\.yml: inputs: why: it is required"):
        do(steps, Event("workflow_dispatch"))


def test_a_schedule_is_known_by_its_cron(do):
    steps = "- run: echo '${{ github.event.schedule }}' $(cat $GITHUB_EVENT_PATH)\n"
    assert log(do(steps, Event("schedule"))) == '0 5 * * * {"schedule": "0 5 * * *"}'
    monday = Event("schedule", payload={"schedule": "0 6 * * 1"})
    assert log(do(steps, monday)).startswith("0 6 * * 1")


@pytest.mark.parametrize("event", [Event("release"), Event("schedule", payload={"schedule": "1 1 * * *"})])
def test_an_event_that_does_not_start_it_is_refused(do, event):
    with pytest.raises(WorkflowError, match=f"this event '{event.name}' does not start it"):
        do("- run: echo\n", event)


def test_runs_are_numbered(do):
    steps = '- run: echo "$GITHUB_RUN_ID $GITHUB_RUN_NUMBER $GITHUB_RUN_ATTEMPT $GITHUB_WORKFLOW"\n'
    assert log(do(steps)) == "1 1 1 .github/workflows/w.yml"
    assert log(do(steps, head="name: Other\n" + HEAD)) == "2 1 1 Other"
    assert log(do(steps)) == "3 2 1 .github/workflows/w.yml"


def test_what_is_not_modelled_runs_nothing(do, tmp_path):
    with pytest.raises(WorkflowError, match="step 2"):
        do(f"- run: touch {tmp_path}/here\n- run: echo ${{{{ job.status }}}}\n")
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
    do(
        "- run: echo one; echo two\n- name: Last\n  run: echo ${{ secrets.TOKEN }}\n",
        watch=lambda *it: seen.append(it),
    )
    assert seen == [
        ("work", "Run echo one; echo two", None),
        ("work", "Run echo one; echo two", "one"),
        ("work", "Run echo one; echo two", "two"),
        ("work", "Last", None),
        ("work", "Last", "***"),
    ]


class LostError(Exception):
    pass


def test_a_run_that_is_killed_leaves_no_process_behind(do, fifo, tmp_path):
    def lose(job, step, line):
        if line == "there":
            raise LostError

    with pytest.raises(LostError):
        do(
            f"""\
- run: |
    exec 3> {tmp_path}/fifo
    sleep 600 &
    setsid sleep 600 &
    echo there
    wait
- if: always()
  run: touch {tmp_path}/never
""",
            watch=lose,
        )
    assert nobody_holds(fifo)
    assert not (tmp_path / "never").exists()


def test_what_a_job_leaves_running_serves_its_later_steps_and_ends_with_it(do, fifo, tmp_path):
    result = do(f"""\
- run: setsid sleep 600 > {tmp_path}/fifo & echo $! > pid
- run: kill -0 $(cat pid) && echo alive
""")
    assert log(result, 1) == "alive"
    assert nobody_holds(fifo)


def test_an_interrupt_ends_the_run(do):
    def interrupt(job, step, line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        do("- run: sleep 600\n", watch=interrupt)


# ---- actions/checkout


def test_every_action_of_the_catalogue_has_its_stand_in():
    assert ACTIONS.keys() == marketplace.RUN.keys()


def test_a_checkout_is_shallow_and_on_its_branch(do):
    result = do(CHECKOUT + "- run: git log --format=%s; git branch --all; cat text\n")
    assert log(result, 1).splitlines() == ["second", "* main", "  remotes/origin/main", "second"]


def test_a_checkout_of_depth_zero_has_all_history_branches_and_tags(do):
    steps = CHECKOUT + "  with: {fetch-depth: 0}\n- run: git log --format=%s; git branch --all; git tag\n"
    expected = ["second", "first", "* main", "  remotes/origin/main", "  remotes/origin/old", "v1"]
    assert log(do(steps), 1).splitlines() == expected


@pytest.mark.parametrize(
    ("ref", "branch", "text"),
    [
        ("old", "old", "first"),
        ("v1", "", "first"),
        ("refs/heads/main", "main", "second"),
        ("a commit", "", "first"),
    ],
)
def test_a_checkout_takes_a_branch_a_tag_or_a_commit(do, hub, ref, branch, text):
    if ref == "a commit":
        ref = runner(hub.origin)("git", "rev-parse", "old").stdout.strip()
    result = do(CHECKOUT + f"  with: {{ref: {ref}}}\n- run: git branch --show-current; cat text\n")
    assert log(result, 1).splitlines() == [*([branch] if branch else []), text]


def test_a_checkout_is_at_the_commit_of_the_event_and_with_ref_at_the_tip(do, hub):
    sha = runner(hub.origin)("git", "rev-parse", "old").stdout.strip()
    steps = CHECKOUT + "- run: cat text\n" + CHECKOUT + "  with: {ref: main}\n- run: cat text\n"
    result = do(steps, Event("push", sha=sha))
    assert (log(result, 1), log(result, 3)) == ("first", "second")


def test_a_checkout_of_a_ref_that_is_not_there_fails_the_step(do):
    result = do(CHECKOUT + "  with: {ref: none}\n")
    assert log(result) == "##[error]A branch or tag with the name 'none' could not be found"


def test_a_checkout_empties_the_workspace(do):
    result = do(
        "- run: touch kept\n"
        + CHECKOUT
        + "- run: ls; touch new; echo x > text\n"
        + CHECKOUT
        + "- run: ls; cat text\n"
    )
    assert log(result, 2) == "text"
    assert log(result, 4) == "text\nsecond"


PUSHED = """\
- run: |
    git config user.name me
    git config user.email me@example.com
    git commit --quiet --allow-empty --message third
    git push --quiet origin HEAD:refs/heads/new
"""


def test_a_push_arrives_where_the_job_may_write(do, hub):
    assert do(CHECKOUT + PUSHED).success
    assert runner(hub.origin)("git", "log", "-1", "--format=%s", "new").stdout == "third\n"


@pytest.mark.parametrize(
    ("head", "with_"),
    [
        (HEAD.replace("contents: write", "contents: read"), ""),
        (HEAD.replace("permissions: {contents: write, pull-requests: write}\n", ""), ""),
        (HEAD, "  with: {persist-credentials: false}\n"),
    ],
)
def test_a_push_is_refused_without_permission_or_credentials(do, hub, head, with_):
    result = do(CHECKOUT + with_ + PUSHED, head=head)
    assert "Permission to owner/name denied" in log(result, 1)
    assert runner(hub.origin)("git", "branch", "--list", "new").stdout == ""


def test_a_checkout_needs_its_permission(do):
    result = do(CHECKOUT, head=HEAD.replace("contents: write, ", ""))
    assert "repository 'owner/name' not found" in log(result)


def test_a_commit_needs_a_name(do):
    result = do(CHECKOUT + "- run: git commit --quiet --allow-empty --message third\n")
    assert "Author identity unknown" in log(result, 1)


# ---- actions/setup-python


def test_python_is_set_up_where_it_can_be(do):
    steps = f"- id: a\n  uses: actions/setup-python{PIN}\n  with: {{python-version: '3.11'}}\n"
    result = do(steps + "- run: echo ${{ steps.a.outputs.python-version }}\n")
    assert log(result, 1) == "3.11"
    with pytest.raises(WorkflowError, match=r"with: python-version: '3\.1' is not modelled"):
        do(steps.replace("'3.11'", "'${{ 3.10 }}'"))


def test_a_cache_of_pip_needs_its_files(do):
    cached = f"- uses: actions/setup-python{PIN}\n  with: {{python-version: '3.11', cache: pip"
    assert "matched to [**/requirements.txt or **/pyproject.toml]" in log(do(cached + "}\n"))
    assert outcomes(do(CHECKOUT + cached + ", cache-dependency-path: text}\n")) == ["success"] * 2


# ---- actions/cache


def cached(key, restore="", path="kept"):
    inputs = {"path": path, "key": key, "restore-keys": restore}
    return f"- id: cache\n  uses: actions/cache{PIN}\n  with: {json.dumps(inputs)}\n"


KEEP = '- run: mkdir -p kept; echo "$GITHUB_RUN_ID" > kept/number\n'
SHOW = "- run: echo '[${{ steps.cache.outputs.cache-hit }}]' $(cat kept/number 2> /dev/null)\n"


def test_a_cache_is_restored_by_its_key_and_not_made_again(do, hub):
    assert log(do(cached("a-1") + SHOW + KEEP), 1) == "[]"
    result = do(cached("a-1") + SHOW + KEEP)
    assert log(result, 1) == "[true] 1"
    assert [step.name for step in result.jobs["work"].steps][-1].startswith("Run mkdir")
    assert len(list(hub.caches.glob("*.tar"))) == 1


def test_a_cache_is_restored_by_a_prefix_the_newest_first(do):
    for key in ("a-1", "a-2", "b-1"):
        do(cached(key) + KEEP)
    unkept = SHOW + '- run: "false"\n'
    assert log(do(cached("a-3", "b-\na-") + unkept), 1) == "[false] 3"
    assert log(do(cached("c", "a-") + unkept), 1) == "[false] 2"
    assert log(do(cached("a-") + unkept), 1) == "[false] 2"  # also of the key itself
    assert log(do(cached("c", "x") + unkept), 1) == "[]"


def test_a_job_that_fails_keeps_no_cache(do, hub):
    do(cached("a") + KEEP + '- run: "false"\n')
    assert not hub.caches.exists()


def test_an_evicted_cache_is_gone(do, hub):
    do(cached("a") + KEEP)
    for path in hub.caches.iterdir():
        path.unlink()
    assert log(do(cached("a") + SHOW), 1) == "[]"


def test_a_cache_is_of_its_paths_wherever_the_machine_lies(do):
    paths = "~/.cache/x\nkept\n${{ runner.temp }}/y"
    keep = "- run: mkdir -p ~/.cache/x kept $RUNNER_TEMP/y; touch ~/.cache/x/1 kept/2 $RUNNER_TEMP/y/3\n"
    do(cached("a", path=paths) + keep)
    result = do(cached("a", path=paths) + "- run: ls ~/.cache/x kept $RUNNER_TEMP/y\n")
    assert {line for line in log(result, 1).splitlines() if line.isdecimal()} == {"1", "2", "3"}
    assert log(do(cached("a") + SHOW), 1) == "[]"  # other paths


def test_a_branch_sees_its_own_caches_and_those_of_the_default_branch(do):
    do(cached("main") + KEEP)
    old = Event("push", ref="refs/heads/old")
    do(cached("old") + KEEP, old)
    assert log(do(cached("old") + SHOW), 1) == "[]"
    assert log(do(cached("main") + SHOW, old), 1) == "[true] 1"


def test_a_cache_of_nothing_is_not_made(do, hub):
    result = do(cached("a"))
    assert "no cache is being saved" in log(result, 1)
    assert not hub.caches.exists()


def test_a_cache_of_this_machine_is_refused(do):
    with pytest.raises(WorkflowError, match="path: '/etc' is neither in the workspace"):
        do(cached("a", path="/etc"))


def test_files_are_hashed_by_their_bytes(do):
    hashes = "- run: echo ${{ hashFiles('HASHED') }}\n"
    first = log(do("- run: mkdir a; echo 1 > a/x; echo 2 > y\n" + hashes.replace("HASHED", "**/x', 'y")), 1)
    again = log(do("- run: mkdir a; echo 1 > a/x; echo 2 > y\n" + hashes.replace("HASHED", "a', 'y")), 1)
    other = log(do("- run: mkdir a; echo 2 > a/x; echo 2 > y\n" + hashes.replace("HASHED", "a/*', 'y")), 1)
    assert len(first) == 64
    assert first == again != other
    assert log(do(hashes.replace("HASHED", "none"))) == ""


# ---- actions/upload-artifact


def uploaded(path, **inputs):
    inputs = {"name": "out", "path": path, **inputs}
    return f"- uses: actions/upload-artifact{PIN}\n  with: {json.dumps(inputs)}\n"


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


MAKE = "- run: mkdir -p a/b a/.c; touch a/1 a/b/2 a/b/.3 a/.c/4 d\n"


@pytest.mark.parametrize(
    ("path", "files"),
    [("a", ["1", "b/2"]), ("a/b/2", ["2"]), ("a/b\nd", ["a/b/2", "d"]), ("a\na/b/2", ["1", "b/2"])],
)
def test_an_artifact_has_the_files_below_what_its_paths_share_and_none_that_is_hidden(do, hub, path, files):
    result = do(MAKE + uploaded(path))
    assert names(hub.artifact(result.run_id, "out")) == files
    url = "https://github.com/owner/name/actions/runs/1/artifacts/1"
    assert result.jobs["work"].steps[1].outputs == {"artifact-url": url}


def test_an_artifact_of_nothing_fails_only_where_it_shall(do):
    assert outcomes(do(uploaded("none"))) == ["success"]
    assert outcomes(do(MAKE + uploaded("a/.c", **{"if-no-files-found": "error"}))) == ["success", "failure"]


def test_an_artifact_is_not_written_twice_in_a_run(do):
    result = do(MAKE + uploaded("a") + uploaded("d"))
    assert "(409) Conflict" in log(result, 2)


# ---- gh


def test_gh_is_there_with_the_permissions_of_the_job(do, hub):
    steps = """\
- env: {GH_TOKEN: "${{ github.token }}"}
  run: |
    echo body > body
    gh pr create --title Title --body-file body --head new --base main
    gh issue create --title Title --body-file body || echo "refused: $?"
- run: gh pr list --head new --state open --json number || echo "refused $?"
"""
    result = do(CHECKOUT + PUSHED + steps)
    assert "https://github.com/owner/name/pull/1" in log(result, 2)
    assert "Resource not accessible by integration (createIssue)\nrefused: 1" in log(result, 2)
    assert "set the GH_TOKEN environment variable" in log(result, 3)
    assert [pull["head"] for pull in gh.read(hub.record).pull_requests] == ["new"]


def test_a_call_of_gh_that_is_not_modelled_is_refused_even_if_the_step_goes_on(do):
    steps = '- env: {GH_TOKEN: "${{ github.token }}"}\n  run: gh pr merge 1 || true\n'
    with pytest.raises(WorkflowError, match=r"step 1 .*: gh pr merge is not modelled"):
        do(steps)
