"""pipeline/core/hashing.py"""

import hashlib

import pandas as pd

from pipeline.core.hashing import (
    combine_sha256,
    file_sha256,
    files_sha256,
    known_ids,
    message_id,
    unit_hash,
)
from tests.harness.errors import error_of


def test_message_id_is_a_prefix_of_sha256():
    assert message_id("hello") == "2cf24dba5fb0a30e26e83b2ac5b9e29e"
    assert message_id(None) == message_id("")


def test_ids_are_known_by_all_digits_or_the_first_sixteen():
    ids = pd.Series([message_id(text) for text in ("a", "b", "c")])
    assert known_ids(ids, [ids[1], ids[2][:16], ids[0][:15]]).tolist() == [False, True, True]


def test_files_sha256_depends_on_order_and_cut(tmp_path):
    xy, z, x, yz = (tmp_path / name for name in ("xy", "z", "x", "yz"))
    for path in (xy, z, x, yz):
        path.write_text(path.name)
    assert file_sha256(xy) == hashlib.sha256(b"xy").hexdigest()
    hashes = [files_sha256(*files) for files in ((xy, z), (z, xy), (x, yz), (xy,))]
    assert len(set(hashes)) == 4
    digests = hashlib.sha256(b"xy").digest() + hashlib.sha256(b"z").digest()
    combined = combine_sha256(file_sha256(xy), file_sha256(z))
    assert hashes[0] == hashlib.sha256(digests).hexdigest() == combined
    none = tmp_path / "none"
    assert error_of(file_sha256, none, "look for it") == f"{none}: missing; look for it"


def test_unit_hash_depends_on_salt_and_key():
    assert unit_hash("2026", "ab") == unit_hash("2026", "ab")
    values = {unit_hash(salt, key) for salt in ("1", "2") for key in ("a", "b")}
    assert len(values) == 4
    assert all(0 <= value < 1 for value in values)
