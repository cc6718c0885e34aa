"""People review by keyboard alone, two at a time, on any screen, and nothing is lost."""

import json
import re
import signal

import pytest
from playwright.sync_api import expect

from pipeline.core.hashing import message_id
from pipeline.serving.http.feedback_store import REVIEWER_FOLDER
from pipeline.serving.review.decision_log import DECISION_LOG, read_decisions
from pipeline.serving.review.reviewed_file import REVIEWED_FILE
from pipeline.validation.reviewed import read_reviewed
from tests.harness.browser import accessibility_faults, browser, chromium, overflow, watched
from tests.harness.prediction_logs import write_log
from tests.harness.review_server import running_review
from tests.harness.review_tables import new_review_project, write_review_table

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium(), reason="no Chromium on PATH"),
]

COUNT = 210  # messages, more than the list loads at once
TEXTS = [f"message {number}" for number in range(COUNT)]
HOSTILE = "<img src=x onerror=alert(1)> \u202egnp call 0800 123 4567"


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture
def folder(tmp_path):
    new_review_project(tmp_path)
    write_review_table(tmp_path, "mistakes", [{"text": text} for text in TEXTS])
    return tmp_path


@pytest.fixture
def server(folder):
    with running_review(folder) as server:
        yield server


@pytest.fixture
def open_page(chrome):
    """Opens the page at an address for a reviewer; fails the test if a console has a problem."""
    pages, found = [], []

    def opened(address, reviewer=None, is_killed=False):
        page, problems = watched(chrome)
        pages.append(page)
        if not is_killed:
            found.append(problems)
        if reviewer:
            page.add_init_script(f"localStorage.setItem('review.reviewer', '{reviewer}')")
        page.goto(address)
        page.locator("#list [aria-current], #empty:visible").first.wait_for()
        return page

    yield opened
    for page in pages:
        page.close()
    assert [one for problems in found for one in problems] == []


def settle(page, text):
    """Waits until the page has said this."""
    page.locator("#status").filter(has_text=text).wait_for()


def feedback(folder):
    """Text and label of each saved row."""
    paths = sorted((folder / REVIEWER_FOLDER).glob("*.jsonl"))
    rows = [json.loads(line) for path in paths for line in path.open()]
    return {row["text"]: row["label"] for row in rows}


def decided(folder):
    """The decision that holds, by message."""
    standing = read_decisions(folder / DECISION_LOG)
    return {key: entries[-1].decision for key, entries in standing.items()}


def wait_until_open(page, number):
    """Waits until so many messages are left to decide."""
    page.get_by_role("button", name=f"Mistakes {number}", exact=True).wait_for()


def open_count(page):
    text = page.get_by_role("button", name=re.compile("^Mistakes ")).inner_text()
    return int(text.split()[-1])


def test_200_decisions_by_keyboard_alone_are_in_the_files(server, open_page, folder):
    page = open_page(server.address)
    labels = [("spam", "ham")[number % 3 == 0] for number in range(200)]
    page.keyboard.press(labels[0][0])
    page.get_by_role("dialog", name="Your name").wait_for()
    page.keyboard.type("Ana")
    page.keyboard.press("Enter")
    settle(page, "Saved: ham")
    for number, label in enumerate(labels[1:], 2):
        page.keyboard.press(label[0])
        if number % 50 == 0:
            wait_until_open(page, COUNT - number)
    ids = [message_id(text) for text in TEXTS[:200]]
    assert decided(folder) == dict(zip(ids, labels, strict=True))
    assert read_reviewed(folder / REVIEWED_FILE).released == set(ids)
    pairs = zip(TEXTS[:200], labels, strict=True)
    assert feedback(folder) == {text: label for text, label in pairs if label == "spam"}
    expect(page.locator("#who")).to_have_text("Ana")


def test_undo_takes_back_the_last_decision_and_an_earlier_one(server, open_page, folder):
    page = open_page(server.address, "Ana")
    for key in "sshu":
        page.keyboard.press(key)
    settle(page, "Undone")
    assert feedback(folder) == {TEXTS[0]: "spam", TEXTS[1]: "spam"}
    page.keyboard.press("ArrowUp")
    page.keyboard.press("k")
    page.keyboard.press("u")
    wait_until_open(page, COUNT - 1)
    assert feedback(folder) == {TEXTS[1]: "spam"}
    assert decided(folder) == {message_id(TEXTS[1]): "spam"}


