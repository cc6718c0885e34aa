"""A person tries the filter in a browser, with a real server and a real small network."""

import json

import mlflow
import pandas as pd
import pytest
from playwright.sync_api import expect

from pipeline.registry.subprocesses import local_session
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.champion import LoadedVersion, ServedChampion, warm_up
from pipeline.serving.http.feedback_store import FeedbackStore
from pipeline.serving.http.request_bodies import MAX_BYTES
from pipeline.sources.readers import ColumnNames
from tests.harness import small_models
from tests.harness.browser import accessibility_faults, browser, chromium, overflow, watched
from tests.harness.mlflow_store import store_at
from tests.harness.model_server import champion_server
from tests.harness.word_model import WordModel

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium(), reason="no Chromium on PATH"),
]

SPAM = 'WIN a prize! Call "09061" <b>now</b>'
MAIL = b"Subject: Your prize\nContent-Type: text/html\n\n<p>Claim it <b>now</b></p>\n"
TOKEN = "0123456789abcdef0123"


@pytest.fixture(scope="module")
def champion(tmp_path_factory, empty_database):
    """A small network from a registry, compiled."""
    registry = small_models.SmallRegistry(tmp_path_factory.mktemp("registry"), empty_database)
    with store_at(registry.address, registry.folder):
        model = mlflow.pyfunc.load_model(registry.add().uri)
    served = ServedChampion(LoadedVersion(model, "7"))
    warm_up(model)
    served.is_warm = True
    return served


@pytest.fixture(scope="module")
def feedback(tmp_path_factory):
    """The folder that feedback goes to."""
    return tmp_path_factory.mktemp("feedback")


@pytest.fixture(scope="module")
def address(champion, feedback):
    with champion_server(champion, feedback=FeedbackStore(ColumnNames(), feedback)) as address:
        yield address


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture
def opened(chrome):
    """Opens an address in a page that fails the test if its console has a problem."""
    page, problems = watched(chrome)

    def open_page(address, width=1280, scheme="light"):
        page.set_viewport_size({"width": width, "height": 800})
        page.emulate_media(color_scheme=scheme)
        page.goto(address)
        return page

    yield open_page
    page.close()
    assert problems == []


def answer_to(address, text):
    with local_session() as session:
        return session.post(f"{address}/score", json={"text": text}, timeout=60).json()


def check_message(page, text):
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Check the message").click()
    page.get_by_role("region", name="Answer").wait_for()


def choose(page, name, content):
    files = {"name": name, "mimeType": "text/plain", "buffer": content}
    page.get_by_label("or a file").set_input_files(files)


def drop(page, name, content):
    """Drops a file on the page, as a browser does."""
    transfer = page.evaluate_handle(
        """([name, content]) => {
          const transfer = new DataTransfer()
          transfer.items.add(new File([content], name))
          return transfer
        }""",
        [name, content.decode()],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def test_pasted_message_gets_the_answer_of_the_server(opened, address):
    page = opened(address)
    page.get_by_text("Model version 7.").wait_for()
    check_message(page, SPAM)
    answer = answer_to(address, SPAM)
    label = {"spam": "Spam", "ham": "Ham (not spam)"}[answer["label"]]
    expect(page.locator("#label")).to_have_text(label)
    probability = f"{int(answer['probability'] * 1000) / 10:.1f} %"
    said = f"Probability of spam {probability};"
    expect(page.locator("#probability")).to_contain_text(said)
    width = page.locator("#filled").evaluate("bar => parseFloat(bar.style.width)")
    assert width == pytest.approx(100 * answer["probability"], abs=0.01)
    expect(page.locator("#note")).to_have_text("The filter is confident.")
    expect(page.locator("#words")).to_have_text(SPAM)


def test_words_are_marked_by_what_they_speak_for(opened):
    champion = ServedChampion(LoadedVersion(WordModel(), "3"))
    champion.is_warm = True
    with champion_server(champion) as address:
        page = opened(address)
        check_message(page, "one free lunch")
        expect(page.locator("#words .spam")).to_have_text(["free"])
        expect(page.locator("#words .ham")).to_have_text(["lunch"])
        expect(page.locator("#words")).to_have_text("one free lunch")


def test_message_is_never_markup(opened, address):
    page = opened(address)
    check_message(page, "<img src=x onerror=document.title='run'><script>alert(1)</script>")
    expect(page.locator("#words img, #words script")).to_have_count(0)
    expect(page).to_have_title("Try the spam filter")


def test_dropped_mail_is_read_as_a_mail(opened, address):
    page = opened(address)
    drop(page, "prize.eml", MAIL)
    page.get_by_role("region", name="Answer").wait_for()
    expect(page.locator("#words")).to_have_text("Your prize Claim it now")


def test_table_gets_counts_and_a_download(opened, address, tmp_path):
    texts = [f"{text}, number {number}" for number, text in enumerate([SPAM, "lunch?"] * 150)]
    table = pd.DataFrame({"id": range(300), "text": texts})
    page = opened(address)
    choose(page, "messages.csv", table.to_csv(index=False).encode())
    page.get_by_role("region", name="Answers to the table").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download all rows").click()
    assert download.value.suggested_filename == "messages-labelled.csv"
    download.value.save_as(tmp_path / "labelled.csv")
    labelled = pd.read_csv(tmp_path / "labelled.csv")
    assert labelled[["id", "text"]].equals(table)
    spam = int((labelled["label"] == "spam").sum())
    counts = f"300 messages: {spam} spam, {300 - spam} ham"
    expect(page.locator("#summary")).to_have_text(counts)
    assert labelled["label"][1] == answer_to(address, texts[1])["label"]
    expect(page.locator("#rows tr")).to_have_count(20)


def test_table_of_a_spreadsheet_in_another_language_is_read(opened, address):
    page = opened(address)
    choose(page, "a.csv", '\ufeffid;text\r\n1;"a; ""b""\nc"\r\n2; \r\n'.encode())
    page.get_by_role("region", name="Answers to the table").wait_for()
    first, second = page.locator("#rows tr").all()
    assert first.locator("td").nth(2).text_content() == 'a; "b"\nc'
    assert second.locator("td").nth(2).text_content() == " "
    shown = "With a problem, which the download names: 1."
    expect(page.locator("#shown")).to_have_text(shown)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"message\na\n", "The first line of the table must name a column \u201ctext\u201d."),
        (b"text\n", "The table has no rows."),
        (b"id,text\n1,a,b\n", "Row 1 of the table has 3 cells, but there are 2 columns."),
        (b'text\na\n"b"c\n', "Row 2 of the table has a stray quotation mark."),
        (b"text\ncaf\xe9\n", "The table is not in UTF-8."),
    ],
)
def test_bad_table_is_explained_in_a_sentence(content, sentence, opened, address):
    page = opened(address)
    choose(page, "a.csv", content)
    page.get_by_role("status").get_by_text(sentence).wait_for()
    expect(page.get_by_role("region", name="Answers to the table")).to_be_hidden()


