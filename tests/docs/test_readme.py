"""README keeps to its size, and everything that the pages name exists."""

import importlib.util
import re

import pytest

from pipeline.__main__ import COMMANDS
from pipeline.core.params import read_yaml
from tests.docs import console
from tests.harness.small_project import ROOT

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
PARAMS = read_yaml(ROOT / "params.yaml")
STAGES = read_yaml(ROOT / "dvc.yaml")["stages"]
MADE_BY_A_RUN = (
    *("data/ingested", "data/validated", "data/vectorized", "data/review", "data/docs", "models/"),
    *("data/inbox/", "docs/_build", "reports/"),
)
PAGES = [page for page in console.pages() if page.parent.name != "reference"]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def code_of(page) -> list[str]:
    """The lines of fenced blocks and the inline code of a page."""
    content = page.read_text(encoding="utf-8")
    fenced = "".join(text for _, text in console.FENCE.findall(content))
    return fenced.splitlines() + re.findall(r"`([^`\n]+)`", console.FENCE.sub("", content))


def lacks(key: str) -> bool:
    """Whether params.yaml has no such key."""
    value = PARAMS
    for part in key.split("."):
        if not isinstance(value, dict) or part not in value:
            return True
        value = value[part]
    return False


def test_readme_has_at_most_160_short_lines():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 160
    assert max(map(len, lines)) <= 200


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_commands_on_a_page_exist(page):
    text = "\n".join(code_of(page))
    assert set(re.findall(r"(?:^|&& |\s)make (?:PYTHON=\S+ )?([a-z-]+)", text)) <= TARGETS
    assert set(re.findall(r"python -m pipeline ([a-z-]+)", text)) <= set(COMMANDS)
    assert set(re.findall(r"python -m pipeline\.(\w+)", text)) <= set(STAGES)
    for module in re.findall(r"python -m ((?:benchmarks|docs|tests)[.\w]+)", text):
        assert importlib.util.find_spec(module), module


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_params_on_a_page_exist(page):
    file = re.compile(r"\.(py|json|yml|yaml|csv|html|db)$")
    keys = {
        key
        for code in code_of(page)
        for key in re.findall(rf"^(?:-S )?((?:{'|'.join(PARAMS)})\.[a-z_.]+)", code)
        if not file.search(key)
    }
    assert [key for key in sorted(keys) if lacks(key)] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_paths_on_a_page_exist(page):
    start = r"^(?:pipeline|tests|benchmarks|docs|data|reports|models|\.github|\.ci)/[\w./-]*$"
    paths = [code for code in code_of(page) if re.match(start, code)]
    absent = [path for path in paths if not (ROOT / path).exists()]
    assert [path for path in absent if not path.startswith(MADE_BY_A_RUN)] == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_registries_are_where_a_page_says(page):
    content = " ".join(page.read_text(encoding="utf-8").split())
    claims = re.findall(
        r"`([A-Z]{3,})` (?:in|\() ?(?:\[[\w.]+\]\()?`?(pipeline/[\w/]+\.py)", content
    )
    for name, path in claims:
        assert re.search(rf"^{name}\b.* = ", (ROOT / path).read_text(), re.MULTILINE), (name, path)


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_local_links_of_a_page_lead_somewhere(page):
    content = console.FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", content):
        path, _, anchor = target.partition("#")
        if "://" in target:
            continue
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if anchor:
            assert anchor in anchors(file), target


def anchors(page) -> set[str]:
    """The anchors that GitHub and Sphinx give the headings of a page."""
    content = console.FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", content, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_mermaid_diagram_names_every_stage():
    (diagram,) = console.blocks(ROOT / "README.md", "mermaid")
    assert all(stage in diagram for stage in STAGES)
