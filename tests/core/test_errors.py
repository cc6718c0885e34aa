"""pipeline/core/errors.py"""

import errno
import os

import pytest

from pipeline.core.errors import (
    MAX_LINE,
    PipelineError,
    clean_line,
    convert_os_errors,
    join_column_names,
    redact_credentials,
)

REMEDIES = {
    "free space": [errno.ENOSPC, errno.EDQUOT],
    "give permission": [errno.EROFS, errno.EACCES, errno.EPERM],
    "move it out of the way": [errno.EISDIR, errno.EEXIST],
    "move what is in the way": [errno.ENOTDIR],
    "raise `ulimit -n`": [errno.EMFILE],
    "check the disk": [errno.EIO],
}


ADDRESSES = {
    "https://h/x?token=abc: no such file": "https://h/x?token=***: no such file",
    "see https://h/x?a=1&password=p, then go on": "see https://h/x?a=***&password=***, then go on",
    "s3://b/k?X-Amz-Credential=A%2Fb&X-Amz-Signature=0f": (
        "s3://b/k?X-Amz-Credential=***&X-Amz-Signature=***"
    ),
    "https://a.net/c?sv=2026&sig=a%3D; retry": "https://a.net/c?sv=***&sig=***; retry",
    "https://h/#access_token=abc": "https://h/#access_token=***",
    "GET '/x?token=abc' failed": "GET '/x?token=***' failed",
    "host=h password='a b' user=x": "host=h password=*** user=x",
    "pg://me:secret@db:5432/x": "pg://***@db:5432/x",
    "pg://me:a/b@db/x": "pg://***@db/x",
    "pg://me:a b@db/x": "pg://***@db/x",
    "pg://me:a@b/c@d@db/x": "pg://***@db/x",
    "pg://me@srv:a?b=c@db/x": "pg://***@db/x",
    "https://me@x.org@h/a": "https://***@h/a",
    "git+https://t0ken@h/a.git by me@x.org": "git+https://***@h/a.git by me@x.org",
    "'http://a:b@h/' and 'http://c:d@i:80/'": "'http://***@h/' and 'http://***@i:80/'",
}
PLAIN_ADDRESSES = [
    *("http://localhost:5000/ping failed", "sqlite:////a b/mlflow.db", "file:///a@b: missing"),
    *("https://h/a@2x.png", "me@x.org", "what? a = b", "C:\\a"),
]


def converted(error):
    """The message of the PipelineError that this error becomes."""
    with pytest.raises(PipelineError) as raised, convert_os_errors("models"):
        raise error
    return str(raised.value)


def test_column_names_are_shown_if_common_else_counted():
    assert join_column_names(["text", " Sent_at\t", "hunter2", "a,b", 7]) == (
        "text, Sent_at and 3 others"
    )
    assert join_column_names(["id", "hunter2"]) == "id and 1 other"
    assert join_column_names(["text", "text"]) == "text, text"
    assert join_column_names(["hunter2"]) == "1 column"
    assert join_column_names(["ham", "hunter2"]) == "2 columns"


# ---- text from outside


@pytest.mark.parametrize(("text", "redacted"), ADDRESSES.items())
def test_secrets_of_an_address_are_redacted(text, redacted):
    assert redact_credentials(text) == redact_credentials(redacted) == redacted
    assert str(PipelineError(f"source: {text}")) == f"source: {redacted}"


@pytest.mark.parametrize("text", PLAIN_ADDRESSES)
def test_text_without_secrets_stays(text):
    assert redact_credentials(text) == text


def test_line_has_escapes_for_what_a_terminal_would_not_show():
    text = "größe\n\r\t\x1b[31m\x85\u2028\u202e\udcff"
    escaped = r"größe\n\r\t\x1b[31m\x85\u2028\u202e\udcff"
    assert clean_line(text) == clean_line(escaped) == escaped


def test_long_line_keeps_its_start_and_its_end():
    line = clean_line(f"a.csv: {'x' * 10**6}; remove it")
    assert (len(line), line[:8], line[-11:]) == (MAX_LINE, "a.csv: x", "; remove it")
    assert clean_line(line) == line
    assert clean_line("x" * MAX_LINE) == "x" * MAX_LINE


def test_error_has_a_line_for_each_argument_whatever_is_in_them():
    error = PipelineError("a\nerror: forged", "b" * 400)
    first, second = str(error).splitlines()
    assert first == r"a\nerror: forged"
    assert (second[:8], len(second)) == ("error: b", MAX_LINE)


# ---- errors of the operating system


@pytest.mark.parametrize(("remedy", "numbers"), REMEDIES.items())
def test_os_error_names_place_problem_and_remedy(remedy, numbers):
    for number in numbers:
        end = f"{os.strerror(number)}; {remedy}, then run it again"
        assert converted(OSError(number, "text")) == f"models: {end}"
        temporary = OSError(number, "text", "models/.model.keras.77.tmp/a")
        assert converted(temporary) == f"models/model.keras/a: {end}"
        assert converted(OSError(number, "text", "from", None, "to")) == f"to: {end}"


def test_full_disk_is_recognized_in_other_error_types():
    for problem in ("No space left on device", "Disk quota exceeded", "Read-only file system"):
        error = RuntimeError(f"{{{{node SaveV2}}}} /tmp/x; {problem} [Op:SaveV2]")
        assert converted(error).startswith(f"models: {problem}; ")


def test_missing_temporary_directory_lists_the_candidates():
    problem = "No usable temporary directory found in ['/tmp', '/x']"
    remedy = "free space or give permission, then run it again"
    assert converted(FileNotFoundError(2, problem)) == f"{problem}; {remedy}"


def test_other_errors_are_unchanged():
    full = PipelineError("a: No space left on device; b")
    for error in (KeyError("x"), FileNotFoundError(2, "x"), full):
        with pytest.raises(type(error)) as raised, convert_os_errors("models"):
            raise error
        assert raised.value is error
