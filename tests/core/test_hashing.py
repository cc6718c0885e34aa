"""pipeline/core/hashing.py"""

import hashlib

import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import (
    combine_sha256,
    file_sha256,
    files_sha256,
    message_id,
    unit_hash,
)


def test_message_id_is_a_prefix_of_sha256():
    assert message_id("hello") == "2cf24dba5fb0a30e"
    assert message_id(None) == message_id("")


def test_file_sha256_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    assert file_sha256(tmp_path / "a") == hashlib.sha256(b"hello").hexdigest()


@pytest.mark.parametrize(("name", "problem"), [("none", "missing"), ("", "Is a directory")])
def test_path_without_a_file_is_one_line(tmp_path, name, problem):
    with pytest.raises(PipelineError) as raised:
        file_sha256(tmp_path / name, "look for it")
    assert str(raised.value) == f"{tmp_path / name}: {problem}; look for it"


def test_files_sha256_depends_on_order_and_cut(tmp_path):
    for name, content in {"a": "xy", "b": "z", "c": "x", "d": "yz"}.items():
        (tmp_path / name).write_text(content)
    a, b, c, d = (tmp_path / name for name in "abcd")
    hashes = [files_sha256(*paths) for paths in ((a, b), (b, a), (c, d), (a,))]
    assert len(set(hashes)) == 4
    digests = hashlib.sha256(b"xy").digest() + hashlib.sha256(b"z").digest()
    assert hashes[0] == hashlib.sha256(digests).hexdigest()
    assert hashes[0] == combine_sha256(file_sha256(a), file_sha256(b))


def test_unit_hash_depends_on_salt_and_key():
    assert unit_hash("2026", "ab") == unit_hash("2026", "ab")
    values = [unit_hash(salt, key) for salt in ("1", "2") for key in ("a", "b")]
    assert len(set(values)) == 4
    assert all(0 <= value < 1 for value in values)
