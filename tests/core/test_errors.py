"""pipeline/core/errors.py"""

import errno
import os

import pytest

from pipeline.core.errors import PipelineError, convert_os_errors, join_column_names

REMEDIES = {
    "free space": [errno.ENOSPC, errno.EDQUOT],
    "give permission": [errno.EROFS, errno.EACCES, errno.EPERM],
    "move it out of the way": [errno.EISDIR, errno.EEXIST],
    "move what is in the way": [errno.ENOTDIR],
    "raise `ulimit -n`": [errno.EMFILE],
    "check the disk": [errno.EIO],
}


def converted(error):
    """The message of the PipelineError that this error becomes."""
    with pytest.raises(PipelineError) as raised, convert_os_errors("models"):
        raise error
    return str(raised.value)


def test_column_names_hide_what_may_be_a_message():
    names = ["text", "sent_at", "größe-2", "see you later", "a,b", "x" * 41, "", 7]
    assert join_column_names(names) == "text, sent_at, größe-2, …, …, …, …, 7"


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
