"""pipeline/__main__.py"""

import pytest

from pipeline.__main__ import COMMANDS, main
from tests.harness.errors import error_of


@pytest.mark.parametrize("argv", [[], ["--help"]])
def test_every_command_is_listed(argv, capsys):
    main(argv)
    listed = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line[:1] == " "]
    assert listed == list(COMMANDS)


def test_unknown_command_is_one_line_with_the_choices():
    choices = ", ".join(COMMANDS)
    line = f"python -m pipeline: unknown command 'scroe'; choose from {choices}"
    assert error_of(main, ["scroe"]) == line
