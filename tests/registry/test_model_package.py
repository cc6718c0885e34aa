"""A package answers as the registry's model does, and says what the model has seen."""

import hashlib

import pandas as pd
import pytest

from pipeline.core.dvc_cache import file_md5
from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from pipeline.registry.model_package import packaged
from tests.harness.evaluated_project import Project

PARTS = ["tokenizer", "network", "decision", "splits"]


@pytest.fixture
def paths(store, tmp_path):
    Project(tmp_path, store).newest(lambda row: row % 5 == 0)
    return [
        tmp_path / name
        for name in ("tokenizer.json", "model.keras", "decision.json", "splits.parquet")
    ]


def test_model_hash_is_of_network_tokenizer_and_decision_alone(paths):
    with packaged(*paths) as package:
        before = package.model_hash
    tokenizer, network, decision = (
        hashlib.sha256(path.read_bytes()).digest() for path in paths[:3]
    )
    assert before == hashlib.sha256(network + tokenizer + decision).hexdigest()
    paths[3].write_bytes(b"")
    with packaged(*paths) as package:
        assert package.model_hash == before


def test_md5s_are_by_part_as_dvc_names_them(paths):
    with packaged(*paths) as package:
        assert package.md5s() == dict(zip(PARTS, map(file_md5, paths), strict=True))


@pytest.mark.slow
def test_files_are_those_of_the_model_with_an_example_and_what_it_has_seen(paths):
    with packaged(*paths) as package:
        files = package.files()
        seen = pd.read_parquet(files.seen)
        assert (files.network / "saved_model.pb").exists()
        assert files.example["text"].tolist() == versions.EXAMPLES
        pd.testing.assert_frame_equal(files.answer, package.answers(versions.EXAMPLES))
        assert [pin.partition("==")[0] for pin in files.requirements] == [
            *("mlflow", "tensorflow", "tokenizers", "pandas", "numpy")
        ]
    rows = pd.read_parquet(paths[3])
    used = rows[rows["split"].isin(["train", "val"]) & ~rows["left_out"]]
    assert set(rows["split"]) == {"train", "val", "test", "newest"}
    assert 0 < len(used) < len(rows)
    pd.testing.assert_frame_equal(seen, used[["message_id", "campaign_key"]].reset_index(drop=True))


@pytest.mark.slow
def test_network_that_is_none_is_one_line(paths):
    paths[1].write_bytes(b"garbled")
    with (
        packaged(*paths) as package,
        pytest.raises(PipelineError, match="not a Keras network"),
    ):
        package.answers(["hello"])
