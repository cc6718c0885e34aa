"""One text is refused for the same reasons as in a table that Great Expectations checks."""

import great_expectations.expectations as gxe
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.registry.parity import HOSTILE_TEXTS
from pipeline.serving.labels import valid_unicode
from pipeline.validation import runner
from pipeline.validation.builders import fixed
from pipeline.validation.expectations import EXPECTATIONS, Expectation
from pipeline.validation.row_checks import RowChecks
from tests.harness.errors import error_of
from tests.harness.message_tables import STRICT

FRAGMENTS = [  # of texts that break an expectation, or nearly
    *("\ufffd", "cafÃ©", "â€", "\x92", "\x00", "\t", "\r\n", "\n", "\x7f", "\u200b", "\xa0", " "),
    *("Received: by", "Rece\u0131ved: by", "Me\u017fsage-ID:", "message-id: <1>\n", ">From me\n"),
    *("Subject: tea\n", "\u212aey: value\n", " folded\n", "x" * 79, "👍", "é", "ß", "\u0130: a\n"),
    "version https://git-lfs.github.com/spec/v1\n",
]
texts = st.none() | st.text() | st.lists(st.sampled_from(FRAGMENTS) | st.text()).map("".join)


def assert_agreement(messages):
    messages = [None if text is None else valid_unicode(text) for text in messages]
    one_by_one = [RowChecks(STRICT).reasons(text) for text in messages]
    assert one_by_one == runner.refusals(messages, STRICT).tolist()
    return one_by_one


@pytest.mark.slow
@settings(max_examples=15)
@given(st.lists(texts, min_size=1, max_size=200))
def test_generated_texts_are_refused_as_in_a_table(messages):
    assert_agreement(messages)


def test_hostile_texts_are_refused_as_in_a_table():
    one_by_one = assert_agreement([None, "", "fine", *HOSTILE_TEXTS, *FRAGMENTS, "\ud800" * 3])
    broken = {name for reasons in one_by_one for name in reasons.split(", ")}
    assert broken == {"", *(name for name in EXPECTATIONS if EXPECTATIONS[name].step == "text")}


def test_expectation_that_only_warns_refuses_nothing():
    params = STRICT.model_copy(update={"warnings": ["text_decodes"]})
    assert RowChecks(params).reasons("caf\ufffd") == ""
    assert RowChecks(STRICT).reasons("caf\ufffd") == "text_decodes"


def test_expectation_of_another_class_is_one_line(monkeypatch):
    build = fixed(gxe.ExpectColumnValuesToMatchRegex, column="text", regex="a")
    monkeypatch.setitem(EXPECTATIONS, "text_has_an_a", Expectation("text", build, 0.1))
    assert error_of(RowChecks, STRICT) == (
        "text_has_an_a: ExpectColumnValuesToMatchRegex cannot be checked for one text; "
        "add it to CHECKS in pipeline/validation/row_checks.py"
    )


def test_regex_that_only_python_reads_is_an_error_at_once(monkeypatch):
    build = fixed(gxe.ExpectColumnValuesToNotMatchRegex, column="text", regex="a(?=b)")
    monkeypatch.setitem(EXPECTATIONS, "text_has_no_ab", Expectation("text", build, 0.1))
    with pytest.raises(ValueError, match="invalid perl operator"):
        RowChecks(STRICT)
