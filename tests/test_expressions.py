"""Expressions mean what GitHub's documentation says, and what is not modelled is refused as it is parsed."""

import math

import pytest

from benchmarks.actions.expressions import (
    OPEN,
    Operation,
    WorkflowError,
    check,
    condition,
    evaluate,
    fill,
    parse,
    template,
    to_number,
    to_text,
)

CONTEXTS = {
    "github": {"ref": "refs/heads/main", "event": {"inputs": {"why": "drift"}, "size": 3}},
    "inputs": {"force": False},
    "secrets": {"TOKEN": "s3cret"},
    "env": {"Name": "one"},
    "steps": {"a": {"outputs": {"rows": "10"}, "outcome": "failure"}},
}
FUNCTIONS = {"success": lambda: True, "failure": lambda: False, "hashFiles": lambda *names: "+".join(names)}
SHAPE = {
    "github": {"ref": None, "event": OPEN},
    "secrets": OPEN,
    "steps": {"a": {"outputs": OPEN, "outcome": None}},
}


def value(text):
    return evaluate(parse(text), CONTEXTS, FUNCTIONS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("null", None),
        ("true", True),
        ("711", 711.0),
        ("-9.2", -9.2),
        ("0xff", 255.0),
        ("-2.99e-2", -0.0299),
        ("'It''s open source!'", "It's open source!"),
        ("''", ""),
    ],
)
def test_literals_are_those_of_the_documentation(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'Main' == 'mAIN'", True),
        ("'a' != 'b'", True),
        ("null == ''", True),
        ("null == 0", True),
        ("false == ''", True),
        ("true == 1", True),
        ("true == '1'", True),
        ("true == 'true'", False),  # as 1 and NaN
        ("'10' == 10", True),
        ("' 0x1F ' == 31", True),
        ("'ten' == 10", False),
        ("'ten' < 10 || 'ten' > 10 || 'ten' >= 10", False),
        ("'b' > 'A'", True),
        ("2 < 10", True),
        ("'2' < '10'", False),  # as texts
        ("2 <= 2 && 2 >= 2", True),
        ("false < true", True),
        ("null < null", False),
    ],
)
def test_comparisons_are_loose_as_at_github(text, expected):
    assert value(text) is expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("'a' && 'b'", "b"),
        ("'' && 'b'", ""),
        ("0 || 'b'", "b"),
        ("'a' || 'b'", "a"),
        ("inputs.force && 'forced' || 'usual'", "usual"),
        ("!''", True),
        ("!!'a'", True),
        ("false || true && false", False),
        ("(false || true) && 'x'", "x"),
        ("1 == 1 == true", True),
        ("1 < 2 == true", True),
        ("!true == false", True),
    ],
)
def test_operators_bind_and_yield_operands_as_in_javascript(text, expected):
    assert value(text) == expected


def test_what_is_not_needed_is_not_evaluated():
    never = {"hashFiles": lambda name: pytest.fail("evaluated")}
    assert evaluate(parse("true || hashFiles('a')"), {}, never) is True
    assert evaluate(parse("null && hashFiles('a')"), {}, never) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("github.ref", "refs/heads/main"),
        ("github.event.inputs.why", "drift"),
        ("github.event.size", 3.0),
        ("steps.a.outputs.rows > 9", True),
        ("secrets.token", "s3cret"),  # names have no case
        ("env.Name", "one"),
        ("env.name", None),  # but for variables, on Linux
        ("secrets.NONE", None),
        ("github.event.a.b.c", None),
        ("steps.a.outputs.none == ''", True),
    ],
)
def test_a_name_that_is_not_there_is_null(text, expected):
    assert value(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("contains('Hello world', 'LLO')", True),
        ("contains('Hello', null)", True),
        ("contains('abc', 4)", False),
        ("startsWith('Hello world', 'he')", True),
        ("startsWith(github.ref, 'refs/tags/')", False),
        ("format('{{{0} {1}}} {0}', 'a', true)", "{a true} a"),
        ("format('{0}', 1.50)", "1.5"),
        ("hashFiles('a', 'b')", "a+b"),
        ("success() && !failure()", True),
    ],
)
def test_functions_do_what_the_documentation_says(text, expected):
    assert value(text) == expected


def test_a_format_without_its_value_is_refused():
    with pytest.raises(WorkflowError, match=r"format\('\{1\}'\) with 1 values"):
        value("format('{1}', 'a')")


