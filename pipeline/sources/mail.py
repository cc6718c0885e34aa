"""Reads e-mail: the subject and the text that a person would see, and a few facts for people.

Transport headers are not part of the text: they tell the collection, not whether it is spam. Broken
mails yield what can be read of them. Only the first MAX_MAIL_BYTES of a mail are read.
"""

import codecs
import email
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.header import decode_header
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import Compat32
from email.utils import parsedate_to_datetime
from operator import itemgetter
from typing import IO, Any
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

MAX_MAIL_BYTES = 2 << 20  # of a mail; what a person sees first stands before large attachments
MAX_HEADER_CHARACTERS = 2_000  # of a header that is read
MAX_PARTS = 200  # of a mail, its attachments among them
MAX_LEVELS = 20  # of parts within parts
# Of a part. The time to parse HTML may grow with the square of its tags, or of the attributes in a
# tag. (Gmail shows 102 kB.)
MAX_PART_CHARACTERS, MAX_TAGS = 200_000, 10_000
START_CHARACTERS, END_CHARACTERS = 8_000, 2_000  # of a text that is longer than both together
MBOX_START = re.compile(rb"From \S.*\d\d:\d\d")  # the line before a mail of an mbox file
MBOX_QUOTED = re.compile(rb">+From ")
EMPTY_LINES = (
    b"\n",
    b"\r\n",
)  # the header block ends with one; a line of blanks continues a header
WESTERN_CHARSETS = {"", "us-ascii", "iso-8859-1"}  # often declared for UTF-8 and for cp1252
WIDER_CHARSETS = {  # what browsers take these for. Source: WHATWG Encoding Standard
    "iso-8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "ks_c_5601-1987": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
}
# Codecs of Python that no mail program has. The time of punycode grows with the square of a text.
NO_CHARSETS = {"idna", "punycode", "unicode-escape", "raw-unicode-escape"}
UNSEEN_TAGS = {"head", "script", "style", "template", "noscript", "noframes", "object"}
FRAME_TAGS = {"iframe", "frame"}  # show what is at another address
BLOCK_TAGS = {
    *("address", "article", "blockquote", "br", "center", "dd", "div", "dl", "dt", "footer"),
    *("form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "ol", "p", "pre"),
    *("section", "table", "td", "th", "tr", "ul"),
}
HIDING_STYLE = re.compile(
    r"display:none|visibility:hidden|mso-hide:all|"
    r"(?:font-size|max-height|opacity):0(?![.\d]*[1-9])",
    re.IGNORECASE,
)
HTML_START = re.compile(r"<(?:html|body|table|div|p|br|font|center)\b", re.IGNORECASE)
ADDRESS_DOMAIN = re.compile(r"@([A-Za-z0-9.-]+)")
URL = re.compile(r"https?://[^\s<>\"']+", re.IGNORECASE)


class _ShortHeaders(Compat32):
    """Cuts headers: the time that the library takes for one may grow with the square of it."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        name, value = super().header_source_parse(sourcelines)
        return name, value[:MAX_HEADER_CHARACTERS]


POLICY = _ShortHeaders()


@dataclass(frozen=True)
class Mail:
    """What is read of a mail."""

    text: str  # the subject, a blank line, and what a person would see
    mail_id: str | None  # Message-ID
    received_at: datetime | None  # when the last server received it, as that server says
    sender_domain: str | None  # of the address in From, which anybody may write there
    link_hosts: str  # the hosts that links lead to, in their order
    attachments: str  # number of attachments by content type


def split_mbox(file: IO[bytes]) -> Iterator[bytes]:
    """The mails of an mbox file, each cut at MAX_MAIL_BYTES, without the `>` before `From `.

    Raises: ValueError if the file does not begin like an mbox file.
    """
    for number, lines in itertools.groupby(mbox_lines(file), itemgetter(0)):
        if number:
            yield _without_quoting(line for _, line in itertools.islice(lines, 1, None))


def mbox_lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Each line of an mbox file as it is, with the number of its mail, counted from 1.

    The number of blank lines before the first mail is 0. A line of more than MAX_MAIL_BYTES comes
    in pieces. Source: RFC 4155; the variant mboxrd, which also reads mboxo.

    Raises: ValueError if the file does not begin like an mbox file.
    """
    number = 0
    starts_line = starts_mail = True  # a mail starts after an empty line
    while line := file.readline(MAX_MAIL_BYTES):
        if starts_mail and MBOX_START.match(line):
            number += 1
        elif not number and line.strip():
            raise ValueError(
                "not an mbox file: it does not begin with a line `From ... 10:00:00 ...`"
            )
        yield number, line
        starts_mail = not number or (starts_line and line in EMPTY_LINES)
        starts_line = line.endswith(b"\n")


def _without_quoting(lines: Iterable[bytes]) -> bytes:
    """The beginning of a mail of an mbox file."""
    kept: list[bytes] = []
    size = 0
    for line in lines:
        if size < MAX_MAIL_BYTES:
            kept.append(line[1:] if MBOX_QUOTED.match(line) else line)
            size += len(line)
    return b"".join(kept)


def read_mail(raw: bytes) -> Mail:
    """The mail of these bytes. It never fails: what cannot be parsed is read as plain text."""
    raw = raw[:MAX_MAIL_BYTES]
    try:
        mail = email.message_from_bytes(raw, policy=POLICY)
    except RecursionError:  # hundreds of parts within parts
        mail = BytesHeaderParser(policy=POLICY).parsebytes(raw)
    content = _Content()
    _read_part(mail, content, 0)
    text = "\n\n".join(filter(None, [_header(mail, "subject"), *content.texts]))
    hosts = dict.fromkeys(filter(None, map(_host, content.links)))
    domains = ADDRESS_DOMAIN.findall(_header(mail, "from"))
    return Mail(
        text=_shortened(text),
        mail_id=_header(mail, "message-id") or None,
        received_at=_received_at(mail),
        sender_domain=domains[-1].lower() if domains else None,
        link_hosts=" ".join(hosts),
        attachments=" ".join(f"{kind}:{n}" for kind, n in sorted(content.attachments.items())),
    )


# ---- parts


@dataclass
class _Content:
    """What the parts of a mail hold."""

    texts: list[str] = field(default_factory=list)  # that a person would see
    links: list[str] = field(default_factory=list)  # the addresses in them
    attachments: Counter[str] = field(default_factory=Counter)  # by content type
    parts: int = 0  # read so far, of any kind


def _read_part(part: Message, content: _Content, level: int) -> None:
    """Adds a part, and the parts within it."""
    content.parts += 1
    if content.parts > MAX_PARTS or level > MAX_LEVELS:
        return
    kind = part.get_content_type()
    inner: Any = part.get_payload() if part.is_multipart() else None
    is_multipart = kind.startswith(("multipart/", "message/"))
    if inner is not None:
        if kind == "message/rfc822":  # a forwarded mail
            content.texts += filter(None, [_header(one, "subject") for one in inner[:1]])
        for one in _seen(inner) if kind == "multipart/alternative" else inner:
            _read_part(one, content, level + 1)
    elif is_multipart or (kind.startswith("text/") and not _is_attached(part)):
        text = _decoded(part)[:MAX_PART_CHARACTERS]
        is_html = kind == "text/html" or (is_multipart and HTML_START.search(text))
        text, links = html_text(text) if is_html else (_tidy(text), URL.findall(text))
        content.texts += filter(None, [text])
        content.links += links
    else:
        content.attachments[kind] += 1


def _is_attached(part: Message) -> bool:
    return part.get_content_disposition() == "attachment"


def _seen(alternatives: list[Message]) -> list[Message]:
    """Of several forms of a text the one that mail programs show: HTML, or a part with it."""
    kinds = [part.get_content_type() for part in alternatives]
    for wanted in ("text/html", "multipart/related", "multipart/mixed", "multipart/alternative"):
        if wanted in kinds:
            return [alternatives[kinds.index(wanted)]]
    return alternatives[:1]


def _decoded(part: Message) -> str:
    """The text of a part, whatever it says of its transfer encoding and charset."""
    payload = part.get_payload(decode=True)
    raw = payload if isinstance(payload, bytes) else b""
    return _decoded_bytes(raw, part.get_param("charset"))


def _decoded_bytes(raw: bytes, declared: object) -> str:
    """The text in the declared charset if it can be, or in one that is likely."""
    charset = declared.strip("\"' ").lower() if isinstance(declared, str) else ""
    wider = [] if charset in WESTERN_CHARSETS else [WIDER_CHARSETS.get(charset, charset)]
    for name in (*wider, "utf-8", "cp1252"):
        try:
            if codecs.lookup(name).name not in NO_CHARSETS:
                return raw.decode(name)
        except (LookupError, ValueError):  # not what the bytes are, or no charset
            continue
    return raw.decode("latin-1")


# ---- HTML


def html_text(html: str) -> tuple[str, list[str]]:
    """The text of HTML that a person would see, and the addresses of its links.

    A link's address stands behind its text, as the text may show another one.
    """
    tree = LexborHTMLParser(_first_tags(html))
    words: list[str] = []
    links: list[str] = []
    if tree.root is not None:
        _collect_seen(tree.root, words, links)
    return re.sub(r"\n+", "\n", _tidy("".join(words))), links


def _first_tags(html: str) -> str:
    """The HTML up to its MAX_TAGS-th tag."""
    tags = re.finditer("<", html)
    last = next(itertools.islice(tags, MAX_TAGS, None), None)
    return html[: last.start()] if last else html


def _collect_seen(root: LexborNode, words: list[str], links: list[str]) -> None:
    """Adds what is seen of a tree. Written without recursion, as mails may nest without end."""
    waiting: list[LexborNode | str] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            words.append(node)
            continue
        tag = node.tag or "-"
        if tag == "-text":
            words.append(_spaces_for_lines(node.text_content or ""))
            continue
        attributes = {} if tag.startswith("-") else node.attributes
        if tag.startswith("-") or tag in UNSEEN_TAGS or _is_hidden(attributes):
            continue
        line_end = "\n" if tag in BLOCK_TAGS else ""
        words.append(line_end)
        waiting.append(line_end)
        address = (attributes.get("href" if tag == "a" else "src") or "").strip()
        if address and (tag == "a" or tag in FRAME_TAGS):
            links.append(address)
            waiting.append(f" {address} ")
        if tag == "img" and (shown := attributes.get("alt")):
            words.append(f" {shown} ")
        if tag not in FRAME_TAGS:
            waiting.extend(reversed(list(node.iter(include_text=True))))


def _is_hidden(attributes: dict[str, str | None]) -> bool:
    style = re.sub(r"\s", "", attributes.get("style") or "")
    return "hidden" in attributes or HIDING_STYLE.search(style) is not None


def _spaces_for_lines(text: str) -> str:
    return re.sub(r"[\r\n\t]+", " ", text)


def _tidy(text: str) -> str:
    """The text without white space and zero bytes that nobody sees."""
    text = text.replace("\0", "")
    lines = (re.sub(r"[ \t\r\f\v\xa0]+", " ", line).strip() for line in text.split("\n"))
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def _shortened(text: str) -> str:
    """A long text's beginning and end."""
    if len(text) <= START_CHARACTERS + END_CHARACTERS:
        return text
    return f"{text[:START_CHARACTERS]}\n\n{text[-END_CHARACTERS:]}"


# ---- headers


def _header(mail: Message, name: str) -> str:
    """A header with its encoded words decoded, on one line; "" if there is none."""
    raw = next((str(value) for key, value in mail.raw_items() if key.lower() == name), "")
    written = _decoded_bytes(raw.encode("utf-8", "surrogateescape"), "utf-8")
    try:
        parts = decode_header(written)
    except Exception:  # the library raises several kinds for words that are broken
        parts = [(written, None)]
    return " ".join("".join(itertools.starmap(_decoded_word, parts)).split())


def _decoded_word(word: str | bytes, charset: str | None) -> str:
    if isinstance(word, str):
        return word
    return _decoded_bytes(word, charset) if charset else word.decode("raw-unicode-escape")


def _received_at(mail: Message) -> datetime | None:
    """The time in the topmost `Received`, which the receiver's own server wrote."""
    written = str((mail.get_all("Received") or [""])[0]).rpartition(";")[2]
    try:
        time = parsedate_to_datetime(" ".join(written.split()))
        return time.replace(tzinfo=time.tzinfo or UTC).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _host(address: str) -> str:
    try:
        return (urlsplit(address).hostname or "").lower()
    except ValueError:
        return ""
