"""Tells whether the files of an MLflow model are those that were registered."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.hashing import file_sha256

PACKAGE_TAG = "package_hash"  # tag of a version: hash_package of its MLflow model
DOWNLOAD_NOTE = "registered_model_meta"  # a file that MLflow adds to each download
LEDGER_ARTIFACTS = {"tokenizer": "tokenizer.json", "decision": "decision.json"}  # as in the ledger


def hash_package(folder: Path) -> str:
    """The sha256 of an MLflow model: the names and bytes of all its files, also of its code."""
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    lines = [f"{file_sha256(folder / name)} {name}\n" for name in names if name != DOWNLOAD_NOTE]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def package_problem(folder: Path, registered: str | None, md5s: Mapping[str, str]) -> str | None:
    """Why an MLflow model is not the one that was registered; None if it is.

    Args:
        registered: the version's PACKAGE_TAG.
        md5s: LedgerEntry.files, or empty. The network has another format there.
    """
    if not (folder / "MLmodel").exists():
        return "MLflow has lost its files"
    if registered is None:
        return f"it has no tag {PACKAGE_TAG}, so its files cannot be checked"
    if registered != hash_package(folder):
        return "its files are not those that were registered"
    for name in LEDGER_ARTIFACTS.keys() & md5s.keys():
        path = folder / "artifacts" / LEDGER_ARTIFACTS[name]
        content = path.read_bytes() if path.exists() else b""
        if hashlib.md5(content, usedforsecurity=False).hexdigest() != md5s[name]:
            return f"its {path.name} is not that of the ledger"
    return None
