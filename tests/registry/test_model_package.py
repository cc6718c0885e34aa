"""A package has the hashes, the answers and the seen rows of a model's files."""

import hashlib

import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import files_sha256
from pipeline.registry.model_package import hash_model, packaged_model
from pipeline.registry.versions import EXAMPLE_TEXTS
from tests.harness.evaluated_project import Project

FILES = {
    "tokenizer": "tokenizer.json",
    "network": "model.keras",
    "decision": "decision.json",
    "splits": "splits.parquet",
}


@pytest.fixture
def paths(store, tmp_path):
    """The files of a model, with rows of the split newest."""
    Project(tmp_path, store).set_newest(lambda row: row % 5 == 0)
    return {name: tmp_path / file for name, file in FILES.items()}


def package_of(paths):
    return packaged_model(**{**paths, "splits": pd.read_parquet(paths["splits"])})


def test_model_hash_covers_network_tokenizer_and_decision(paths):
    hashes = hash_model(**paths)
    contents = (paths[name].read_bytes() for name in ("network", "tokenizer", "decision"))
    digests = [hashlib.sha256(content).digest() for content in contents]
    assert hashes.model == hashlib.sha256(b"".join(digests)).hexdigest()
    assert hashes.network == files_sha256(paths["network"])  # as train tags its run
    paths["splits"].write_bytes(b"")
    assert hash_model(**paths).model == hashes.model


def test_md5s_are_the_names_in_dvcs_cache(paths):
    md5s = {name: hashlib.md5(path.read_bytes()).hexdigest() for name, path in paths.items()}
    assert list(hash_model(**paths).md5s.items()) == list(md5s.items())


@pytest.mark.slow
def test_package_has_an_example_and_the_seen_rows(paths):
    with package_of(paths) as package:
        files = package.files()
        seen = pd.read_parquet(files.seen)
        assert (files.network / "saved_model.pb").exists()
        assert files.example["text"].tolist() == EXAMPLE_TEXTS
        pd.testing.assert_frame_equal(files.answer, package.answers(EXAMPLE_TEXTS))
        names = [requirement.partition("==")[0] for requirement in files.requirements]
        assert names == ["mlflow", "tensorflow", "tokenizers", "pandas", "numpy"]
    rows = pd.read_parquet(paths["splits"])
    used = rows[rows["split"].isin(["train", "val"]) & ~rows["left_out"]]
    assert set(rows["split"]) == {"train", "val", "test", "newest"}
    assert 0 < len(used) < len(rows)
    pd.testing.assert_frame_equal(seen, used[["message_id", "campaign_key"]].reset_index(drop=True))


def test_damaged_network_is_one_line(paths):
    paths["network"].write_bytes(b"garbled")
    with (
        package_of(paths) as package,
        pytest.raises(PipelineError, match="not a Keras network"),
    ):
        package.answers(["hello"])
