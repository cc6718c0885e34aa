"""The committed pages of docs/reference are what the generator writes, and the site builds."""

import subprocess
import sys

import pytest

from docs import generate_reference
from tests.harness.small_project import ROOT

IMPORTS_LITTLE = {"stages.md", "errors.md"}  # the other pages import every library
PAGES = [
    pytest.param(name, marks=() if name in IMPORTS_LITTLE else pytest.mark.slow)
    for name in generate_reference.PAGES
]


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="argparse words its help differently")
@pytest.mark.parametrize("name", PAGES)
def test_reference_page_is_current(name):
    committed = (generate_reference.REFERENCE / name).read_text(encoding="utf-8")
    assert committed == f"{generate_reference.PAGES[name]()}\n", "run `make docs` and commit"


@pytest.mark.slow
def test_docs_build_without_a_warning(tmp_path):
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*build, str(ROOT / "docs"), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
