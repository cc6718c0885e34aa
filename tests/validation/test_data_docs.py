"""Data Docs say what was asked and found, to anyone, without a network."""

import filecmp
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.validation import data_docs, expectations, runner
from pipeline.validation.expectations import EXPECTATIONS
from tests.harness.message_tables import FILES, SAME, STRICT, budgets, good, run
from tests.harness.small_project import stage_arguments

ROOT = Path(__file__).parents[2]
NO_TEXT_COLUMN = good().drop(columns="text").astype({"row": "float64"})


@pytest.fixture(autouse=True)
def _workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def pages(messages, params=STRICT, folder="docs"):
    """What is in each page on these messages, by its name."""
    data_docs.write(Path(folder), expectations.STEPS, runner.inspect(messages, params).results)
    return {page.name: page.read_text(encoding="utf-8") for page in sorted(Path(folder).iterdir())}


def rows(page):
    """What the rows of a page's tables say, icons as their classes."""
    page = re.sub(r'<i class="([^"]*)"\s*></i>', r"\1", page)
    cells = (re.findall(r"<td.*?</td>", row, re.DOTALL) for row in page.split("<tr>"))
    return [
        [" ".join(re.sub("<[^>]*>", " ", cell).split()) for cell in row] for row in cells if row
    ]


def same_files(left, right):
    names = sorted(path.relative_to(left) for path in left.rglob("*") if path.is_file())
    assert names == sorted(path.relative_to(right) for path in right.rglob("*") if path.is_file())
    return filecmp.cmpfiles(left, right, names, shallow=False)[0] == names


def test_the_index_lists_each_step_with_its_verdict():
    index = pages(good(label={7: "junk"}, text=SAME))["index.html"]
    assert "Stopped by rows, copies." in index
    assert [row[:3] for row in rows(index)] == [
        ["fa-check-circle text-success", "schema", "9 of 9"],
        ["fa-check-circle text-success", "text", "6 of 6"],
        ["fa-times text-danger", "rows", "4 of 5"],
        ["fa-times text-danger", "copies", "2 of 3"],
        ["fa-check-circle text-success", "table", "4 of 4"],
    ]
    assert (
        rows(index)[2][3]
        == f"{expectations.STEPS['rows']} label is known, for at least 100.0 % of the rows"
    )
    assert "Every step held." in pages(good())["index.html"]


def test_a_step_that_was_not_asked_says_so_and_has_no_page():
    pages(good())
    found = pages(NO_TEXT_COLUMN)
    assert list(found) == ["index.html", "schema.html"]
    assert [row[:3] for row in rows(found["index.html"])][1:] == [
        ["", suite, "not asked"] for suite in ("text", "rows", "copies", "table")
    ]


def test_a_steps_page_counts_what_breaks_an_expectation():
    page = pages(good(label={7: "junk"}))["rows.html"]
    assert [
        "fas fa-times text-danger",
        "label is known, for at least 100.0 % of the rows 1 unexpected values found. 2.5% of 40 total rows.",
        "2.5% unexpected",
    ] in rows(page)


def test_what_breaks_an_expectation_within_its_budget_is_counted_too():
    page = pages(good(label={7: "junk"}), budgets(label_is_known=0.1))["rows.html"]
    assert [
        "fas fa-check-circle text-success",
        "label is known, for at least 90.0 % of the rows",
        "2.5% unexpected",
    ] in rows(page)


def test_a_warning_is_a_triangle_and_stops_nothing():
    params = replace(STRICT, warnings=["row_count_is_within_bounds"], row_count=(1, 2))
    index = pages(good(), params)["index.html"]
    assert "Every step held, with a warning of table." in index
    assert rows(index)[4][:3] == ["fa-exclamation-triangle text-warning", "table", "3 of 4"]
    assert '<strong class="text-warning">row count is within bounds, 1 to 2</strong>' in index


def test_a_stop_is_worse_than_a_warning():
    params = replace(
        STRICT, warnings=["row_count_is_within_bounds"], row_count=(1, 2), spam_share=(0, 0.1)
    )
    index = pages(good(), params)["index.html"]
    assert "Stopped by table." in index
    assert rows(index)[4][0] == "fa-times text-danger"


def test_what_is_measured_of_the_table_is_a_number():
    found = [
        (claim.partition(" is ")[0], value) for _, claim, value in rows(pages(good())["table.html"])
    ]
    assert ("spam share", "0.25") in found
    assert ("median length", "25") in found


@pytest.mark.parametrize("messages", [good(), good(label={7: "junk"}), NO_TEXT_COLUMN])
def test_a_page_asks_for_nothing_but_its_neighbours(messages):
    found = pages(messages)
    for page in found.values():
        assert not re.search(r"http|//|<script|<link|<img|@import|url\(|\ssrc=", page)
        assert set(re.findall(r'href="([^"]*)"', page)) <= set(found)
    assert set(re.findall(r'href="([^"]*)"', found["index.html"])) == set(found) - {"index.html"}


def test_pages_hold_every_claim_and_no_message_and_no_path(tmp_path):
    found = pages(good(text={7: "<script>alert('caf\ufffd')</script>"}), budgets(text_decodes=0.1))
    whole = "\n".join(found.values())
    assert not [name for name in EXPECTATIONS if name.replace("_", " ") not in whole]
    assert "text length is within bounds, 2 to 80, for at least 100.0 % of the rows" in whole
    assert "alert(" not in whole
    assert str(tmp_path) not in whole


def test_an_expectation_that_could_not_be_computed_shows_its_error_without_a_traceback():
    page = pages(NO_TEXT_COLUMN)["schema.html"]
    assert "raised an exception" in page
    assert "Traceback" not in page
    assert "site-packages" not in page


def test_the_folder_may_have_any_name():
    assert "index.html" in pages(good(), folder="Überprüfte Daten/data docs")


@pytest.mark.parametrize("messages", [good(label={7: "junk"}), NO_TEXT_COLUMN])
def test_pages_of_equal_tables_are_equal(messages):
    assert pages(messages, folder="one") == pages(messages, folder="two")


@pytest.mark.slow
def test_pages_are_equal_in_another_process_time_zone_and_home_and_the_terminal_stays_quiet():
    run(good())
    for name, seed, zone in (("one", "1", "UTC"), ("two", "2", "Asia/Tokyo")):
        env = {
            "PYTHONPATH": str(ROOT),
            "PYTHONHASHSEED": seed,
            "TZ": zone,
            "PATH": os.environ["PATH"],
        }
        outputs = [f"{name}/{path}" for path in list(FILES.values())[2:]]
        command = [
            sys.executable,
            "-m",
            "pipeline.validate",
            *stage_arguments("validate", FILES["messages"], FILES["reviewed"], *outputs),
        ]
        ran = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        assert ran.stderr.splitlines()[0] == "validate: 40 of 40 rows hold"
        assert len(ran.stderr.splitlines()) == 2  # and the seconds
        assert ran.stdout == ""
    assert same_files(Path("one"), Path("two"))
