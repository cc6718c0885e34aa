"""The stage writes the contract's files, equal rows give equal bytes, and only train is learned."""

import itertools
import math
from pathlib import Path

import pandas as pd
import pytest
import ruamel.yaml
from tokenizers import Tokenizer

from pipeline import vectorize
from pipeline.core.files import read_json
from pipeline.core.schemas import SHARD, SPLITS
from pipeline.core.tables import read_parquet
from pipeline.preprocessing.size_checks import cut_problem
from pipeline.preprocessing.splits import SPLIT_RANK, split_of_campaign
from pipeline.preprocessing.time_windows import newest_rows
from tests.harness.errors import error_of
from tests.harness.small_project import stage_arguments
from tests.harness.split_oracle import (
    PARAMS,
    brute_force_split,
    campaign_texts,
    keys_of,
    message_table,
)

NETWORK = {"vocabulary_size": 400, "sequence_length": 30, "window_length": 250, "shard_rows": 20}
SECTION = PARAMS.model_dump() | NETWORK
FILES = (
    "messages.parquet tokenizer.json splits.parquet train val test report.json profile.json profile"
)
ARGUMENTS = stage_arguments("vectorize", *FILES.split())
TEXTS = campaign_texts(300, seed=31)
DAYS = [40 * i // 300 for i in range(300)]  # so that every time window has rows


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Runs vectorize on a table, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(rows, later_sections=None, **changes):
        params = {"vectorize": SECTION | changes, **(later_sections or {})}
        ruamel.yaml.YAML().dump(params, tmp_path / "params.yaml")
        rows.to_parquet("messages.parquet")
        vectorize.main(ARGUMENTS)

    return run


def splits_of(texts):
    """The splits of the texts, without time windows."""
    return [split_of_campaign(PARAMS.salt, key, PARAMS.split) for key in keys_of(texts)]


def outputs():
    """The bytes of all files that the stage wrote, by path."""
    inputs = ("messages.parquet", "params.yaml")
    files = [path for path in sorted(Path().rglob("*.*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in files if path.name not in inputs}


def figures(file="report.json"):
    return {name: figure["value"] for name, figure in read_json(Path(file))["figures"].items()}


def ids_in(name):
    return read_parquet(Path(name))["message_id"].to_pylist()


def tokens_of(word):
    return len(Tokenizer.from_file("tokenizer.json").encode(word).ids) - 1


# ---- the files


def test_splits_and_shards_are_the_contract(run):
    split, left_out = zip(*brute_force_split(TEXTS, DAYS).values(), strict=True)
    columns = {"campaign_key": keys_of(TEXTS), "split": split, "left_out": left_out}
    expected = message_table(TEXTS, DAYS).assign(**columns).sort_values("message_id")
    run(message_table(TEXTS, DAYS).sample(frac=1, random_state=1))
    splits = read_parquet(Path("splits.parquet"))
    assert splits.schema.equals(SPLITS)
    assert splits.to_pylist() == expected[SPLITS.names].to_dict("records")
    tokenizer = Tokenizer.from_file("tokenizer.json")
    used_rows = expected[~expected["left_out"] & ~newest_rows(expected)]
    for name in ("train", "val", "test"):
        used = used_rows[used_rows["split"] == name]
        shards = read_parquet(Path(name))
        assert shards.schema.equals(SHARD)
        assert len(list(Path(name).iterdir())) == math.ceil(len(used) / 20)
        token_ids = [tokenizer.encode(text).ids for text in used["text"]]
        columns = used["message_id"], used["campaign_key"], token_ids, used["label"] == "spam"
        assert [column.to_pylist() for column in shards.columns] == [*map(list, columns)]


def test_report_and_profile_count_the_rows_of_each_split(run, caplog):
    caplog.set_level("INFO")
    run(message_table(TEXTS, DAYS))
    report = figures()
    rows = {name: report[f"{name}.rows"] for name in SPLIT_RANK}
    near_copies = sum(report[f"{name}.left_out"] for name in SPLIT_RANK)
    retired = report["train.retired"] + report["val.retired"]
    assert read_json(Path("report.json"))["rows"] == sum(rows.values()) + near_copies + retired
    assert report["vocabulary_size"] == 400
    assert read_json(Path("tokenizer.json"))["truncation"]["window_length"] == 250
    assert 0 < report["newest.spam_share"] < 1
    assert caplog.messages[-1] == (
        f"vectorize: train {rows['train']}, val {rows['val']}, test {rows['test']}, "
        f"newest {rows['newest']}; left out: {near_copies} near-copies of other splits, "
        f"{retired} retired"
    )
    assert figures("profile.json")["newest.rows"] == rows["newest"]
    assert Path("profile/lengths_newest.csv").exists()


def test_cut_messages_are_counted_and_a_length_is_proposed(run, caplog):
    rows = message_table(TEXTS, DAYS)
    run(rows)
    tokenizer = Tokenizer.from_file("tokenizer.json")
    tokenizer.no_truncation()
    splits = read_parquet(Path("splits.parquet")).to_pandas().merge(rows, on="message_id")
    splits["tokens"] = [len(tokenizer.encode(text).ids) for text in splits["text"]]
    used = splits[~splits["left_out"]].groupby("split")["tokens"]
    for name, tokens in used:
        assert figures()[f"{name}.cut_share"] == pytest.approx((tokens > 30).mean(), abs=1e-6)
    train = used.get_group("train").sort_values().tolist()
    length = train[math.ceil(0.99 * len(train)) - 1]
    (line,) = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert line == f"warning: {cut_problem(train, 30)}"
    assert f"; set vectorize.sequence_length to {length} to hold" in line
    caplog.clear()
    run(rows, sequence_length=length)
    assert 0 <= figures()["train.cut_share"] <= 0.01
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize(
    ("step", "changes"),
    [(-1, {}), (1, {"newest_days": 0, "window_days": 1, "reservoir_rows": 0})],
    ids=["order of rows", "time params without dates"],
)
def test_bytes_do_not_depend_on(run, step, changes):
    rows = message_table(TEXTS[:150])
    run(rows)
    before = outputs()
    assert (figures()["newest.rows"], figures()["newest.spam_share"]) == (0, None)
    assert "profile/lengths_newest.csv" not in before
    run(rows[::step].reset_index(drop=True), **changes)
    assert outputs() == before


# ---- what is learned


def test_tokenizer_never_sees_val_or_test(run):
    names = itertools.cycle(("train", "val", "test"))
    worded = [f"{next(names)}onlyword {text}" for text in TEXTS]
    pairs = zip(worded, splits_of(worded), strict=True)
    texts = [text for text, split in pairs if text.startswith(split)]
    run(message_table(texts), vocabulary_size=5000)  # enough for every word that is seen twice
    assert tokens_of("trainonlyword") == 1
    assert min(tokens_of("valonlyword"), tokens_of("testonlyword")) > 3


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


def test_newest_rows_of_test_are_in_no_shard_even_if_no_other_row_is_as_new(run):
    days = [
        day if split == "test" else 0 for day, split in zip(DAYS, splits_of(TEXTS), strict=True)
    ]
    rows = message_table(TEXTS, days)
    run(rows, window_days=100)
    assert "newest" not in read_parquet(Path("splits.parquet"))["split"].to_pylist()
    learned = {id for name in ("train", "val", "test") for id in ids_in(name)}
    is_newest = pd.Series(days) > max(days) - PARAMS.newest_days
    assert is_newest.any()
    assert learned
    assert not learned & set(rows["message_id"][is_newest])


# ---- refusals


@pytest.mark.parametrize(
    ("splits", "kept"), [("train, val, test", []), ("val, test", ["ham"]), ("test", ["spam"])]
)
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


def test_sizes_that_later_stages_refuse_are_said_at_once(run, caplog):
    train = {"stop_share": 0.0001, "out_of_fold_rows": 0, "seed": 1}
    later = {"train": train, "evaluate": {"lost_ham_budget": 0.002}}
    stop_share, budget = error_of(run, message_table(TEXTS), later).split("\nerror: ")
    assert stop_share.startswith("params.yaml: train.stop_share: 0.0001 of train's campaigns, or ")
    assert budget.startswith("params.yaml: evaluate.lost_ham_budget: 0.002 needs 499 ham, ")
    assert outputs() == {}
    train |= {"stop_share": 0.3}
    later["evaluate"]["lost_ham_budget"] = 0.02
    assert "lost_ham_budget: 0.02 needs 49 ham" in error_of(run, message_table(TEXTS), later)
    train["out_of_fold_rows"] = 5_000  # then the ham of train counts, too
    run(message_table(TEXTS), later)
    caplog.clear()
    run(message_table(TEXTS), {"register": {"fewest_rows": 999}}, sequence_length=300)
    ham, spam = (record.message for record in caplog.records if record.levelname == "WARNING")
    assert ham.startswith("warning: test has ")
    assert spam.endswith(
        " spam, and needs 999 (register.fewest_rows): no model will become the champion"
    )
