"""Hashes of files, of texts and of campaigns."""

import errno
import hashlib
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, read_bytes


def message_id(text: str | None) -> str:
    """The first 16 hexadecimal digits of the sha256 of a text: of the text alone, wherever it came from."""
    return hashlib.sha256((text or "").encode()).hexdigest()[:16]


def file_sha256(path: Path, way_out: str = REBUILD_HINT) -> str:
    """The sha256 of a file of any size. Raises: PipelineError, also for a folder of that name."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        problem = "missing" if error.errno == errno.ENOENT else error.strerror
        raise PipelineError(f"{path}: {problem}; {way_out}") from error


def combined_sha256(*paths: Path) -> str:
    """One hash of the files' bytes, in the order given."""
    whole = hashlib.sha256()
    for path in paths:
        whole.update(hashlib.sha256(read_bytes(path)).digest())
    return whole.hexdigest()


def unit_hash(salt: str, campaign_key: str) -> float:
    """Where a campaign falls in [0, 1): a function of salt and key alone, so no other row moves it."""
    digest = hashlib.blake2b(f"{salt}:{campaign_key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
