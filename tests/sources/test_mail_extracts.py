"""Mails are saved once, with the label of their folder; one that moves is a correction."""

from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import file_sha256
from pipeline.core.schemas import MAIL_EXTRACT
from pipeline.sources import imap
from pipeline.sources.mail_extracts import save_mailbox
from pipeline.validation.feedback import latest_feedback
from tests.harness.dovecot import cut_after, missing_dovecot
from tests.harness.errors import error_of
from tests.sources.test_catalogue import INBOX, read, write_lock

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(bool(missing_dovecot()), reason=str(missing_dovecot())),
]
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
FOLDERS = {"Junk": "spam", "Archive": "ham"}
FIRST, SECOND = "mine/2026-11-20T120000Z.parquet", "mine/2026-11-20T120100Z.parquet"


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def two_mails(mail_server):
    """A mailbox with a ham and a spam."""
    mail_server.add("Junk", mail(1, "win money"))
    mail_server.add("Archive", mail(2, "see you at noon"))
    return mail_server


def mail(number, text):
    received = f"Received: by mx; Fri, 20 Nov 2026 10:00:0{number % 10} +0100"
    return f"{received}\r\nMessage-ID: <{number}@x>\r\nSubject: hi\r\n\r\n{text}\r\n".encode()


def fetch(declared, pinned=None, minutes=0):
    """The pinned files after `fetch --update`, so many minutes after noon."""
    now = NOON + timedelta(minutes=minutes)
    return save_mailbox("mine", declared, INBOX, pinned or {}, True, lambda: now)


def rows(files, columns=("text", "label")):
    tables = [pq.read_table(INBOX / path, columns=list(columns)).to_pylist() for path in files]
    return [tuple(row.values()) for table in tables for row in table]


def saved():
    return sorted(path.relative_to(INBOX).as_posix() for path in INBOX.rglob("*") if path.is_file())


def test_mails_are_saved_as_rows(two_mails, declare):
    files = fetch(declare(FOLDERS))
    assert files == {FIRST: file_sha256(INBOX / FIRST)}
    columns = ["text", "label", "received_at", "mail_id"]
    assert rows(files, columns) == [
        ("hi\n\nwin money", "spam", datetime(2026, 11, 20, 9, 0, 1, tzinfo=UTC), "<1@x>"),
        ("hi\n\nsee you at noon", "ham", datetime(2026, 11, 20, 9, 0, 2, tzinfo=UTC), "<2@x>"),
    ]
    assert pq.read_schema(INBOX / FIRST).equals(MAIL_EXTRACT)


def test_saved_extract_needs_no_server(two_mails, declare):
    files = fetch(declare(FOLDERS))
    gone = declare(FOLDERS).model_copy(update={"host": "mail.invalid"})
    assert save_mailbox("mine", gone, INBOX, files, False) == files
    (INBOX / FIRST).unlink()
    line = error_of(save_mailbox, "mine", gone, INBOX, files, False)
    assert line.startswith(f"{INBOX / FIRST}: missing; ")


def test_next_fetch_brings_only_what_is_new(two_mails, declare):
    declared = declare(FOLDERS)
    first = fetch(declared)
    assert fetch(declared, first, 1) == first
    assert saved() == [FIRST]
    two_mails.add("Archive", mail(3, "new"))
    second = fetch(declared, first, 1)
    assert list(second) == [FIRST, SECOND]
    assert rows([SECOND]) == [("hi\n\nnew", "ham")]


def test_mail_that_moved_is_feedback_with_its_new_label(two_mails, declare):
    declared = declare(FOLDERS)
    first = fetch(declared)
    two_mails.move("Archive", 1, "Junk")
    files = fetch(declared, first, 1)
    assert list(files) == [FIRST, SECOND, f"feedback/{SECOND}"]
    assert rows([SECOND]) == []
    moved = ("hi\n\nsee you at noon", "spam", NOON + timedelta(minutes=1))
    assert rows([f"feedback/{SECOND}"], ["text", "label", "received_at"]) == [moved]


