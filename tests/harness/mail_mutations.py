"""Mails as broken ones are, made from whole ones, and what must hold for each of them."""

import io
import re
from collections.abc import Callable, Sequence
from random import Random

from pipeline.serving.mail_headers import MailVerdict, with_verdict
from pipeline.sources.mail import read_mail, split_mbox

SPAM = MailVerdict(
    is_spam=True,
    probability=0.99713,
    threshold=0.8,
    confident=False,
    model_version="3",
    refused=None,
)
MBOX_LINE = b"From a@b Thu Nov 26 10:00:00 2026\n"
FLAG = re.compile(rb"^x-spam-flag[ \t]*:", re.IGNORECASE | re.MULTILINE)
EMPTY_LINE = re.compile(rb"(?:\A|(?<=\n))\r?\n")
MOST_FLIPPED = 60  # bytes at once
MOST_REPEATED = 20  # headers at once
DECLARED = (b"charset=", b"boundary=", b"text/plain", b"7bit", b"us-ascii", b"=?", b"iso-8859-1")
MISDECLARED = (
    *(b"charset=\xff", b'boundary="', b"text/html", b"base64", b"utf-7", b"idna", b"=?x?q?", b"uu"),
    *(b"unicode_escape", b"quoted-printable", b"zlib", b"undefined", b"punycode", b"gb2312"),
)
INSERTED = (
    *(b"<div style='display:none'>", b"<!--", b"&#x110000;", b"<a href='http://[::1'>", b"\0"),
    *(b"\x1b$B", b"=?utf-16?b?//8=?=", b"<table>" * 50, b"</p>" * 50, b"\n\n", b"\r", b"(", b"--"),
    *(b"\nX-Spam-Flag: NO\n", b"\nContent-Type: text/plain; charset*=utf-8''%E2%28\n"),
)
NESTED = b"""From: a@b
Subject: =?utf-8?B?%%%%?=
Content-Type: multipart/%s; boundary="q"

--q
Content-Type: message/rfc822

%s
--q
%s
--q--
"""


def check_reading(raw: bytes) -> None:
    """Raises: Exception if the mail cannot be read, alone or in an mbox file."""
    for one in (raw, *split_mbox(io.BytesIO(MBOX_LINE + raw))):
        "".join(map(str, vars(read_mail(one)).values())).encode()  # no lone surrogate


def check_verdict(raw: bytes) -> None:
    """Raises: AssertionError if a verdict on the mail is not the only one, or changes its body."""
    head, *body = EMPTY_LINE.split(with_verdict(raw, SPAM), maxsplit=1)
    assert len(FLAG.findall(head)) == 1, "not one verdict"
    assert body == EMPTY_LINE.split(raw, maxsplit=1)[1:], "another body"


# ---- mutations


def mutated(mails: Sequence[bytes], seed: object) -> bytes:
    """One of the mails after one to six mutations, always the same for a seed."""
    random = Random(str(seed))
    raw = random.choice(mails)
    for _ in range(random.randint(1, 6)):
        raw = random.choice(MUTATIONS)(raw or b"x", mails, random)
    return raw


def flipped(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """With some bytes that are others."""
    changed = bytearray(raw)
    for _ in range(random.randint(1, MOST_FLIPPED)):
        changed[random.randrange(len(raw))] = random.randrange(256)
    return bytes(changed)


def cut(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """Without its end."""
    return raw[: random.randrange(len(raw))]


def gapped(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """Without a piece of its middle, such as the end of a line of base64."""
    start = random.randrange(len(raw))
    return raw[:start] + raw[start + random.randint(1, 500) :]


def stuttering(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """With a piece of it twice."""
    start = random.randrange(len(raw))
    return raw[: start + random.randint(1, 500)] + raw[start:]


def nested(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """Attached to a mail, beside another one."""
    kind = random.choice([b"mixed", b"alternative", b"digest", b"related"])
    return NESTED % (kind, raw, random.choice(mails))


def shuffled(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """With some headers twice or more, in any order."""
    head, empty, body = raw.partition(b"\n\n")
    headers = head.split(b"\n")
    headers += random.choices(headers, k=random.randint(1, MOST_REPEATED))
    random.shuffle(headers)
    return b"\n".join(headers) + empty + body


def misdeclared(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """With a charset, an encoding or a boundary that is wrong or unknown."""
    return raw.replace(random.choice(DECLARED), random.choice(MISDECLARED))


def with_insertion(raw: bytes, mails: Sequence[bytes], random: Random) -> bytes:
    """With something that takes parsers by surprise."""
    start = random.randrange(len(raw))
    return raw[:start] + random.choice(INSERTED) + raw[start:]


Mutation = Callable[[bytes, Sequence[bytes], Random], bytes]
MUTATIONS: tuple[Mutation, ...] = (
    *(flipped, cut, gapped, stuttering, nested, shuffled, misdeclared, with_insertion),
)
