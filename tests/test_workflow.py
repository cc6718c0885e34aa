"""A workflow is modelled to its last key and expression, or refused with its file, job and step named."""

import pytest
from conftest import ROOT

from benchmarks.actions import Event, WorkflowError, check, starts
from benchmarks.actions.expressions import evaluate, fill, parse
from benchmarks.actions.workflow import chosen

OURS = ROOT / ".github/workflows"
WHOLE = (OURS / "retrain.yml").read_text(encoding="utf-8")


def test_the_workflows_of_this_project_are_modelled():
    assert list(check(OURS / "retrain.yml")["jobs"]) == ["retrain", "follow"]
    assert list(check(OURS / "ci.yml")["jobs"]) == ["lint", "test", "pipeline"]


ON, JOB = "on:\n", "    runs-on: ubuntu-24.04\n"
SCHEDULED = "github.event_name != 'push' && github.ref == 'refs/heads/main'"
STEP, SECRET = "      - run: make remote\n", "${{ secrets.AWS_ACCESS_KEY_ID }}"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("name: retrain\n", "run-name: a\n", "the key 'run-name' is not modelled; choose from name, on, "),
        ("name: retrain\n", "name: ${{ github.ref }}\n", "name: a plain str is needed, not '${{ github.ref"),
        (ON, f"{ON}  pull_request: {{types: [opened]}}\n", "on: pull_request: the key 'types' is not model"),
        ("[ledger.jsonl]", '["*.jsonl"]', "on: push: paths: 1: '*.jsonl' is not modelled; choose a name"),
        ("type: string", "type: choice", "reason: type: 'choice' is not modelled; choose from 'string', 'b"),
        ("branches: [main]", "branches: main", "on: push: branches: a list is needed, not 'main'"),
        ("permissions: {}\n", "", "the key 'permissions' is missing"),
        ("permissions: {}\n", "permissions: read-all\n", "permissions: a mapping is needed, not 'read-all'"),
        ("issues: write", "checks: read", "jobs: retrain: permissions: the key 'checks' is not modelled"),
        (SECRET, "3.10", "env: AWS_ACCESS_KEY_ID: a text is needed, not 3.1"),
        (SECRET, "${{ github.token }}", "ID: expression 'github.token': 'github.token' is not modelled here"),
        ("ubuntu-24.04", "windows-latest", "retrain: runs-on: 'windows-latest' is not modelled; choose from"),
        (JOB, f"{JOB}    needs: a\n", "jobs: retrain: the key 'needs' is not modelled"),
        (SCHEDULED, "always()", "if: expression 'always()': the function always is not"),
        (SCHEDULED, "${{ inputs.force }}", "retrain: if: a plain str is needed"),
        (STEP, "      - uses: actions/stale@a\n", "steps: 4: Run actions/stale@a: this action is not mod"),
        ("fetch-depth: 0", "ref: main", "with: the key 'ref' is not modelled; choose from fetch-depth, per"),
        ("fetch-depth: 0", "fetch-depth: 7", "fetch-depth: 7 is not modelled; choose from 0, 1"),
        ("          restore-keys: data-\n", "", "with: the key 'restore-keys' is missing"),
        (".dvc/kept", "../kept", "with: path: '../kept' is not modelled; choose a name without patterns"),
        (STEP, f"{STEP}        shell: sh\n", "steps: 4: Run make remote: the key 'shell' is not modelled"),
        ("$GITHUB_PATH", "$GITHUB_JOB", "run: the variable 'GITHUB_JOB' is not modelled"),
        ('"$REASON"', "${{ inputs.reason }}", "run: a plain str is needed, not"),
        ("inputs.reason ||", "github.actor_id ||", "env: REASON: expression 'github.actor_id || github.eve"),
        ("env.MLFLOW_TRACKING_URI !=", "secrets.A !=", "'secrets.A' is not modelled here; choose from git"),
        ("name: retrain\n", "name: !a retrain\n", "line 3: anchors, << and tags are not modelled; quote"),
        (ON, f"{ON}  <<: {{}}\n", "anchors, << and tags are not modelled"),
        (ON, f"name: again\n{ON}", "not YAML: "),
    ],
)  # fmt: skip
def test_what_is_not_modelled_is_named_with_its_place_on_one_line(tmp_path, old, new, problem):
    assert old in WHOLE
    (tmp_path / "w.yml").write_text(WHOLE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(WorkflowError) as refused:
        check(tmp_path / "w.yml")
    assert str(refused.value).startswith("w.yml: ")
    assert problem in str(refused.value)
    assert "\n" not in str(refused.value)


# ---- what starts it


@pytest.mark.parametrize(
    ("event", "changed", "answer"),
    [
        (Event("push"), ["README.md", "ledger.jsonl"], True),
        (Event("push"), ["README.md", "old/ledger.jsonl"], False),
        (Event("push"), [], False),
        (Event("push", ref="refs/heads/other"), ["ledger.jsonl"], False),
        (Event("schedule"), [], True),
        (Event("workflow_dispatch"), [], True),
        (Event("repository_dispatch", payload={"action": "retrain"}), [], True),
        (Event("repository_dispatch", payload={"action": "other"}), [], False),
        (Event("pull_request"), [], False),
    ],
)
def test_an_event_starts_what_asks_for_it(event, changed, answer):
    assert starts(OURS / "retrain.yml", event, changed) is answer


def test_inputs_are_what_a_person_chose_and_defaults_and_nothing_else():
    on = check(OURS / "retrain.yml")["on"]
    chose = Event("workflow_dispatch", inputs={"reason": "drift"})
    assert chosen(on, chose) == {"reason": "drift", "force": False}
    assert chosen(on, Event("schedule")) == {}
    with pytest.raises(WorkflowError, match="inputs: the key 'size' is not modelled; choose from reason, fo"):
        chosen(on, Event("workflow_dispatch", inputs={"size": "3"}))
    with pytest.raises(WorkflowError, match="inputs: force: a plain bool is needed, not 'yes'"):
        chosen(on, Event("workflow_dispatch", inputs={"force": "yes"}))


# ---- expressions

CONTEXTS = {
    "github": {"ref": "refs/heads/main", "event": {"client_payload": {"rows": 3}}},
    "inputs": {"force": True, "calm": False},
    "secrets": {"TOKEN": "s3cret"},
    "env": {"Name": "one", "number": "10"},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'It''s ' ", "It's "),
        ("github.ref", "refs/heads/main"),
        ("secrets.token", "s3cret"),  # names have no case
        ("env.Name", "one"),
        ("env.name", None),  # but for variables, on Linux
        ("github.event.none.at.all", None),
        ("'Main' == 'mAIN'", True),
        ("'a' != 'b'", True),
        ("env.none == ''", True),
        ("env.none == 'a'", False),
        ("'a' && 'b'", "b"),
        ("'' && 'b'", ""),
        ("'' || 'b'", "b"),
        ("'a' || 'b' && ''", "a"),
        ("'' && 'a' || 'b' && 'c'", "c"),
        ("'a' == 'b' || 'c' == 'c' && 'd'", "d"),
        ("inputs.force && 'yes' || ''", "yes"),
        ("inputs.calm && 'yes' || ''", ""),
    ],
)
def test_operators_and_names_mean_what_they_do_at_github(text, expected):
    assert evaluate(parse(text), CONTEXTS) == expected