def test_newest_place_of_a_mail_decides(two_mails, declare):
    declared = declare(FOLDERS)
    files = fetch(declared)
    labels = []
    for minutes, (folder, to) in enumerate([("Archive", "Junk"), ("Junk", "Archive")], 1):
        uid = max(two_mails.state(folder))
        two_mails.move(folder, uid, to)
        files = fetch(declared, files, minutes)
        messages = read("mine", "feedback", lock=write_lock({"files": files})).to_pandas()
        by_text = latest_feedback(messages, messages["text"], NOON + timedelta(hours=1))
        labels.append(set(by_text[messages["text"].str.endswith("noon")]))
    assert labels == [{"spam"}, {"ham"}]


def test_move_to_a_folder_of_the_same_label_is_no_correction(two_mails, declare):
    two_mails.add("Old")
    declared = declare(FOLDERS | {"Old": "ham"})
    files = fetch(declared)
    two_mails.move("Archive", 1, "Old")
    assert rows(fetch(declared, files, 1)) == rows(files)
    assert saved() == [FIRST, SECOND]  # the second has the new position


def test_folder_with_new_uids_gives_no_row_twice(two_mails, declare):
    declared = declare(FOLDERS)
    first = fetch(declared)
    with two_mails.mailbox() as client:
        client.delete_folder("Archive")
    two_mails.add("Archive", mail(3, "new"), mail(2, "see you at noon"))
    second = fetch(declared, first, 1)
    assert rows(second) == [*rows(first), ("hi\n\nnew", "ham")]
    assert fetch(declared, second, 2) == second


def test_mail_in_two_folders_has_both_labels(two_mails, declare):
    two_mails.add("Archive", mail(1, "win money"), mail(2, "see you at noon"))
    files = fetch(declare(FOLDERS))
    assert sorted(rows(files)) == [
        ("hi\n\nsee you at noon", "ham"),
        ("hi\n\nwin money", "ham"),
        ("hi\n\nwin money", "spam"),
    ]


def test_correction_outlives_another_declaration(two_mails, declare):
    """Corrections in the inbox are read even if their source was declared anew since."""
    files = fetch(declare(FOLDERS))
    two_mails.move("Archive", 1, "Junk")
    fetch(declare(FOLDERS), files, 1)
    two_mails.move("Junk", 2, "Archive")
    two_mails.add("Old")
    anew = fetch(declare(FOLDERS | {"Old": "ham"}), {}, 2)
    *_, corrections = anew
    assert rows([corrections]) == [("hi\n\nsee you at noon", "ham")]


@pytest.mark.parametrize("sent", [100, 4_000, 20_000, 60_000])
def test_cut_connection_loses_nothing_and_doubles_nothing(two_mails, declare, monkeypatch, sent):
    monkeypatch.setattr(imap, "FETCHED_AT_ONCE", 2)
    declared = declare(FOLDERS)
    first = fetch(declared)
    two_mails.add("Archive", *[mail(number, "long " * 2_000) for number in range(10, 18)])
    with cut_after(two_mails.port, sent) as port:
        cut = declared.model_copy(update={"port": port})
        line = error_of(fetch, cut, first, 1)
    assert line.startswith((f"mine: 127.0.0.1:{port}: ", "mine: 127.0.0.1 refuses the login"))
    assert "\n" not in line
    assert saved() == [FIRST]
    second = fetch(declared, first, 2)
    assert len(rows(second)) == len(set(rows(second, ["mail_id"]))) == 10


def test_mailbox_without_mails_is_refused(mail_server, declare):
    mail_server.add("Junk")
    line = "mine: no mail in Junk; correct folders, or bring mails"
    assert error_of(fetch, declare({"Junk": "spam"})) == line
    assert saved() == []


def test_broken_mail_is_read_as_far_as_it_can_be(mail_server, declare):
    broken = b'Content-Type: multipart/mixed; boundary="x"\r\nSubject: =?utf-8?b?/w==?=\r\n\r\n--x'
    mail_server.add("Junk", broken + b"\r\n\r\n\xff\xfe hello", b"\x00\xff no mail")
    texts = [text for text, _ in rows(fetch(declare({"Junk": "spam"})))]
    assert len(texts) == 2
    assert texts[0].endswith("hello")


def test_unreadable_corrections_of_others_are_left_alone(two_mails, declare):
    (INBOX / "feedback" / "mine").mkdir(parents=True)
    by_hand = MAIL_EXTRACT.empty_table().select(["text", "label"])
    pq.write_table(by_hand, INBOX / "feedback" / "mine" / "by-hand.parquet")
    assert list(fetch(declare(FOLDERS))) == [FIRST]
