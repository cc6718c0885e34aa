"""A mutant is the module without one of its checks, and nothing else of it is touched."""

import ast

from tests.harness.mutants import bad_input_tests, mutants_of

SOURCE = """\
MACHINE = {**FULL, "é": "free space", 2: (  # in two
    "lines")}
OTHER = {1: 2}
EXPECTATIONS: dict[str, int] = {"only": 1}

def read(path):
    try:
        if "é" in path: raise PipelineError(f"{path}: é; mend it")
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


def test_each_check_goes_in_turn():
    mutants = mutants_of("stage", SOURCE)
    assert [(mutant.line, mutant.check) for mutant in mutants] == [
        (1, "MACHINE['é']"),
        (1, "MACHINE[2]"),
        (4, "EXPECTATIONS['only']"),
        (8, "PipelineError(f'{path}: é; mend it')"),
        (9, "except KeyError"),
        (9, "except OSError"),
        (9, "except ValueError"),
        (12, "TypeError('x')"),
        (13, "PipelineError(f'{path}: {error}')"),
    ]
    changed = [
        ('"é": "free space", ', ""),
        ('2: (  # in two\n    "lines")', ""),
        ('"only": 1', ""),
        ('raise PipelineError(f"{path}: é; mend it")', "pass"),
        ("(OSError, ValueError,\n            KeyError)", "(OSError, ValueError, )"),
        ("(OSError, ValueError,\n            KeyError)", "(ValueError, KeyError, )"),
        ("(OSError, ValueError,\n            KeyError)", "(OSError, KeyError, )"),
        ('raise TypeError("x")', "pass"),
        ('raise PipelineError(\n            f"{path}: {error}"\n        ) from error', "raise"),
    ]
    for mutant, (old, new) in zip(mutants, changed, strict=True):
        assert SOURCE.count(old) == 1
        assert mutant.source == SOURCE.replace(old, new)
        ast.parse(mutant.source)


def test_bad_input_is_tried_with_the_stages_that_use_the_module():
    assert bad_input_tests("decision") == ["tests/test_bad_input.py", "-k", "evaluate or score"]
    assert bad_input_tests("score") == ["tests/test_bad_input.py", "-k", "score"]
