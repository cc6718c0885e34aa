"""A package has the hashes, the answers and the seen rows of a model's files."""

import hashlib

import pandas as pd
import pytest

from pipeline.core.hashing import files_sha256
from pipeline.core.schemas import SEEN_ROWS
from pipeline.registry.model_package import hash_model, packaged_model
from pipeline.registry.restore import FILE_NAMES
from pipeline.registry.versions import EXAMPLES
from tests.harness.evaluated_project import Project


@pytest.fixture
def paths(store, tmp_path):
    Project(tmp_path, store)
    return {name: tmp_path / file for name, file in FILE_NAMES.items()}


def test_model_hash_covers_network_tokenizer_and_decision(paths):
    hashes = hash_model(**paths)
    contents = (paths[name].read_bytes() for name in ("network", "tokenizer", "decision"))
    digests = [hashlib.sha256(content).digest() for content in contents]
    assert hashes.model == hashlib.sha256(b"".join(digests)).hexdigest()
    assert hashes.network == files_sha256(paths["network"])  # as train tags its run
    md5s = {name: hashlib.md5(path.read_bytes()).hexdigest() for name, path in paths.items()}
    assert hashes.md5s == md5s
    paths["splits"].write_bytes(b"")
    assert hash_model(**paths).model == hashes.model


@pytest.mark.slow
def test_package_has_the_answer_to_the_examples_and_the_seen_rows(paths):
    rows = pd.read_parquet(paths["splits"])
    rows.loc[::5, "split"] = "newest"
    with packaged_model(**paths | {"splits": rows}) as package:
        files = package.files()
        seen = pd.read_parquet(files.seen)
        assert (files.network / "saved_model.pb").exists()
        pd.testing.assert_frame_equal(files.answer, package.answers(EXAMPLES))
    assert files.evaluated is None
    assert_seen(seen, rows, "train", "val")


@pytest.mark.slow
def test_refitted_package_answers_with_both_networks_and_has_seen_test_too(paths, store):
    rows = pd.read_parquet(paths["splits"])
    project = Project(paths["network"].parent, store)
    with packaged_model(**paths | {"splits": rows}) as package:
        before = package.answers(EXAMPLES)
    project.refit(seed=2)
    with packaged_model(**paths | {"splits": rows}) as package:
        files = package.files()
        assert_seen(pd.read_parquet(files.seen), rows, "train", "val", "test")
        assert (files.evaluated / "saved_model.pb").exists()
        assert not package.answers(EXAMPLES).equals(before)
        pd.testing.assert_frame_equal(package.evaluated_answers(EXAMPLES), before)


def assert_seen(seen, rows, *splits):
    """The seen rows are all used rows of these splits."""
    used = rows[rows["split"].isin(splits) & ~rows["left_out"]]
    assert 0 < len(used) < len(rows)
    pd.testing.assert_frame_equal(seen, used[SEEN_ROWS.names].reset_index(drop=True))
