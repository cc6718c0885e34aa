"""Data Docs show what was checked and found, without a network."""

import re
import time
from pathlib import Path

import pytest

from pipeline.validation.data_docs import write_data_docs
from pipeline.validation.expectations import EXPECTATIONS, STEPS
from pipeline.validation.runner import run_suite
from tests.harness.message_tables import COPIES, STRICT, budgets, good, strict

NO_TEXT_COLUMN = good().drop(columns="text").astype({"row": "float64"})
WARNED = {"warnings": ["row_count_is_within_bounds"], "row_count": (1, 2)}


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    monkeypatch.undo()
    time.tzset()


def pages(messages, params=STRICT, folder="docs"):
    """The content of each page, by its name."""
    write_data_docs(Path(folder), STEPS, run_suite(messages, params).results)
    return {page.name: page.read_text(encoding="utf-8") for page in sorted(Path(folder).iterdir())}


def links(page):
    """The pages that a page links to."""
    return set(re.findall(r'href="([^"#]*)[^"]*"', page))


def rows(page):
    """The text of each row of a page's tables, with icons as their CSS classes."""
    page = re.sub(r'<i class="([^"]*)"\s*></i>', r"\1", page)
    cells = (re.findall(r"<td.*?</td>", row, re.DOTALL) for row in page.split("<tr>"))
    return [
        [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in row] for row in cells if row
    ]


def test_the_index_lists_each_step_with_its_result():
    found = pages(good(label={7: "junk"}, text=COPIES), strict(spam_share=(0.0, 0.1), **WARNED))
    index = found["index.html"]
    assert "Stopped by rows, copies, table." in index
    assert [row[:3] for row in rows(index)] == [
        ["fa-check-circle text-success", "schema", "9 of 9"],
        ["fa-check-circle text-success", "text", "8 of 8"],
        ["fa-times text-danger", "rows", "4 of 5"],
        ["fa-times text-danger", "copies", "2 of 3"],
        ["fa-times text-danger", "table", "2 of 4"],
    ]
    claim = "label is known, for at least 100.0 % of the rows"
    broken = "1 of 40 rows break an expectation"
    assert rows(index)[2][3] == f"{STEPS['rows']} {claim} {broken}"
    breaches = f"{claim} 1 unexpected values found. 2.5% of 40 total rows."
    assert ["fas fa-times text-danger", breaches, "2.5% unexpected"] in rows(found["rows.html"])


def test_broken_expectation_leads_to_its_rows():
    found = pages(good(label=dict.fromkeys(range(3, 28), "junk")))
    assert '<a href="rows.html#rows">25 of 40 rows break an expectation</a>' in found["index.html"]
    assert '<h2 id="rows">25 of 40 rows break an expectation</h2>' in found["rows.html"]
    numbers = f"{', '.join(map(str, range(2, 22)))} and more"
    claim = "label is known, for at least 100.0 % of the rows"
    assert ["25", claim, numbers] in rows(found["rows.html"])
    assert "python -m pipeline review" in found["rows.html"]
    assert 'id="rows"' not in found["text.html"]


def test_a_step_that_did_not_run_has_no_page():
    found = pages(NO_TEXT_COLUMN)
    assert list(found) == ["index.html", "schema.html"]
    not_run = [["", step, "not run"] for step in ("text", "rows", "copies", "table")]
    assert [row[:3] for row in rows(found["index.html"])][1:] == not_run
    assert "raised an exception" in found["schema.html"]
    assert "Traceback" not in found["schema.html"]
    assert "site-packages" not in found["schema.html"]


def test_a_warning_has_its_own_icon_if_nothing_stops():
    index = pages(good(), strict(**WARNED))["index.html"]
    assert "All steps passed, with warnings in table." in index
    assert rows(index)[4][:3] == ["fa-exclamation-triangle text-warning", "table", "3 of 4"]
    assert '<strong class="text-warning">row count is within bounds, 1 to 2</strong>' in index


@pytest.mark.parametrize("messages", [good(label={7: "junk"}), NO_TEXT_COLUMN])
def test_pages_are_equal_and_link_only_to_each_other(messages, monkeypatch):
    found = pages(messages, folder="one")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    assert pages(messages, folder="Überprüfte Daten/data docs") == found
    for page in found.values():
        assert not re.search(r"http|//|<script|<link|<img|@import|url\(|\ssrc=", page)
        assert links(page) <= set(found)
    assert links(found["index.html"]) == set(found) - {"index.html"}


def test_pages_have_every_claim_and_no_message_or_path(tmp_path):
    text = "<script>alert('caf\ufffd')</script>"
    found = pages(good(text={7: text}), budgets(text_decodes=0.1))
    claim = "text decodes, for at least 90.0 % of the rows"
    decodes = ["fas fa-check-circle text-success", claim, "2.5% unexpected"]
    assert decodes in rows(found["text.html"])
    everything = "\n".join(found.values())
    assert not [name for name in EXPECTATIONS if name.replace("_", " ") not in everything]
    assert "text length is within bounds, 2 to 80, for at least 100.0 % of the rows" in everything
    assert "All steps passed." in found["index.html"]
    figures = [(claim.partition(" is ")[0], value) for _, claim, value in rows(found["table.html"])]
    assert {("row count", "39"), ("median length", "25")} <= set(figures)
    assert "alert(" not in everything
    assert str(tmp_path) not in everything