def test_a_template_is_text_and_values():
    text = "${{ github.ref }}: ${{ inputs.force }}, ${{ inputs.calm }}, [${{ secrets.NONE }}]"
    assert fill(text, CONTEXTS) == "refs/heads/main: true, false, []"
    with pytest.raises(WorkflowError, match=r"an expression in '\$\{\{ github.ref' is not closed"):
        fill("${{ github.ref", CONTEXTS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("github.labels.*.name", r"\. is not modelled"),
        ("('a')", r"\( is not modelled"),
        ("1 == 1", "1 is not modelled"),
        ("'open", "' is not modelled"),
        ("success()", "the function success is not modelled"),
        ("'a' &&", "a value is missing, or too many are compared"),
        ("'a' == 'b' == 'c'", "too many are compared"),
        ("", "a value is missing"),
        ("github.event.client_payload.rows", "is neither a text nor true or false"),
        ("inputs.force == 'true'", "comparing True with 'true' is not modelled"),  # 1 and NaN at GitHub
        ("env.none != env.number", "comparing None with '10' is not modelled"),  # 0 and 10
    ],
)
def test_what_is_not_modelled_is_refused_as_it_is_parsed_or_meets_a_value(text, problem):
    with pytest.raises(WorkflowError, match=problem):
        evaluate(parse(text), CONTEXTS)
