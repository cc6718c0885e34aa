"""The stage writes the contract's files, equal rows give equal bytes, and only train is learned."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ruamel.yaml
from tokenizers import Tokenizer

from pipeline import vectorize
from pipeline.core.files import read_json
from pipeline.core.hashing import message_id
from pipeline.core.params import parse_params
from pipeline.core.schemas import SHARD, SPLITS
from pipeline.core.tables import read_parquet
from pipeline.preprocessing.near_duplicates import campaign_keys
from pipeline.preprocessing.splits import SPLIT_RANK, split_of_campaign
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT, stage_arguments
from tests.harness.split_oracle import PARAMS, brute_force_split, campaign_texts, message_table

SECTION = PARAMS.model_dump() | {"vocabulary_size": 400, "sequence_length": 30, "shard_rows": 20}
FILES = "messages.parquet tokenizer.json splits.parquet train val report.json profile.json profile"
ARGUMENTS = stage_arguments("vectorize", *FILES.split())
TEXTS = campaign_texts(300, seed=31)
DAYS = [40 * i // 300 for i in range(300)]  # so that every time window has rows


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs vectorize on a table, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(rows, **changes):
        ruamel.yaml.YAML().dump({"vectorize": SECTION | changes}, tmp_path / "params.yaml")
        rows.to_parquet("messages.parquet")
        vectorize.main(ARGUMENTS)

    return run


def keys_of(texts):
    return [f"{key:016x}" for key in campaign_keys(texts)]


def splits_of(texts):
    """Their splits, without time windows."""
    return [split_of_campaign(PARAMS.salt, key, PARAMS.split) for key in keys_of(texts)]


def outputs():
    """The bytes of all files that the stage wrote, by path."""
    inputs = ("messages.parquet", "params.yaml")
    files = [path for path in sorted(Path().rglob("*.*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in files if path.name not in inputs}


def figures():
    figures = read_json(Path("report.json"))["figures"]
    return {name: figure["value"] for name, figure in figures.items()}


def tokens_of(word):
    return len(Tokenizer.from_file("tokenizer.json").encode(word).ids) - 1


# ---- the files


def test_splits_and_shards_are_the_contract(run):
    run(message_table(TEXTS, DAYS).sample(frac=1, random_state=1))
    expected = brute_force_split(TEXTS, PARAMS, DAYS)
    rows = {
        message_id(text): {"text": text, "campaign_key": key, "label": int(i % 3 == 0)}
        for i, (text, key) in enumerate(zip(TEXTS, keys_of(TEXTS), strict=True))
    }
    splits = read_parquet(Path("splits.parquet"))
    assert splits.schema.equals(SPLITS)
    assert [tuple(row.values()) for row in splits.to_pylist()] == [
        (i, expected[rows[i]["text"]][0], rows[i]["campaign_key"], expected[rows[i]["text"]][1])
        for i in sorted(rows)
    ]
    tokenizer = Tokenizer.from_file("tokenizer.json")
    for split in ("train", "val"):
        shards = read_parquet(Path(split))
        assert shards.schema.equals(SHARD)
        used = [i for i in sorted(rows) if expected[rows[i]["text"]] == (split, False)]
        assert shards["message_id"].to_pylist() == used
        assert len(list(Path(split).iterdir())) == math.ceil(len(used) / 20)
        for column in ("label", "campaign_key"):
            assert shards[column].to_pylist() == [rows[i][column] for i in used]
        token_ids = [tokenizer.encode(rows[i]["text"]).ids for i in used]
        assert shards["token_ids"].to_pylist() == token_ids


def test_report_and_profile_count_the_rows_of_each_split(run, caplog):
    caplog.set_level("INFO")
    run(message_table(TEXTS, DAYS))
    assert read_json(Path("report.json"))["rows"] == 300
    report = figures()
    rows = {name: report[f"{name}.rows"] for name in SPLIT_RANK}
    near_copies = sum(report[f"{name}.left_out"] for name in SPLIT_RANK)
    retired = report["train.retired"] + report["val.retired"]
    assert sum(rows.values()) + near_copies + retired == 300
    assert rows["train"] == read_parquet(Path("train")).num_rows
    assert report["vocabulary_size"] == 400
    assert 0 < report["newest.spam_share"] < 1
    assert caplog.messages[-1] == (
        f"vectorize: train {rows['train']}, val {rows['val']}, test {rows['test']}, "
        f"newest {rows['newest']}; left out: {near_copies} near-copies of other splits, "
        f"{retired} retired"
    )
    assert read_json(Path("profile.json"))["figures"]["newest.rows"]["value"] == rows["newest"]
    assert Path("profile/lengths_newest.csv").exists()


def test_without_dates_newest_is_empty(run):
    run(message_table(TEXTS[:150]))
    report = figures()
    assert (report["newest.rows"], report["newest.spam_share"]) == (0, None)
    assert not Path("profile/lengths_newest.csv").exists()


# ---- equal rows give equal bytes


@pytest.mark.parametrize(
    ("step", "changes"),
    [(-1, {}), (1, {"newest_days": 0, "window_days": 1, "reservoir_rows": 0})],
    ids=["order of rows", "time params without dates"],
)
def test_bytes_do_not_depend_on(run, step, changes):
    rows = message_table(TEXTS[:150])
    run(rows)
    before = outputs()
    run(rows[::step].reset_index(drop=True), **changes)
    assert outputs() == before


@pytest.mark.slow
def test_hash_seed_changes_no_byte(run):
    run(message_table(TEXTS[:150]))
    before = outputs()
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.vectorize", *ARGUMENTS]
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert outputs() == before


# ---- what is learned


def test_tokenizer_never_sees_val_or_test(run):
    words = {"train": "trainonlyword", "val": "valonlyword", "test": "testonlyword"}
    cycle = itertools.cycle(words.values())
    worded = [f"{next(cycle)} {text}" for text in TEXTS]
    pairs = zip(worded, splits_of(worded), strict=True)
    texts = [text for text, split in pairs if words[split] in text]
    assert min(sum(word in text for text in texts) for word in words.values()) > 5
    run(message_table(texts), vocabulary_size=5000)  # enough for every word that is seen twice
    assert tokens_of(words["train"]) == 1
    assert min(tokens_of(words["val"]), tokens_of(words["test"])) > 3


def test_tokenizer_sees_neither_newest_nor_retired_rows(run):
    newest, retired = "newestonlyword", "retiredonlyword"
    texts = [
        f"{newest if day > 32 else retired} {text}" if not 20 < day <= 32 else text
        for text, day in zip(TEXTS, DAYS, strict=True)
    ]
    run(message_table(texts, DAYS), vocabulary_size=5000, reservoir_rows=0)
    assert min(tokens_of(newest), tokens_of(retired)) > 3
    run(message_table(texts), vocabulary_size=5000)
    assert (tokens_of(newest), tokens_of(retired)) == (1, 1)


# ---- refusals


@pytest.mark.parametrize("splits", ["train, val, test", "val, test", "test"])
@pytest.mark.parametrize("kept", [["ham"], []], ids=["no spam", "no rows"])
def test_a_split_without_both_labels_is_refused_unwritten(run, splits, kept):
    rows = message_table(TEXTS).assign(split=splits_of(TEXTS))
    error = error_of(run, rows[rows["label"].isin(kept) | ~rows["split"].isin(splits.split(", "))])
    assert error == f"messages.parquet: no ham or no spam in {splits}; bring more messages"
    assert outputs() == {}


def test_if_all_rows_are_newest_the_error_names_newest_days(run):
    rows = message_table(TEXTS, [20] * 300)
    assert error_of(run, rows) == (
        "messages.parquet: no ham or no spam in train, val; bring more messages, "
        "or lower vectorize.newest_days"
    )
    run(rows, newest_days=0)


@pytest.mark.parametrize(
    ("key", "value", "least"),
    [("vocabulary_size", 299, 300), ("sequence_length", 1, 2), ("shard_rows", 0, 1)],
)
def test_params_out_of_range_are_refused(key, value, least):
    error = error_of(parse_params, vectorize.Params, SECTION | {key: value}, "section")
    problem = f"input should be greater than or equal to {least}, not {value}"
    assert error == f"section.{key}: {problem}"
