"""Splits by campaign, fits a sub-word tokenizer on train alone, and turns text into token ids."""

import json
import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import sentencepiece
from numpy.typing import NDArray
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from pipeline import profile, stage, text
from pipeline.stage import Figure, PipelineError

log = logging.getLogger(__name__)

Names = NDArray[np.object_]  # (n,), the split of each wording: train, val or test

PAD, START = "[PAD]", "[START]"  # ids 0 and 1; every message begins with START, so that none is empty
CLASSES = "ham", "spam"
RANK = {"train": 0, "val": 1, "test": 2}  # a near-copy stays in the higher split
SPLITS = pa.schema(
    {
        "message_id": pa.string(),
        "split": pa.string(),
        "campaign_key": pa.string(),  # 16 hexadecimal digits
        "left_out": pa.bool_(),  # a near-copy of it lies in a higher split
    }
)
SHARD = pa.schema(
    {
        "message_id": pa.string(),
        "campaign_key": pa.string(),
        "token_ids": pa.list_(pa.int32()),  # at least one, at most sequence_length
        "label": pa.int8(),  # spam is 1
    }
)


@dataclass(frozen=True)
class Shares:
    train: float
    val: float
    test: float

    def __post_init__(self) -> None:
        if min(self.train, self.val, self.test) <= 0 or abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError("the shares must be above 0 and add up to 1")


@dataclass(frozen=True)
class Params:
    split: Shares  # of campaigns
    salt: str  # another salt is another split
    vocabulary_size: int  # sub-words
    sequence_length: int  # tokens; what is longer is cut
    shard_rows: int  # messages a shard

    def __post_init__(self) -> None:
        if not 300 <= self.vocabulary_size <= 1_000_000:
            raise ValueError("vocabulary_size must be 300 to 1,000,000: 256 bytes, and some words")
        if not (2 <= self.sequence_length <= 100_000 and 1 <= self.shard_rows <= 1_000_000):
            raise ValueError("sequence_length must be 2 to 100,000 and shard_rows 1 to 1,000,000")


# ---- the split


def split_of(salt: str, campaign_key: str, shares: Shares) -> str:
    """`train`, `val` or `test`."""
    position = text.share_of(salt, campaign_key)
    return "train" if position < shares.train else "val" if position < shares.train + shares.val else "test"


def left_out(split: Names, near: text.Near) -> NDArray[np.bool_]:
    """(n,): the wordings that have a near-copy in a higher split."""
    rank, pairs = np.array([RANK[name] for name in split]), near.pairs
    straddling = pairs[rank[pairs[:, 0]] != rank[pairs[:, 1]]]
    lower = np.where(rank[straddling[:, 0]] < rank[straddling[:, 1]], straddling[:, 0], straddling[:, 1])
    out = np.zeros(len(split), np.bool_)
    out[lower] = True
    for crowd in near.crowds:
        out[crowd[rank[crowd] < rank[crowd].max()]] = True
    return out


def random_split_leak(rows: pd.DataFrame, near: text.Near, train: float, among: pd.Series) -> float:
    """The expected share of `among`'s test rows that a random split would leave a copy of in train.

    Over all random splits of the rows as they came: a row in test leaks unless all of its copies and
    near-copies escaped train, which happens with probability (1 - train) ** others.
    """
    of_wording = np.bincount(rows["wording"], rows["copies"])
    alike, pairs = of_wording.copy(), near.pairs
    np.add.at(alike, pairs[:, 0], of_wording[pairs[:, 1]])
    np.add.at(alike, pairs[:, 1], of_wording[pairs[:, 0]])
    for crowd in near.crowds:
        alike[crowd] = np.maximum(alike[crowd], of_wording[crowd].sum())
    leaks = 1 - (1 - train) ** (alike[rows["wording"]] - 1)
    return float(np.average(leaks[among], weights=rows["copies"][among]))


# ---- the tokenizer


def fit_tokenizer(texts: Iterable[str], params: Params) -> Tokenizer:
    """A byte-level BPE tokenizer: no text is unknown to it, and none is empty.

    Its normaliser is `text.canonicalise`, so that whoever loads its one JSON file canonicalises alike.
    Source: Sennrich, Haddow, Birch 2016; Radford and others 2019 for bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    disguises = (normalizers.Replace(Regex(pattern), plain) for pattern, plain in text.DISGUISES.items())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(character_map()), normalizers.NFKC(), *disguises]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=params.vocabulary_size,
        special_tokens=[PAD, START],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START} $A", special_tokens=[(START, 1)]
    )
    tokenizer.enable_truncation(params.sequence_length)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = []  # or "[PAD]", written in a message, would become id 0
    return Tokenizer.from_str(json.dumps(spec))


def character_map() -> bytes:
    """What `text.canonicalise` does to single characters, as the trie that a tokenizer looks them up in.

    A regular expression for each letter and its look-alikes would take longer than the whole tokenizer.
    """
    model = BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        rules.writelines(
            f"{ord(char):X}\t{plain and f'{ord(plain):X}'}\n" for char, plain in text.CHARACTERS.items()
        )
        rules.flush()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["a"]),
            model_writer=model,
            vocab_size=8,
            hard_vocab_limit=False,
            normalization_rule_tsv=rules.name,
            minloglevel=2,
        )
    spec = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue()).normalizer_spec
    return spec.precompiled_charsmap


def token_ids(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The ids of each text, 1 to sequence_length of them, none of them 0."""
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(texts)]


