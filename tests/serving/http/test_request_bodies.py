"""A body gives as many texts as it has records, or an error that names the problem."""

import json

import pytest

from pipeline.serving.http import request_bodies
from pipeline.serving.http.request_bodies import RequestError, messages_in

JSON, CSV = "application/json", "text/csv"


@pytest.mark.parametrize(
    ("body", "media_type", "texts"),
    [
        ('{"dataframe_records": [{"text": "a", "id": 7}, {"text": ""}]}', JSON, ["a", ""]),
        ('{"dataframe_split": {"columns": ["text"], "data": [["a"]]}}', JSON, ["a"]),
        ('{"dataframe_split": {"columns": ["n", "text"], "data": [[1, "a"]]}}', JSON, ["a"]),
        ('{"instances": [{"text": "a\\u0000"}, {"text": "b"}]}', JSON, ["a\0", "b"]),
        ('{"inputs": [{"text": "a"}]}', JSON, ["a"]),
        ('{"inputs": {"text": ["a", "b"]}}', JSON, ["a", "b"]),
        ('{"inputs": {"text": "a"}}', JSON, ["a"]),
        ('{"dataframe_records": []}', JSON, []),
        ('{"dataframe_records": [{"text": "a\\ud83d"}]}', JSON, ["a?"]),  # as `score` reads it
        ('text\nNA\n"win, now"\n""\n', CSV, ["NA", "win, now", ""]),
        ("\ufeffid,text\r\n007,a\r\n", CSV, ["a"]),
    ],
)
def test_each_record_gives_its_text(body, media_type, texts):
    assert messages_in(body.encode(), media_type)[:2] == (texts, [None] * len(texts))


@pytest.mark.parametrize(
    ("body", "media_type", "sources"),
    [
        ('{"instances": [{"text": "a", "source": "sms"}, {"text": "b"}]}', JSON, ["sms", None]),
        ('{"dataframe_split": {"columns": ["source", "text"], "data": [["x", "a"]]}}', JSON, ["x"]),
        ('{"inputs": {"text": ["a", "b"], "source": ["x", null]}}', JSON, ["x", None]),
        ('{"inputs": {"text": "a", "source": "x"}}', JSON, ["x"]),
        ("source,text\nsms,a\n,b\n", CSV, ["sms", ""]),
        ('{"inputs": [{"text": "a", "source": "x\\ud83d"}]}', JSON, ["x?"]),
    ],
)
def test_record_may_name_its_source(body, media_type, sources):
    assert messages_in(body.encode(), media_type)[1] == sources


def error_of(body, media_type=JSON):
    with pytest.raises(RequestError) as error:
        messages_in(body if isinstance(body, bytes) else body.encode(), media_type)
    return error.value.status_code, str(error.value)


OBJECT = f"the body must be an object with one key; {request_bodies.FORMS}"
FORM = f"the body is not in a known form; {request_bodies.FORMS}"
UNREADABLE = "the body cannot be read as JSON"
CSV_UNREADABLE = "the body cannot be read as CSV in UTF-8"
SPLIT = '{"dataframe_split": {"columns": ["text"], "data": [["a"], ["a", "b"]]}}'
QUOTES = "in CSV, put a text with a comma in quotation marks"
CELLS = f"row 1 does not have as many cells as there are columns (1); {QUOTES}"


@pytest.mark.parametrize(
    ("body", "media_type", "problem"),
    [
        ("hello", JSON, UNREADABLE),
        (b'{"instances": [{"text": "\xff"}]}', JSON, UNREADABLE),
        ("[" * 100_000, JSON, UNREADABLE),
        ('{"instances": [{"text": "a", "text": "b"}]}', JSON, UNREADABLE),
        ('{"inputs": ' + "1" * 5_000 + "}", JSON, UNREADABLE),
        ('{"instances": [{"text": "a"}, {"x": "b"}]}', JSON, "row 1 has no text"),
        ('{"dataframe_records": [{"text": "a"}, null]}', JSON, "row 1 has no text"),
        ('{"inputs": {"text": ["a", 5]}}', JSON, "text of row 1 is a int, not a string"),
        ('{"inputs": {"text": [["a"]]}}', JSON, "text of row 0 is a list, not a string"),
        (
            '{"inputs": [{"text": "a", "source": 5}]}',
            JSON,
            "source of row 0 is a int, not a string",
        ),
        (
            '{"inputs": {"text": ["a"], "source": "x"}}',
            JSON,
            "source has not one cell for each text",
        ),
        ("{}", JSON, OBJECT),
        ('["hello"]', JSON, OBJECT),
        ('{"instances": [{"text": "a"}], "inputs": [{"text": "b"}]}', JSON, OBJECT),
        ('{"instances": {"text": "a"}}', JSON, FORM),
        ('{"messages": [{"content": "hello"}]}', JSON, FORM),
        (SPLIT, JSON, CELLS),
        (SPLIT.replace('["text"]', '["text", "text"]'), JSON, "2 columns are named text; name one"),
        (SPLIT.replace('["text"]', '["body"]'), JSON, "0 columns are named text; name one"),
        ("text\na\nsee you at noon, call me\n", CSV, CELLS),
        ("text\na\n\n", CSV, CELLS),
        ('text\n"a', CSV, CSV_UNREADABLE),
        (b"text\n\xff\n", CSV, CSV_UNREADABLE),
        ("", CSV, CSV_UNREADABLE),
    ],
)
def test_body_without_a_text_for_each_record_is_refused(body, media_type, problem):
    assert error_of(body, media_type) == (400, problem)


def test_more_messages_than_the_limit_are_refused():
    records = [{"text": "a", f"key {n}": n} for n in range(request_bodies.MAX_MESSAGES + 1)]
    problem = "more than 2,000 messages; send fewer at a time"
    assert error_of(json.dumps({"dataframe_records": records})) == (413, problem)
    assert len(messages_in(json.dumps({"instances": records[1:]}).encode(), JSON)[0]) == 2_000
