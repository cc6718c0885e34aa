"""The history shows each term of a champion, also those that a person began or ended."""

from dataclasses import replace

import pytest

from pipeline.registry.pages.champion_history import (
    duration_text,
    history_page,
    history_terms,
    main,
)
from tests.harness.browser import accessibility_faults, browser, chromium, overflow, watched
from tests.harness.ledger_entries import BACK, END, FIRST, SECOND, write_ledger


def test_newest_term_is_first_and_has_no_end():
    back, second, first = history_terms([FIRST, SECOND, BACK])
    assert (first.version, first.start, first.duration) == ("1", "2026-01-05 08:00", "28 days")
    assert (second.version, second.duration) == ("2", "25 hours")
    assert (back.version, back.duration) == ("1", "in service")


def test_what_a_person_decided_stands_out():
    forced = replace(SECOND, verdict="forced", reason="receipts")
    terms = history_terms([FIRST, forced, BACK])
    assert [term.by_a_person for term in terms] == [True, True, False]
    page = history_page([FIRST, forced, BACK])
    assert '<i class="text-warning">⚠ forced</i><br>receipts' in page
    assert '<i class="text-warning">⚠ rollback</i><br>loses ham' in page


def test_term_has_reason_actor_and_figures():
    (term,) = history_terms([FIRST])
    assert (term.reason, term.actor) == (FIRST.reason, "Ada")
    assert term.figures == ["F1 0.950 (0.920 to 0.970)"]


def test_after_the_end_there_is_no_champion():
    end, _, _ = history_terms([FIRST, SECOND, END])
    assert (end.version, end.model, end.duration, end.figures) == ("none", "", "until now", [])
    assert "There is no champion now, after 3 changes." in history_page([FIRST, SECOND, END])


def test_reason_is_escaped_and_without_secrets():
    page = history_page([replace(FIRST, reason="<b> https://h/x?token=secret")])
    assert "&lt;b&gt; https://h/x?token=***" in page


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ("2026-01-05T08:07:00+00:00", "7 minutes"),
        ("2026-01-05T14:00:00+01:00", "5 hours"),
        ("2026-01-17T08:00:00+00:00", "12 days"),
    ],
)
def test_duration_has_the_unit_that_fits(end, text):
    assert duration_text(FIRST.time, end) == text


def test_command_writes_the_page_of_the_ledger(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="pipeline")
    monkeypatch.chdir(tmp_path)
    write_ledger([FIRST, SECOND])
    main([])
    line = "Version 2 is the champion since 2026-02-02, after 2 changes."
    assert caplog.messages == [f"history: reports/history.html: {line}"]
    assert line in (tmp_path / "reports" / "history.html").read_text(encoding="utf-8")


def test_empty_ledger_is_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main(["--output", "champions.html"])
    page = (tmp_path / "champions.html").read_text(encoding="utf-8")
    assert "<p>No model has been promoted yet.</p>" in page
    assert "<table>" not in page


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.skipif(not chromium(), reason="no Chromium on PATH")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_read_by_everybody_on_a_phone(scheme, tmp_path):
    path = tmp_path / "history.html"
    path.write_text(history_page([FIRST, SECOND, BACK]), encoding="utf-8")
    with browser() as chrome:
        page, problems = watched(chrome)
        page.emulate_media(color_scheme=scheme)
        page.goto(path.as_uri())
        assert accessibility_faults(page) == []
        page.set_viewport_size({"width": 360, "height": 740})  # pixels
        assert overflow(page) == 0
        page.keyboard.press("Tab")  # a person without a mouse scrolls the table with arrow keys
        assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Champions"
        assert problems == []
