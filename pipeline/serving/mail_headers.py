"""Writes a verdict into the headers of a mail, and changes no other byte.

Headers of the same names that the sender put in are removed, since a later rule would trust them.
"""

import io
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO

from pipeline.sources.mail import EMPTY_LINES

LINE_BYTES = 1 << 20  # read at once of a line, which may be as long as the mail
# The end of a piece counts as the colon, so that blanks before it cannot hide it in the next piece.
FORGED_HEADER = re.compile(rb"X-Spam-(?:Flag|Score|Report)[ \t]*(?::|\Z)", re.IGNORECASE)
CONTINUATION = (b" ", b"\t")  # starts of a line that continues a header
# Some programs, such as Python's, end a line at a carriage return alone, too.
ANY_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+\Z")


@dataclass(frozen=True)
class MailVerdict:
    """What the model answered to a mail."""

    is_spam: bool
    probability: float  # of spam, in [0, 1]
    threshold: float
    confident: bool
    model_version: str
    refused: str | None  # the expectations that the text breaks

    def headers(self) -> list[str]:
        """The lines that are added, without line ends. The report is one folded header."""
        return [
            f"X-Spam-Flag: {'YES' if self.is_spam else 'NO'}",
            f"X-Spam-Score: {self.probability:.4f}",
            f"X-Spam-Report: version={self.model_version}; threshold={self.threshold:.4f};",
            f"\tconfident={'yes' if self.confident else 'no'}; refused={self.refused or 'none'}",
        ]


def with_verdict(raw: bytes, verdict: MailVerdict) -> bytes:
    """The mail with the verdict at the top of its headers, behind a leading `From ` line."""
    return b"".join(marked_lines(file_lines(io.BytesIO(raw)), verdict))


def file_lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines of a file; those of more than LINE_BYTES in pieces."""
    return iter(partial(file.readline, LINE_BYTES), b"")


def marked_lines(lines: Iterable[bytes], verdict: MailVerdict) -> Iterator[bytes]:
    """The lines of a mail, or pieces of them, with the verdict; one of them is in memory at once.

    The headers end at the first empty line, even if a line before is no header: so no program
    finds a forged one. The added lines end as the first line of the mail does.
    """
    rest = iter(lines)
    line = sample = next(rest, b"")
    is_cut = False  # the mail is a `From ` line without its end
    if line.startswith(b"From "):
        yield line
        while not line.endswith(b"\n") and (piece := next(rest, b"")):
            line = piece
            yield line
        is_cut = not line.endswith(b"\n")
        sample, line = line, next(rest, b"")
        sample = line or sample
    end = b"\r\n" if sample.endswith(b"\r\n") else b"\n"
    added = end.join(text.encode("ascii", "replace") for text in verdict.headers())
    yield end + added if is_cut else added + end
    yield from _without_forged(itertools.chain(filter(None, [line]), rest))


def _without_forged(lines: Iterator[bytes]) -> Iterator[bytes]:
    """The lines of a mail without verdicts of the sender.

    A header may begin behind a carriage return alone, up to two of these together: there, for the
    programs that take them for line ends, the body begins.
    """
    starts_line = starts_part = True  # a line feed, or any line end, stands before
    is_forged = has_text = False  # of the header; of the line, in what is kept
    is_body = False  # for programs that take a carriage return for a line end
    for line in lines:
        if starts_line and line in EMPTY_LINES:
            yield line
            break
        for part in ANY_LINE.findall(line):
            if starts_part and not (is_forged and part.startswith(CONTINUATION)):
                may_start = starts_line or not is_body
                is_forged = may_start and FORGED_HEADER.match(part) is not None
                is_body = is_body or (not starts_line and part in (b"\r", b"\r\n"))
            if not is_forged:
                yield part
                has_text = True
            elif part.endswith(b"\n") and has_text:
                yield b"\n"  # else the line before would take in the next one
            starts_line = part.endswith(b"\n")
            starts_part = part.endswith((b"\r", b"\n"))
            has_text = has_text and not starts_line
    yield from lines
