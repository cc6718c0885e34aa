"""Finds the encoding of a text file that was read in another one."""

import codecs
import itertools
from pathlib import Path

import charset_normalizer

COMMON_ENCODINGS = [  # cp1250 and others fit nearly any bytes, so they come only after these
    *("utf_8", "cp1252", "cp1251", "koi8_r", "gb18030", "big5", "shift_jis", "euc_kr")
]
SAMPLE_LINES = 1_000  # lines that are not ASCII, by which an encoding is guessed


def other_encoding(path: Path, used: str) -> str | None:
    """The likeliest encoding in which all lines of a text file can be read; None if it is `used`.

    Also None if there is no such encoding, or the file is missing or is no text.
    """
    lines = _non_ascii_lines(path) if path.is_file() else []
    for encoding in _likely_encodings(lines) if lines else []:
        if _is_readable(path, encoding):
            is_used = codecs.lookup(encoding) == codecs.lookup(used)
            return None if is_used else encoding
    return None


def _likely_encodings(lines: list[bytes]) -> list[str]:
    """The encodings of a sample, the likeliest first; of equally likely ones, the more common."""
    if sum("\ufffd" not in line.decode("utf-8", "replace") for line in lines) > len(lines) / 2:
        return ["utf_8"]  # with a few damaged lines
    sample = b"".join(lines)
    matches = charset_normalizer.from_bytes(sample, cp_isolation=COMMON_ENCODINGS)
    ranks = sorted(
        (round(match.chaos, 1), -round(match.coherence, 1), COMMON_ENCODINGS.index(encoding))
        for match in matches
        for encoding in match.could_be_from_charset
    )
    if ranks:
        return [COMMON_ENCODINGS[place] for _, _, place in ranks]
    return [match.encoding for match in charset_normalizer.from_bytes(sample)]


def _non_ascii_lines(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        lines = (line for line in file if not line.isascii())
        return list(itertools.islice(lines, SAMPLE_LINES))


def _is_readable(path: Path, encoding: str) -> bool:
    try:
        with path.open(encoding=encoding) as file:
            return not any("\0" in line for line in file)
    except UnicodeError:
        return False
