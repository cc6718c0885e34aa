"""The stage writes the contract's files, equal rows give equal bytes, and only train is learned."""

import itertools
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import ruamel.yaml
from tokenizers import Tokenizer

from pipeline import vectorize
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.hashing import message_id
from pipeline.core.schemas import SHARD, SPLITS
from pipeline.core.tables import read_parquet
from pipeline.preprocessing.near_duplicates import campaign_keys, jaccard, shingles
from pipeline.preprocessing.normalize import mask
from pipeline.preprocessing.splits import SPLIT_RANK, split_of_campaign
from tests.harness.small_project import ROOT, stage_arguments
from tests.harness.split_oracle import (
    PARAMS,
    assigned,
    brute_force_split,
    campaign_texts,
    message_table,
)

SECTION = PARAMS.model_dump() | {"vocabulary_size": 400, "sequence_length": 30, "shard_rows": 50}
PATHS = [
    "messages.parquet",
    "tokenizer.json",
    "splits.parquet",
    "train",
    "val",
    "report.json",
    "profile.json",
    "profile",
]
FORTY_DAYS = [40 * i // 600 for i in range(600)]  # so that every time window has rows


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs vectorize on a table, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(rows, **changes):
        ruamel.yaml.YAML().dump({"vectorize": SECTION | changes}, tmp_path / "params.yaml")
        rows.to_parquet("messages.parquet")
        vectorize.main(stage_arguments("vectorize", *PATHS))

    return run


def outputs(*inputs):
    """The bytes of all files but the stage's lock and these inputs."""
    files = [path for path in sorted(Path().rglob("*.*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in files if path.name not in inputs}


def tokens_of(word):
    return len(Tokenizer.from_file("tokenizer.json").encode(word).ids) - 1


# ---- the files


def test_splits_file_is_the_contract(run):
    texts = campaign_texts(200, seed=3)
    run(message_table(texts).sample(frac=1, random_state=1))
    splits = read_parquet(Path("splits.parquet"))
    assert splits.schema.equals(SPLITS)
    rows = {row["message_id"]: row for row in splits.to_pylist()}
    assert list(rows) == sorted(map(message_id, texts))
    for text, (split, left_out) in brute_force_split(texts, PARAMS).items():
        assert rows[message_id(text)] == {
            "message_id": message_id(text),
            "split": split,
            "campaign_key": f"{campaign_keys([text])[0]:016x}",
            "left_out": left_out,
        }


def test_shards_are_the_contract(run):
    texts = campaign_texts(200, seed=3)
    table = message_table(texts).set_index("message_id")
    run(table.reset_index().sample(frac=1, random_state=1))
    expected = brute_force_split(texts, PARAMS)
    tokenizer = Tokenizer.from_file("tokenizer.json")
    for split in ("train", "val"):
        files = sorted(Path(split).iterdir())
        assert [file.name for file in files] == [
            f"shard-{i:05d}.parquet" for i in range(len(files))
        ]
        assert {pq.read_metadata(file).num_rows for file in files[:-1]} <= {50}
        shards = read_parquet(Path(split))
        assert shards.schema.equals(SHARD)
        ids = [i for i in sorted(table.index) if expected[table["text"][i]] == (split, False)]
        used = table.loc[ids]
        assert shards["message_id"].to_pylist() == ids
        assert shards["label"].to_pylist() == (used["label"] == "spam").astype(int).tolist()
        keys = [f"{key:016x}" for key in campaign_keys(used["text"].tolist())]
        assert shards["campaign_key"].to_pylist() == keys
        token_ids = [tokenizer.encode(text).ids for text in used["text"]]
        assert shards["token_ids"].to_pylist() == token_ids
    assert len(list(Path("train").iterdir())) > 1


def test_report_and_profile_count_the_rows_of_each_split(run, caplog):
    caplog.set_level("INFO")
    texts = campaign_texts(600, seed=31)
    run(message_table(texts, FORTY_DAYS))
    report = read_json(Path("report.json"))
    assert report["rows"] == 600
    figures = {name: figure["value"] for name, figure in report["figures"].items()}
    rows = {name: figures[f"{name}.rows"] for name in SPLIT_RANK}
    near_copies = sum(figures[f"{name}.left_out"] for name in SPLIT_RANK)
    retired = figures["train.retired"] + figures["val.retired"]
    assert sum(rows.values()) + near_copies + retired == 600
    assert rows["train"] == read_parquet(Path("train")).num_rows
    assert figures["vocabulary_size"] == 400
    assert 0 < figures["newest.spam_share"] < 1
    assert caplog.messages[-1] == (
        f"vectorize: train {rows['train']}, val {rows['val']}, test {rows['test']}, "
        f"newest {rows['newest']}; left out: {near_copies} like a row of a higher split, "
        f"{retired} retired"
    )
    assert read_json(Path("profile.json"))["figures"]["newest.rows"]["value"] == rows["newest"]
    assert Path("profile/lengths_newest.csv").exists()
    run(message_table(texts))
    figures = read_json(Path("report.json"))["figures"]
    assert figures["newest.rows"]["value"] == 0
    assert figures["newest.spam_share"] == {"value": None, "n": 0}
    assert not Path("profile/lengths_newest.csv").exists()


# ---- equal rows give equal bytes


def test_order_of_rows_changes_no_byte(run):
    rows = message_table(campaign_texts(150, seed=3))
    run(rows)
    before = outputs("messages.parquet")
    run(rows[::-1].reset_index(drop=True))
    assert outputs("messages.parquet") == before


def test_without_dates_no_time_param_changes_a_byte(run):
    rows = message_table(campaign_texts(150, seed=3))
    run(rows)
    before = outputs("params.yaml")
    run(rows, newest_days=0, window_days=1, reservoir_rows=0)
    assert outputs("params.yaml") == before


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "2"])
def test_hash_seed_changes_no_byte(run, seed):
    run(message_table(campaign_texts(150, seed=3)))
    before = outputs()
    arguments = stage_arguments("vectorize", *PATHS)
    env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "pipeline.vectorize", *arguments]
    subprocess.run(command, env=env, check=True, capture_output=True)
    assert outputs() == before


# ---- what is learned


def test_tokenizer_never_sees_val_or_test(run):
    words = {"train": "trainonlyword", "val": "valonlyword", "test": "testonlyword"}
    bodies = campaign_texts(400, seed=13)
    worded = [
        f"{word} {body}"
        for word, body in zip(itertools.cycle(words.values()), bodies, strict=False)
    ]
    keys = [f"{key:016x}" for key in campaign_keys(worded)]
    splits = [split_of_campaign(PARAMS.salt, key, PARAMS.split) for key in keys]
    texts = [text for text, split in zip(worded, splits, strict=True) if words[split] in text]
    assert min(sum(word in text for text in texts) for word in words.values()) > 5
    run(message_table(texts), vocabulary_size=5000)  # enough for every word that is seen twice
    assert tokens_of(words["train"]) == 1
    assert tokens_of(words["val"]) > 3
    assert tokens_of(words["test"]) > 3


def test_tokenizer_sees_neither_newest_nor_retired_rows(run):
    bodies = campaign_texts(600, seed=31)
    newest, retired = "newestonlyword", "retiredonlyword"
    texts = [
        f"{newest if day > 32 else retired} {body}" if not 20 < day <= 32 else body
        for body, day in zip(bodies, FORTY_DAYS, strict=True)
    ]
    run(message_table(texts, FORTY_DAYS), vocabulary_size=5000, reservoir_rows=0)
    assert min(tokens_of(newest), tokens_of(retired)) > 3
    run(message_table(texts), vocabulary_size=5000)
    assert (tokens_of(newest), tokens_of(retired)) == (1, 1)


def test_shards_hold_no_near_copy_of_a_newest_row(run):
    texts = {message_id(text): text for text in campaign_texts(600, seed=31)}
    run(message_table(list(texts.values()), FORTY_DAYS))
    splits = read_parquet(Path("splits.parquet")).to_pandas().set_index("message_id")
    newest = splits[splits["split"] == "newest"]
    used = newest.index[~newest["left_out"]]
    assert len(newest) - len(used) > 5
    assert len(used) > 20
    learned = [
        i for name in ("train", "val") for i in read_parquet(Path(name))["message_id"].to_pylist()
    ]
    assert not splits.loc[learned, "left_out"].any()
    assert set(splits.loc[learned, "split"]) == {"train", "val"}
    sets = {i: shingles(mask(text)) for i, text in texts.items()}
    pairs = itertools.product(learned, used)
    assert max(jaccard(sets[a], sets[b]) for a, b in pairs) < 0.8


# ---- refusals


def spam_dropped_from(*splits):
    """A table without the spam of these splits."""
    texts = campaign_texts(200, seed=3)
    rows = message_table(texts)
    split = rows["text"].map({text: split for text, (split, _) in assigned(texts).items()})
    return rows[(rows["label"] == "ham") | ~split.isin(splits)]


@pytest.mark.parametrize(
    ("rows", "splits"),
    [
        (spam_dropped_from("train", "val", "test"), "train, val, test"),
        (spam_dropped_from("val", "test"), "val, test"),
        (spam_dropped_from("test"), "test"),
        (message_table([]), "train, val, test"),
    ],
    ids=["no spam", "train only", "no spam in test", "no rows"],
)
def test_a_split_without_both_labels_is_refused_unwritten(run, rows, splits):
    with pytest.raises(PipelineError) as error:
        run(rows)
    problem = f"no ham or no spam in {splits}"
    assert str(error.value) == f"messages.parquet: {problem}; bring more messages"
    assert sorted(outputs()) == ["messages.parquet", "params.yaml"]


def test_if_all_rows_are_newest_the_error_names_newest_days(run):
    rows = message_table(campaign_texts(200, seed=3), [20] * 200)
    with pytest.raises(PipelineError) as error:
        run(rows)
    problem = "messages.parquet: no ham or no spam in train, val; bring more messages"
    assert str(error.value) == f"{problem}, or lower vectorize.newest_days"
    run(rows, newest_days=0)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"split": {"train": 0.8, "val": 0.15, "test": 0.15}},
            "split: the shares must add up to 1",
        ),
        ({"newest_days": -1}, "newest_days: input should be greater than or equal to 0, not -1"),
        ({"newest_days": 36_501}, "newest_days: input should be less than or equal to 36500, "),
        ({"window_days": 0}, "window_days: input should be greater than 0, not 0"),
        ({"window_days": 36_501}, "window_days: input should be less than or equal to 36500, "),
        ({"reservoir_rows": -1}, "reservoir_rows: input should be greater than or equal to 0, "),
        ({"reservoir_rows": 10**10}, "reservoir_rows: input should be less than or equal to 10000"),
        ({"salt": 2026}, "salt: input should be a valid string, not 2026"),
        ({"vocabulary_size": 299}, "vocabulary_size: input should be greater than or equal to 300"),
        ({"sequence_length": 1}, "sequence_length: input should be greater than or equal to 2, "),
        ({"shard_rows": 0}, "shard_rows: input should be greater than or equal to 1, not 0"),
    ],
)
def test_params_out_of_range_are_refused(run, changes, line):
    with pytest.raises(PipelineError) as error:
        run(message_table(["hi"]), **changes)
    assert str(error.value).startswith(f"params.yaml: vectorize.{line}")
    assert "\n" not in str(error.value)


def test_a_split_share_of_0_or_1_is_refused(run):
    with pytest.raises(PipelineError) as error:
        run(message_table(["hi"]), split={"train": 1, "val": 0, "test": 0})
    assert str(error.value).splitlines() == [
        "params.yaml: vectorize.split.train: input should be less than 1, not 1",
        "error: params.yaml: vectorize.split.val: input should be greater than 0, not 0",
        "error: params.yaml: vectorize.split.test: input should be greater than 0, not 0",
    ]