def test_numbers_are_written_as_dotnet_does():
    assert [to_text(number) for number in (3.0, 0.1, 1e15, -0.5)] == ["3", "0.1", "1E+15", "-0.5"]
    assert to_text(None) == ""
    assert to_text(False) == "false"
    assert math.isnan(to_number("3 rows"))
    assert to_number("  ") == 0


# ---- templates and conditions


def test_a_template_is_text_and_values():
    parts = template("ref ${{ github.ref }}: ${{ format('}} {0}', 1) }}!")
    assert fill(parts, CONTEXTS, FUNCTIONS) == "ref refs/heads/main: } 1!"


def test_a_template_of_one_expression_keeps_its_type():
    assert fill(template("${{ inputs.force }}"), CONTEXTS, FUNCTIONS) is False
    assert fill(template("${{ inputs.force }} "), CONTEXTS, FUNCTIONS) == "false "


def test_an_object_has_no_value():
    with pytest.raises(WorkflowError, match=r"'github\.event' is an object"):
        value("github.event")


def test_a_condition_without_a_status_asks_for_success():
    assert isinstance(condition("github.ref"), Operation)
    failed = FUNCTIONS | {"success": lambda: False, "failure": lambda: True}
    assert evaluate(condition("github.ref == 'refs/heads/main'"), CONTEXTS, failed) is False
    assert evaluate(condition("failure() && true"), CONTEXTS, failed) is True
    assert evaluate(condition("${{ !success() }}"), CONTEXTS, failed) is True


def test_a_condition_of_several_expressions_is_always_true_and_refused():
    with pytest.raises(WorkflowError, match="always true"):
        condition("${{ false }} && ${{ false }}")
    with pytest.raises(WorkflowError, match="always true"):
        condition("success() && ${{ false }}")


# ---- what is refused


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("github.event.labels.*.name", r"'\.' is not modelled"),
        ("github['ref']", r"'\[' is not modelled"),
        ('"text"', "'\"' is not modelled"),
        ("a | b", r"'\|' is not modelled"),
        ("toJSON(github)", "the function 'toJSON' is not modelled; choose from always, "),
        ("fromJSON('1')", "the function 'fromJSON' is not modelled"),
        ("Success()", "the function 'Success' is not modelled"),
        ("contains('a')", r"contains\(\) with 1 arguments"),
        ("always(1)", r"always\(\) with 1 arguments"),
        ("format('a' 'b')", "',' is missing"),
        ("(true", r"'\)' is missing"),
        ("true true", "'true' is not expected there"),
        ("1 +", r"'\+' is not modelled"),
        ("true &&", "a value is missing before its end"),
        ("== 1", "a value is missing before =="),
        ("", "a value is missing before its end"),
        ("'open", "''' is not modelled"),
    ],
)
def test_what_is_not_modelled_is_not_parsed(text, problem):
    with pytest.raises(WorkflowError, match=problem):
        parse(text)


def test_an_expression_that_is_not_closed_is_refused():
    with pytest.raises(WorkflowError, match=r"expression 'github\.ref': it is not closed"):
        template("${{ github.ref")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("job.status", "'job' is not known here; choose from github, secrets, steps"),
        ("github.actor_id", r"'github\.actor_id' is not known here; choose from ref, event"),
        ("github.Ref", r"'github\.Ref' is not known here"),
        ("steps.b.outcome", r"'steps\.b' is not known here; choose from a"),
        ("steps.a.result", r"'steps\.a\.result' is not known here"),
        ("github.ref.name", r"'github\.ref\.name' is not known here; choose from nothing"),
        ("steps.a", r"'steps\.a' is an object"),
        ("secrets", "'secrets' is an object"),
        ("true && (false || !contains(job.id, 'a'))", r"'job' is not known here"),
        ("hashFiles('a')", "the function 'hashFiles' may not be used here"),
    ],
)
def test_what_is_not_known_at_a_place_is_not_used_there(text, problem):
    with pytest.raises(WorkflowError, match=problem):
        check(parse(text), SHAPE, functions=("success",))


def test_what_is_known_may_be_used():
    check(
        parse("github.event.any.thing || secrets.ANY || steps.a.outputs.any && success()"),
        SHAPE,
        ("success",),
    )
