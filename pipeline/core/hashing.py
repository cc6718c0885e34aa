"""Hashes of texts, of files and of keys."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.core.files import REBUILD_HINT, read_errors

if TYPE_CHECKING:
    import pandas as pd

SHORT_ID_DIGITS = 16  # of a message_id as earlier versions wrote it


def message_id(text: str | None) -> str:
    """The id of a message: the first 32 hexadecimal digits of the sha256 of its text.

    It depends on the text alone, not on the source. A null has the id of the empty text.
    """
    return hashlib.sha256((text or "").encode()).hexdigest()[:32]


def known_ids(ids: "pd.Series[Any]", known: Iterable[str]) -> "pd.Series[bool]":
    """(n,): which ids are known, by all their digits or by the first SHORT_ID_DIGITS of them."""
    listed = set(known)
    return ids.isin(listed) | ids.str[:SHORT_ID_DIGITS].isin(listed)


def file_sha256(path: Path, remedy: str = REBUILD_HINT) -> str:
    """The sha256 of a file of any size, in hexadecimal digits.

    Raises: PipelineError, also if the path is a folder.
    """
    with read_errors(path, remedy), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combine_sha256(*digests: str) -> str:
    """One sha256 of several, in hexadecimal digits. The order counts."""
    return hashlib.sha256(b"".join(map(bytes.fromhex, digests))).hexdigest()


def files_sha256(*paths: Path) -> str:
    """One sha256 of the contents of several files. The order counts. Raises: PipelineError."""
    return combine_sha256(*map(file_sha256, paths))


def unit_hash(salt: str, key: str) -> float:
    """A number in [0, 1) that depends on salt and key alone, uniform over keys."""
    digest = hashlib.blake2b(f"{salt}:{key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
