"""Mails as broken ones are, made from whole ones: flipped, cut, nested, repeated, misdeclared."""

from collections.abc import Callable, Sequence
from random import Random

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
