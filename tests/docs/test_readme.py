"""README keeps to its size, and everything that the pages name exists."""

import importlib.util
import re

import pandas as pd
import pytest

from pipeline.__main__ import COMMANDS
from pipeline.core.params import read_yaml
from tests.docs import console
from tests.harness.small_project import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PARAMS = pd.json_normalize(read_yaml(ROOT / "params.yaml")).columns  # dotted keys
SECTIONS = "|".join(read_yaml(ROOT / "params.yaml"))
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
MADE_BY_A_RUN = (
    *("data/ingested", "data/validated", "data/vectorized", "data/review", "data/docs", "models/"),
    *("data/inbox/", "data/collected/", "data/predictions", "docs/_build", "reports/"),
)
WRITTEN = [page for page in (ROOT / "docs").glob("**/*.md") if page.parent.name != "reference"]
PAGES = [ROOT / "README.md", *sorted(WRITTEN)]


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def page(request):
    """README and every page of docs that people write."""
    return request.param


def code_of(page) -> list[str]:
    """The lines of fenced blocks and the inline code of a page."""
    content = page.read_text(encoding="utf-8")
    fenced = "".join(text for _, text in console.FENCE.findall(content))
    return fenced.splitlines() + re.findall(r"`([^`\n]+)`", console.FENCE.sub("", content))


def test_readme_has_at_most_160_short_lines():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 160
    assert max(map(len, lines)) <= 200


def test_commands_on_a_page_exist(page):
    text = "\n".join(code_of(page))
    assert set(re.findall(r"(?:^|&& |\s)make (?:PYTHON=\S+ )?([a-z-]+)", text)) <= TARGETS
    assert set(re.findall(r"python -m pipeline ([a-z-]+)", text)) <= set(COMMANDS)
    assert set(re.findall(r"python -m pipeline\.(\w+)", text)) <= set(STAGES)
    for module in re.findall(r"python -m ((?:benchmarks|docs|tests)[.\w]+)", text):
        assert importlib.util.find_spec(module), module


def test_params_on_a_page_exist(page):
    key = rf"^(?:-S )?((?:{SECTIONS})\.[a-z_.]+)"
    keys = {found[1] for code in code_of(page) if (found := re.match(key, code))}
    file = re.compile(r"\.(py|json|yml|yaml|csv|html|db)$")
    known = [f"{name}." for name in PARAMS]
    absent = [key for key in keys if not any(name.startswith(f"{key}.") for name in known)]
    assert [key for key in absent if not file.search(key)] == []


def test_paths_on_a_page_exist(page):
    start = r"^(?:pipeline|tests|benchmarks|docs|data|reports|models|\.github|\.ci)/[\w./-]*$"
    paths = [code for code in code_of(page) if re.match(start, code)]
    absent = [path for path in paths if not (ROOT / path).exists()]
    assert [path for path in absent if not path.startswith(MADE_BY_A_RUN)] == []


def test_registries_are_where_a_page_says(page):
    content = " ".join(page.read_text(encoding="utf-8").split())
    claims = re.findall(
        r"`([A-Z]{3,})` (?:in|\() ?(?:\[[\w.]+\]\()?`?(pipeline/[\w/]+\.py)", content
    )
    for name, path in claims:
        assert re.search(rf"^{name}\b.* = ", (ROOT / path).read_text(), re.MULTILINE), (name, path)


def test_local_links_of_readme_lead_somewhere():
    """Sphinx checks those of the other pages."""
    links = re.findall(r"\]\(([^)\s]+)\)", (ROOT / "README.md").read_text(encoding="utf-8"))
    files = [link.partition("#")[0] for link in links if "://" not in link]
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_mermaid_diagram_names_every_stage():
    blocks = dict(console.FENCE.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert all(stage in blocks["mermaid"] for stage in STAGES)