def test_blank_message_is_not_sent(opened, address):
    page = opened(address)
    page.get_by_role("button", name="Check the message").click()
    page.get_by_text("Paste a message first.").wait_for()


def test_correction_lands_in_the_file(opened, address, feedback):
    page = opened(address)
    check_message(page, "a correction")
    other = {"spam": "ham", "ham": "spam"}[answer_to(address, "a correction")["label"]]
    page.get_by_role("button", name=f"That is wrong: it is {other}").click()
    page.get_by_text(f"Saved as {other}, for the next training.").wait_for()
    (path,) = feedback.glob("*.jsonl")
    row = json.loads(path.read_text().splitlines()[-1])
    assert (row["text"], row["label"], row["source"]) == ("a correction", other, "try page")


# ---- other servers


def test_server_without_feedback_says_how_to_turn_it_on(opened, champion):
    with champion_server(champion) as address:
        page = opened(address)
        check_message(page, SPAM)
        page.get_by_role("button", name="That is wrong").click()
        page.get_by_text("start it with --feedback").wait_for()


def test_token_is_asked_for_and_sent(chrome, champion, tmp_path):
    (tmp_path / "tokens").write_text(f"{TOKEN}\n")
    page, problems = watched(chrome)
    with champion_server(champion, tokens=TokenFile(tmp_path / "tokens")) as address:
        page.goto(address)
        page.get_by_label("Message").fill(SPAM)
        page.get_by_role("button", name="Check the message").click()
        page.get_by_text("This server needs a token").wait_for()
        page.get_by_label("Token").fill(TOKEN)
        check_message(page, SPAM)
        page.reload()
        expect(page.get_by_label("Token")).to_have_value("")
    page.close()
    assert [problem for problem in problems if "401" not in problem] == []


def test_server_that_has_just_started_says_so(chrome, champion):
    page, _ = watched(chrome)  # a 503 of /ready is an error in the console
    with champion_server(ServedChampion(champion.current)) as address:
        page.goto(address)
        page.get_by_text("The server is starting").wait_for()
    page.close()


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (413, "The server refuses this: the body has more than 1,048,576 bytes"),
        (429, "The server is busy."),
        (0, "The server does not answer."),
    ],
)
def test_error_of_the_server_is_a_sentence(status, sentence, chrome, champion):
    page, _ = watched(chrome)  # the console has the error too
    with champion_server(champion) as address:
        page.goto(address)
        if status == 429:  # 256 requests at once
            page.route("**/score*", lambda route: route.fulfill(status=429, json={"message": "a"}))
        text = "a" * (MAX_BYTES if status == 413 else 1)
        page.get_by_label("Message").fill(text)
        if status == 0:
            page.context.set_offline(True)
        page.get_by_role("button", name="Check the message").click()
        page.get_by_role("status").get_by_text(sentence).wait_for()
    page.close()


# ---- everybody


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_has_no_accessibility_fault(scheme, opened, address):
    page = opened(address, scheme=scheme)
    choose(page, "a.csv", b"text\na\n")
    page.get_by_role("region", name="Answers to the table").wait_for()
    assert accessibility_faults(page) == []
    check_message(page, SPAM)
    assert accessibility_faults(page) == []


def test_keyboard_alone_suffices(opened, address):
    page = opened(address)
    page.keyboard.press("Tab")
    page.keyboard.type("are we still on for lunch?")
    page.keyboard.press("Control+Enter")
    page.get_by_role("region", name="Answer").wait_for()
    expect(page.locator("#wrong")).to_be_enabled()
    for _ in range(4):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "wrong":
            break
    page.keyboard.press("Enter")
    page.get_by_text("for the next training").wait_for()


def test_phone_shows_everything_without_scrolling_sideways(opened, address):
    page = opened(address, width=360)
    assert overflow(page) == 0
    choose(page, "a.csv", b"text\n" + b"a" * 200 + b"\n")
    page.get_by_role("region", name="Answers to the table").wait_for()
    assert overflow(page) == 0
    check_message(page, f"{SPAM} {'a' * 200}")
    assert overflow(page) == 0
