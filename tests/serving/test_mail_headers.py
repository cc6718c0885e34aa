"""A verdict is added to a mail, a forged one is removed, and no other byte changes."""

import email
import io
import re
import tracemalloc
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.serving import mail_headers
from pipeline.serving.mail_headers import MailVerdict, file_lines, marked_lines, with_verdict
from tests.harness.mail_mutations import EMPTY_LINE, FLAG, SPAM, check_verdict, mutated

ADDED = b"""\
X-Spam-Flag: YES
X-Spam-Score: 0.9971
X-Spam-Report: version=3; threshold=0.8000;
\tconfident=no; refused=none
"""
CRLF = ADDED.replace(b"\n", b"\r\n")
PIECES = [b"X-Spam-Flag", b"x-SPAM-score ", b"X-Spam-Report\t", b": NO", b":", b" ", b"\t", b"a"]
PIECES += [b"\n", b"\r\n", b"\r", b"\n\n", b"Subject: x", b"From ", b"X-Spam-Status: No"]
raw_mails = st.binary() | st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join)
FORGED = re.compile(rb"(?i)x-spam-(?:flag|score|report)[ \t]*(?::|\Z)")


@pytest.mark.parametrize(
    ("raw", "marked"),
    [
        (b"Subject: s\n\nhi\n", ADDED + b"Subject: s\n\nhi\n"),
        (b"Subject: s\r\n\r\nhi\n", CRLF + b"Subject: s\r\n\r\nhi\n"),
        (b"From a Thu\nSubject: s\n\nhi", b"From a Thu\n" + ADDED + b"Subject: s\n\nhi"),
        (b"From a Thu\nA: b\r\n\r\n", b"From a Thu\n" + CRLF + b"A: b\r\n\r\n"),
        (b"From a Thu", b"From a Thu\n" + ADDED[:-1]),
        (b"Subject: s", ADDED + b"Subject: s"),
        (b"", ADDED),
        (b"\nno header\n", ADDED + b"\nno header\n"),
        (b"no header\nSubject: s\n\n", ADDED + b"no header\nSubject: s\n\n"),
    ],
)
def test_verdict_stands_at_the_top_of_the_headers(raw, marked):
    assert with_verdict(raw, SPAM) == marked


@pytest.mark.parametrize(
    ("raw", "left"),
    [
        (b"X-Spam-Flag: NO\nA: b\n\n", b"A: b\n\n"),
        (b"A: b\nx-spam-FLAG \t: NO\n\tmore\n more\nC: d\n\n", b"A: b\nC: d\n\n"),
        (b"no header\nX-Spam-Score: 0\n\n", b"no header\n\n"),  # some programs read on there
        (b"A: b\rX-Spam-Flag: NO\n c\n\nbody\n", b"A: b\r\n\nbody\n"),
        (b"A: b\n \nX-Spam-Report: c\n\n", b"A: b\n \n\n"),
        (b"A: b\n\nX-Spam-Flag: NO\n", b"A: b\n\nX-Spam-Flag: NO\n"),
        (b"A: b\r\rX-Spam-Flag: NO\r", b"A: b\r\rX-Spam-Flag: NO\r"),  # lines of old Macs
        (b"X-Spam-Status: No\nX-Spam-Flags: a\n\n", b"X-Spam-Status: No\nX-Spam-Flags: a\n\n"),
    ],
)
def test_verdict_of_the_sender_is_removed_from_the_headers_alone(raw, left):
    assert with_verdict(raw, SPAM) == ADDED + left


def test_attached_mail_is_untouched():
    inner, outer = EmailMessage(), EmailMessage()
    inner["X-Spam-Flag"] = "NO"
    inner.set_content("inner")
    outer.add_attachment(inner)
    raw = outer.as_bytes()
    assert with_verdict(raw, SPAM) == ADDED + raw


@given(raw_mails)
def test_without_the_added_lines_every_byte_is_as_it_was(raw):
    left = with_verdict(raw, SPAM)
    added = CRLF if CRLF in left else ADDED
    if raw.startswith(b"From ") and not re.match(rb"From [^\n]*\n", raw):
        assert left == raw + b"\n" + ADDED[:-1]
    elif not FORGED.search(raw):
        assert left.replace(added, b"", 1) == raw


@example(b"A: b\rX-Spam-Flag: NO\n\nX-Spam-Flag: NO\n")
@example(b"X-Spam-Flag \t")
@given(raw_mails)
def test_no_program_finds_a_forged_verdict(raw):
    marked = with_verdict(raw, SPAM)
    assert marked.count(b"X-Spam-Flag: YES") == 1
    assert len(FLAG.findall(EMPTY_LINE.split(marked, maxsplit=1)[0])) == 1
    if not re.match(rb"From [^\n]*\r(?!\n)", raw):  # which no server writes
        assert email.message_from_bytes(marked).get_all("X-Spam-Flag") == ["YES"]


def test_header_that_is_read_in_pieces_is_removed_as_a_whole(monkeypatch):
    monkeypatch.setattr(mail_headers, "LINE_BYTES", 40)
    forged = b"X-Spam-Flag" + b" " * 50 + b": NO" + b" and more" * 9 + b"\n " + b"c" * 90 + b"\n"
    kept = b"A: " + b"b" * 37 + b"\n" + b"C: " + b"d" * 90 + b"\n"  # a piece may be a line feed
    assert with_verdict(kept + forged + kept + b"\n", SPAM) == ADDED + kept + kept + b"\n"


def test_library_reads_verdict_subject_and_body():
    mail = EmailMessage()
    mail["Subject"] = "Zażółć"
    mail["X-Spam-Flag"] = "NO"
    mail.set_content("gęślą")
    refused = MailVerdict(False, 0.25, 0.5, True, "12", "text_is_not_null, text_decodes")
    read = email.message_from_bytes(with_verdict(mail.as_bytes(), refused), policy=mail.policy)
    assert read.get_all("X-Spam-Flag") == ["NO"]
    assert read["X-Spam-Score"] == "0.2500"
    report = "version=12; threshold=0.5000;\tconfident=yes; refused=text_is_not_null, text_decodes"
    assert read["X-Spam-Report"] == report
    assert (read["Subject"], read.get_content()) == ("Zażółć", "gęślą\n")


def test_mutated_mails_have_one_verdict_and_their_own_body():
    inner, outer = EmailMessage(), EmailMessage()
    inner["X-Spam-Flag"] = outer["X-Spam-Flag"] = "NO"
    inner.set_content("inner")
    outer.add_attachment(inner)
    for seed in range(2000):
        check_verdict(mutated([outer.as_bytes(), inner.as_bytes()], seed))


def test_memory_does_not_grow_with_the_mail():
    raw = io.BytesIO(b"A: " + b"b" * (10 << 20) + b"\n\n" + b"c" * (10 << 20))
    tracemalloc.start()
    size = sum(map(len, marked_lines(file_lines(raw), SPAM)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == len(ADDED) + len(raw.getbuffer())
    assert peak < 5 << 20
