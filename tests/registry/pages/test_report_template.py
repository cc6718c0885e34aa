"""The page in a browser: five answers at first sight, a slider by keyboard, any screen."""

import re

import pytest

from pipeline.core.reports import read_report
from pipeline.registry.pages.report import MarkedMistake, PrivatePart, write_decision_report
from pipeline.registry.pages.report_inputs import read_inputs
from tests.harness.browser import accessibility_faults, browser, chromium, overflow, watched
from tests.harness.small_project import ROOT

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium(), reason="no Chromium on PATH"),
]

QUESTIONS = [
    "Is the new model better?",
    "How sure are we?",
    "What does it miss?",
    "May I ship it?",
    "Where does it come from?",
]
PHONE = {"width": 360, "height": 740}  # pixels
LARGEST = 300_000  # bytes, as the page stands in Git


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of the reports in this repository."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        reports = ROOT / "reports"
        inputs = read_inputs(reports, read_report(reports / "register.json"), "a" * 64, "b" * 64)
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_decision_report(path, inputs)
    parts = [("free ", "spam"), ("www.example.com/" + "x" * 200, ""), (" lunch", "ham")]
    mistake = MarkedMistake("0" * 32, "ham", "sms", 0.98, wrong=True, parts=parts)
    write_decision_report(path.with_name("private.html"), inputs, PrivatePart([mistake]))
    return path


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture
def page(chrome, written):
    """The page, which fails the test if its console has a problem or it asks another machine."""
    page, problems = watched(chrome)
    page.goto(written.as_uri())
    yield page
    page.close()
    assert problems == []


def counts(page, row):
    """The cells of a row of costs, as numbers."""
    texts = page.get_by_role("row").filter(has_text=row).get_by_role("cell").all_inner_texts()
    return [int(text.replace(",", "")) for text in texts[1:]]


def test_page_is_small_enough_for_git(written):
    assert written.stat().st_size < LARGEST


def test_first_screen_answers_five_questions(page):
    assert page.locator("dl.answers dt").all_inner_texts() == QUESTIONS
    for card in page.locator("dl.answers > div").all():
        box = card.bounding_box()
        assert box["y"] + box["height"] <= 800  # pixels of the window
        assert len(card.locator(".answer").inner_text()) >= len("Yes.")


def test_arrow_keys_move_the_threshold(page):
    start = counts(page, "One threshold for all, of the test")
    threshold = page.locator("#threshold-value").inner_text()
    page.get_by_role("slider").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert page.locator("#threshold-value").inner_text() > threshold
    caught, missed, lost, kept = counts(page, "One threshold for all, of the test")
    assert caught + missed == start[0] + start[1]
    assert lost + kept == start[2] + start[3]
    assert missed > start[1]
    assert lost <= start[2]


def test_share_of_spam_changes_the_million_alone(page):
    on_test = counts(page, "One threshold for all, of the test")
    page.get_by_role("slider").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("10")
    caught, missed, lost, kept = counts(page, "per million of your messages")
    assert caught + missed == pytest.approx(100_000, rel=0.01)
    assert lost + kept == pytest.approx(900_000, rel=0.01)
    assert counts(page, "One threshold for all, of the test") == on_test


def test_without_a_script_the_costs_in_service_stand_there(chrome, written):
    context = chrome.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    assert sum(counts(page, "In service, of the test")) > 0
    assert not page.get_by_role("slider").is_visible()
    context.close()


def test_tables_are_opened_by_keyboard(page):
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    assert page.locator("details").first.get_by_role("table").is_visible()


def test_links_lead_to_their_sections(page):
    links = page.get_by_role("navigation").get_by_role("link")
    targets = [link.get_attribute("href") for link in links.all()]
    assert [page.locator(target).count() for target in targets] == [1] * len(targets)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["report.html", "private.html"])
def test_everybody_can_read_it(page, written, name, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto(written.with_name(name).as_uri())
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true })")
    assert accessibility_faults(page) == []
    page.set_viewport_size(PHONE)
    assert overflow(page) == 0


def test_dark_page_has_light_text_on_dark_ground(page):
    page.emulate_media(color_scheme="dark")
    style = "({color, backgroundColor}) => [color, backgroundColor]"
    colors = page.evaluate(f"({style})(getComputedStyle(document.body))")
    text, ground = (int(re.search(r"\d+", color)[0]) for color in colors)
    assert text > 128 > ground


def test_printed_page_shows_the_closed_tables(page):
    page.emulate_media(media="print")
    closed = page.locator("details:not([open])").first
    assert closed.locator("table").bounding_box()["height"] > 20
    assert not page.locator("form").is_visible()
