"""A mutant is a module without one of its checks; nothing else of it changes."""

import ast

import pytest

from tests.harness.mutants import Mutant, mutants_of

SOURCE = """\
OS_ERROR_REMEDIES = {**OTHERS, "é": "free space", 2: (  # in two
    "lines")}
OTHER = {1: 2}
EXPECTATIONS: dict[str, int] = {"only": 1}

def read(path):
    try:
        if "é" in path: raise PipelineError(f"{path}: é; rename it")
    except (OSError, ValueError,
            KeyError) as error:
        def again():
            raise TypeError("x")
        raise PipelineError(
            f"{path}: {error}"
        ) from error
    except LookupError:
        raise
"""
EXCEPT = "(OSError, ValueError,\n            KeyError)"
EDITS = {  # check: (line, what is replaced, its replacement)
    "OS_ERROR_REMEDIES['é']": (1, '"é": "free space", ', ""),
    "OS_ERROR_REMEDIES[2]": (1, '2: (  # in two\n    "lines")', ""),
    "EXPECTATIONS['only']": (4, '"only": 1', ""),
    "PipelineError(f'{path}: é; rename it')": (
        8,
        'raise PipelineError(f"{path}: é; rename it")',
        "pass",
    ),
    "except KeyError": (9, EXCEPT, "(OSError, ValueError,)"),
    "except OSError": (9, EXCEPT, "(ValueError, KeyError,)"),
    "except ValueError": (9, EXCEPT, "(OSError, KeyError,)"),
    "TypeError('x')": (12, 'raise TypeError("x")', "pass"),
    "PipelineError(f'{path}: {error}')": (
        13,
        'raise PipelineError(\n            f"{path}: {error}"\n        ) from error',
        "raise",
    ),
}


def test_each_check_is_deleted_in_turn():
    assert [mutant.check for mutant in mutants_of("core/files", SOURCE)] == list(EDITS)


@pytest.mark.parametrize("check", EDITS)
def test_only_the_check_is_deleted(check):
    [mutant] = [found for found in mutants_of("core/files", SOURCE) if found.check == check]
    line, old, new = EDITS[check]
    assert SOURCE.count(old) == 1
    assert (mutant.line, mutant.source) == (line, SOURCE.replace(old, new))
    ast.parse(mutant.source)


@pytest.mark.parametrize(
    ("module", "tests"),
    [("core/files", "tests/core/test_files.py"), ("train", "tests/test_train.py")],
)
def test_own_tests_are_at_the_mirrored_path(module, tests):
    assert Mutant(module=module, line=1, check="", source="").own_tests == tests