def test_two_reviewers_see_who_decided_otherwise(server, open_page, folder):
    ana, bo = open_page(server.address, "Ana"), open_page(server.address, "Bo")
    for _ in range(4):
        ana.keyboard.press("s")
        bo.keyboard.press("s")
    ana.keyboard.press("s")
    wait_until_open(ana, COUNT - 5)
    bo.keyboard.press("h")
    settle(bo, "Saved: ham; Ana decided spam.")
    standing = read_decisions(folder / DECISION_LOG)
    assert [{one.reviewer for one in entries} for entries in standing.values()] == [
        {"Ana", "Bo"}
    ] * 5
    assert len(read_reviewed(folder / REVIEWED_FILE).released) == 5


def test_count_follows_the_decisions_of_another_reviewer(server, open_page):
    ana, bo = open_page(server.address, "Ana"), open_page(server.address, "Bo")
    for _ in range(3):
        bo.keyboard.press("s")
    wait_until_open(bo, COUNT - 3)
    for _ in range(4):
        ana.keyboard.press("s")
    wait_until_open(ana, COUNT - 4)


def test_kill_loses_no_saved_decision(folder, open_page):
    with running_review(folder) as server:
        page = open_page(server.address, "Ana", is_killed=True)
        for number in range(20):
            if number == 10:
                wait_until_open(page, COUNT - 10)
            page.keyboard.press("s")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait(60)
        page.close()
    with running_review(folder) as server:
        page = open_page(server.address, "Ana")
        saved = COUNT - open_count(page)
        assert saved >= 10
        for _ in range(20 - saved):
            page.keyboard.press("s")
        wait_until_open(page, COUNT - 20)
        page.close()
    assert feedback(folder) == dict.fromkeys(TEXTS[:20], "spam")
    assert set(decided(folder)) == {message_id(text) for text in TEXTS[:20]}


def test_private_parts_are_shown_by_key_and_hostile_text_is_text(server, open_page, folder):
    write_review_table(folder, "mistakes", [{"text": HOSTILE}])
    page = open_page(server.address, "Ana")
    text = page.locator("#text")
    expect(text).to_have_text("<img src=x onerror=alert(1)> ⟦U+202E⟧gnp call ⟦number⟧")
    page.keyboard.press("m")
    expect(text).to_contain_text("0800 123 4567")
    expect(text.locator("img")).to_have_count(0)


def test_search_and_help_are_reached_by_keys(server, open_page):
    page = open_page(server.address, "Ana")
    page.keyboard.press("/")
    page.keyboard.type("message 17")
    page.keyboard.press("Enter")
    page.locator("#text").filter(has_text="message 17").wait_for()
    expect(page.locator("#list button")).to_have_count(11)
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    page.keyboard.press("s")  # is for the page, not for the list of keys
    page.keyboard.press("Escape")
    assert open_count(page) == COUNT


def test_served_message_gets_a_label_and_is_not_banned(server, open_page, folder):
    rows = [{"text": "near", "confident": False}, {"text": "nearer", "confident": False}]
    write_log(folder / "data" / "predictions", rows)
    page = open_page(server.address, "Ana")
    page.get_by_role("button", name="Least confident 2").press("Enter")
    page.locator("#text").filter(has_text="near").wait_for()
    expect(page.get_by_role("button", name="Keep out")).to_be_hidden()
    page.keyboard.press("h")
    settle(page, "Saved: ham")
    assert feedback(folder) == {"near": "ham"}
    assert read_reviewed(folder / REVIEWED_FILE).released == set()


def test_page_says_that_there_is_no_model(server, open_page):
    page = open_page(server.address, "Ana")
    reasons = page.locator("#reasons")
    while "no champion" not in reasons.inner_text():
        page.keyboard.press("w")
        page.wait_for_timeout(500)
    assert reasons.inner_text().startswith("No reasons: ")


def test_empty_queue_says_what_fills_it(server, open_page):
    page = open_page(server.address, "Ana")
    page.get_by_role("button", name="Shadow disagrees 0").click()
    page.locator("#empty").filter(has_text="--shadow challenger").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_page_is_accessible_and_fits(scheme, width, server, open_page, folder):
    write_review_table(folder, "mistakes", [{"text": f"{HOSTILE} {'x' * 500}"}, {"text": "two"}])
    page = open_page(server.address, "Ana")
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.keyboard.press("s")
    settle(page, "Saved: spam")
    assert accessibility_faults(page) == []
    assert overflow(page) == 0
    page.keyboard.press("?")
    page.get_by_role("dialog", name="Keys").wait_for()
    assert accessibility_faults(page) == []
    assert overflow(page) == 0
