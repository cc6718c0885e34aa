"""The committed pages of docs/reference are what the generator writes; CI builds the site."""

import sys

import pytest

from docs import generate_reference

OF_3_11 = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="argparse and ast.unparse word their texts differently"
)
MARKS = {  # the pages that are slow import every library
    "params.md": [pytest.mark.slow],
    "commands.md": [pytest.mark.slow, OF_3_11],
    "reports.md": [pytest.mark.slow],
    "errors.md": [OF_3_11],
}
PAGES = [pytest.param(name, marks=MARKS.get(name, [])) for name in generate_reference.PAGES]


@pytest.mark.parametrize("name", PAGES)
def test_reference_page_is_current(name):
    committed = (generate_reference.REFERENCE / name).read_text(encoding="utf-8")
    assert committed == f"{generate_reference.PAGES[name]()}\n", "run `make docs` and commit"
