"""A mutant is a module without one of its checks; nothing else of it changes."""

import ast

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
NEW_ERROR = 'raise PipelineError(f"{path}: é; rename it")'
CONVERTED = """raise PipelineError(
            f"{path}: {error}"
        ) from error"""
EXCEPT = "(OSError, ValueError,\n            KeyError)"
EDITS = {  # check: (line, what is replaced, its replacement)
    "OS_ERROR_REMEDIES['é']": (1, '"é": "free space", ', ""),
    "OS_ERROR_REMEDIES[2]": (1, '2: (  # in two\n    "lines")', ""),
    "EXPECTATIONS['only']": (4, '"only": 1', ""),
    "PipelineError(f'{path}: é; rename it')": (8, NEW_ERROR, "pass"),
    "except OSError": (9, EXCEPT, "(ValueError, KeyError,)"),
    "except ValueError": (9, EXCEPT, "(OSError, KeyError,)"),
    "except KeyError": (10, EXCEPT, "(OSError, ValueError,)"),
    "TypeError('x')": (12, 'raise TypeError("x")', "pass"),
    "PipelineError(f'{path}: {error}')": (13, CONVERTED, "raise"),
}


def test_each_check_is_deleted_and_nothing_else():
    mutants = list(mutants_of("core/files", SOURCE))
    assert {mutant.check for mutant in mutants} == set(EDITS)
    for mutant in mutants:
        line, old, new = EDITS[mutant.check]
        assert SOURCE.count(old) == 1
        assert mutant.line == line
        assert mutant.source == ast.unparse(ast.parse(SOURCE.replace(old, new)))


def test_own_tests_are_at_the_mirrored_path():
    paths = {"core/files": "tests/core/test_files.py", "train": "tests/test_train.py"}
    for module, tests in paths.items():
        assert Mutant(module=module, line=1, check="", source="").own_tests == tests