def shards(rows: pd.DataFrame, tokenizer: Tokenizer, shard_rows: int) -> Iterator[pa.Table]:
    """The rows as tables of SHARD, `shard_rows` each, in the order given."""
    for start in range(0, max(1, len(rows)), shard_rows):
        part = rows.iloc[start : start + shard_rows]
        yield pa.Table.from_arrays(
            [
                pa.array(part["message_id"], pa.string()),
                pa.array(part["campaign_key"], pa.string()),
                pa.array(token_ids(part["text"].tolist(), tokenizer), SHARD.field("token_ids").type),
                pa.array((part["label"] == "spam").astype("int8"), pa.int8()),
            ],
            schema=SHARD,
        )


def divide(messages: pd.DataFrame, params: Params) -> tuple[pd.DataFrame, text.Near]:
    """The messages with `campaign_key`, `split`, `wording` and `left_out`, and which wordings are near.

    Messages of one wording have one campaign key, and so one split.
    """
    texts = messages["text"].tolist()
    keys = [f"{key:016x}" for key in text.campaign_keys(texts)]
    split = np.array([split_of(params.salt, key, params.split) for key in keys], object)
    wordings, wording = text.wordings(texts)
    near = text.near_copies(wordings)
    out = left_out(split[np.unique(wording, return_index=True)[1]], near)[wording]
    return messages.assign(campaign_key=keys, split=split, wording=wording, left_out=out), near


def figures_of(rows: pd.DataFrame, near: text.Near, params: Params) -> dict[str, Figure]:
    """Rows, spam share and left-out rows a split, and how much a random split would have leaked."""
    figures = {}
    for name in RANK:
        part = rows[(rows["split"] == name) & ~rows["left_out"]]
        figures[f"{name}.rows"] = Figure(len(part))
        figures[f"{name}.spam_share"] = Figure((part["label"] == "spam").mean(), n=len(part))
        figures[f"{name}.left_out"] = Figure(((rows["split"] == name) & rows["left_out"]).sum())
    for name, among in {"messages": rows["label"].notna(), "spam": rows["label"] == "spam"}.items():
        leak = random_split_leak(rows, near, params.split.train, among)
        figures[f"random_split_leak.{name}"] = Figure(leak, n=int(rows["copies"][among].sum()))
    wordings = rows.drop_duplicates("wording")
    split, leaking = wordings["split"].where(~wordings["left_out"]), set[int]()
    for group in [*near.pairs, *near.crowds]:
        if split.iloc[group].nunique() > 1:
            leaking.update(group.tolist())
    figures["leak"] = Figure(rows["wording"].isin(leaking).sum(), n=len(rows))
    figures["crowded"] = Figure(len(set[int]().union(*map(np.ndarray.tolist, near.crowds))), n=len(wordings))
    return figures


def write_profile(used: Mapping[str, pd.DataFrame], tokenizer: Tokenizer, report: Path, folder: Path) -> None:
    """What each split is made of, as a report and as tables for plots."""
    counts = {
        name: [len(ids) for ids in token_ids(part["text"].tolist(), tokenizer)] for name, part in used.items()
    }
    found = profile.describe(used)
    rows = sum(map(len, used.values()))
    stage.write_report(report, rows, profile.figures(found, counts), f"{rows:,} rows in {len(used)} splits")
    with stage.replacing(folder) as temporary:
        temporary.mkdir()
        for name, (columns, table) in profile.tables(found, counts).items():
            for part in CLASSES if name == "terms" else used:
                own = (row[1:] for row in table if row[0] == part)
                stage.write_csv(temporary / f"{name}_{part}.csv", columns[1:], own)


def main(argv: list[str] | None = None) -> None:
    names = "messages", "tokenizer", "splits", "train", "val", "report", "profile", "tables"
    messages, tokenizer_path, splits, train, val, report, described, tables = stage.paths(
        argv, __doc__, *names
    )
    params = stage.read_params(Params, "vectorize")

    columns = ["message_id", "text", "label", "copies"]
    rows, near = divide(stage.read_parquet(messages, columns).sort_by("message_id").to_pandas(), params)
    used = {name: rows[(rows["split"] == name) & ~rows["left_out"]] for name in RANK}
    if short := [name for name, part in used.items() if part["label"].nunique() < 2]:
        raise PipelineError(f"{messages}: no ham or no spam in {', '.join(short)}; bring more messages")
    tokenizer = fit_tokenizer(used["train"]["text"], params)
    figures = figures_of(rows, near, params)
    figures["vocabulary_size"] = Figure(tokenizer.get_vocab_size())

    stage.write_text(tokenizer_path, json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1))
    for folder, part in ((train, used["train"]), (val, used["val"])):
        stage.write_shards(folder, shards(part, tokenizer, params.shard_rows))
    table = pa.Table.from_pandas(rows[SPLITS.names], SPLITS, preserve_index=False)
    stage.write_parquet(splits, table.to_batches(), SPLITS)
    counts = ", ".join(f"{name} {len(part):,}" for name, part in used.items())
    verdict = f"{counts}; {int(rows['left_out'].sum())} left out as near-copies across splits"
    stage.write_report(report, len(rows), figures, verdict)
    write_profile(used, tokenizer, described, tables)
    log.info("vectorize: %s", verdict)


if __name__ == "__main__":
    stage.run(main)
