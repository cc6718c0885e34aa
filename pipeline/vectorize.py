"""Splits by campaign and by time, fits a sub-word tokenizer on train alone, and turns text into token ids."""

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

from pipeline import profile, spans, stage, text
from pipeline.spans import NEWEST, Mask
from pipeline.stage import Figure, PipelineError

log = logging.getLogger(__name__)

Ranks = NDArray[np.int64]  # (w,), of each wording

PAD, START = "[PAD]", "[START]"  # ids 0 and 1; every message begins with START, so that none is empty
CLASSES = "ham", "spam"
DAYS, ROWS = 36_500, 1_000_000_000  # at most, of a span and of the reservoir
RANK = {"train": 1, "val": 2, "test": 3, NEWEST: 0}  # a near-copy stays in the higher split
RETIRED = -1  # the rank of a row that has retired: no other is left out for it
SPLITS = pa.schema(
    {
        "message_id": pa.string(),
        "split": pa.string(),  # of RANK
        "campaign_key": pa.string(),  # 16 hexadecimal digits
        "left_out": pa.bool_(),  # retired, or like a row of a higher split (newest also by its campaign)
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
    newest_days: float  # at the end of time, of which train and val take no row
    window_days: float  # before those, of which they take all
    reservoir_rows: int  # from before the window, which they take too; the others have retired
    vocabulary_size: int  # sub-words
    sequence_length: int  # tokens; what is longer is cut
    shard_rows: int  # messages a shard

    def __post_init__(self) -> None:
        if not 300 <= self.vocabulary_size <= 1_000_000:
            raise ValueError("vocabulary_size must be 300 to 1,000,000: 256 bytes, and some words")
        if not (2 <= self.sequence_length <= 100_000 and 1 <= self.shard_rows <= 1_000_000):
            raise ValueError("sequence_length must be 2 to 100,000 and shard_rows 1 to 1,000,000")
        if not (0 <= self.newest_days <= DAYS and 0 < self.window_days <= DAYS):
            raise ValueError(f"newest_days must be 0 to {DAYS:,} and window_days above 0 and no more")
        if not 0 <= self.reservoir_rows <= ROWS:
            raise ValueError(f"reservoir_rows must be 0 to {ROWS:,}")


# ---- the split


def split_of(salt: str, campaign_key: str, shares: Shares) -> str:
    """`train`, `val` or `test`."""
    position = text.share_of(salt, campaign_key)
    return "train" if position < shares.train else "val" if position < shares.train + shares.val else "test"


def by_time(rows: pd.DataFrame, params: Params) -> pd.DataFrame:
    """The rows with `split`, where NEWEST stands for train and val in the newest span, and `retired`.

    rows: message_id, received_at, campaign_key, and as `split` that of the campaign: what is test stays test
    for ever, and what is NEWEST becomes train or val when time has passed. Those rows of train and val have
    retired that are neither in the window nor in the reservoir.
    """
    test = (rows["split"] == "test").to_numpy()
    newest, old = spans.ages(rows["received_at"], params.newest_days, params.window_days)
    retired = old & ~test
    number = np.flatnonzero(retired)
    retired[number[spans.reservoir(rows.iloc[number], params.reservoir_rows)]] = False
    return rows.assign(split=rows["split"].mask(newest & ~test, NEWEST), retired=retired)


def left_out(rank: Ranks, near: text.Near) -> Mask:
    """(w,): the wordings that have a near-copy of a higher rank."""
    pairs = near.pairs
    straddling = pairs[rank[pairs[:, 0]] != rank[pairs[:, 1]]]
    lower = np.where(rank[straddling[:, 0]] < rank[straddling[:, 1]], straddling[:, 0], straddling[:, 1])
    out = np.zeros(len(rank), np.bool_)
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
    """The messages with `campaign_key`, `split`, `retired`, `wording` and `left_out`, and the near wordings.

    Messages of one wording have one campaign key, but may come at different times.
    """
    texts = messages["text"].tolist()
    keys = [f"{key:016x}" for key in text.campaign_keys(texts)]
    of_key = [split_of(params.salt, key, params.split) for key in keys]
    wordings, wording = text.wordings(texts)
    rows = messages.assign(campaign_key=keys, split=pd.array(of_key, "str"), wording=wording)
    rows, near = by_time(rows, params), text.near_copies(wordings)
    rank = np.full(len(wordings), RETIRED)  # of each wording, the highest of its rows
    np.maximum.at(rank, wording, np.where(rows["retired"], RETIRED, rows["split"].map(RANK)))
    out, newest = left_out(rank, near)[wording] | rows["retired"], rows["split"] == NEWEST
    known = rows["campaign_key"].isin(rows["campaign_key"][~newest & ~out])
    return rows.assign(left_out=out | newest & known), near


def leaking(rows: pd.DataFrame, near: text.Near) -> Mask:
    """(w,): the wordings that are used in two splits, themselves or with their near-copies."""
    used = rows[~rows["left_out"]]
    splits = np.zeros(rows["wording"].max() + 1, np.int64)  # a bit a split
    np.bitwise_or.at(splits, used["wording"], 1 << used["split"].map(RANK).to_numpy(np.int64))
    several = splits & (splits - 1) > 0
    together = splits[near.pairs[:, 0]] | splits[near.pairs[:, 1]]
    several[near.pairs[together & (together - 1) > 0]] = True
    for crowd in near.crowds:
        several[crowd] |= int(np.bitwise_or.reduce(splits[crowd])).bit_count() > 1
    return several


def figures_of(rows: pd.DataFrame, near: text.Near, params: Params) -> dict[str, Figure]:
    """Rows, spam share, left-out and retired rows a split, and how much a random split would have leaked."""
    figures = {}
    for name in RANK:
        every = rows[rows["split"] == name]
        part = every[~every["left_out"]]
        figures[f"{name}.rows"] = Figure(len(part))
        spam_share = (part["label"] == "spam").mean() if len(part) else None
        figures[f"{name}.spam_share"] = Figure(spam_share, n=len(part))
        figures[f"{name}.left_out"] = Figure((every["left_out"] & ~every["retired"]).sum())
        if name in ("train", "val"):
            figures[f"{name}.retired"] = Figure(every["retired"].sum())
    for name, among in {"messages": rows["label"].notna(), "spam": rows["label"] == "spam"}.items():
        leak = random_split_leak(rows, near, params.split.train, among)
        figures[f"random_split_leak.{name}"] = Figure(leak, n=int(rows["copies"][among].sum()))
    figures["leak"] = Figure(leaking(rows, near)[rows["wording"]].sum(), n=len(rows))
    crowded = len(set[int]().union(*map(np.ndarray.tolist, near.crowds)))
    figures["crowded"] = Figure(crowded, n=rows["wording"].nunique())
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


def sentence(rows: pd.DataFrame, used: Mapping[str, pd.DataFrame]) -> str:
    """How many rows each split has, and why the others are left out."""
    counts = ", ".join(f"{name} {len(part):,}" for name, part in used.items())
    retired = int(rows["retired"].sum())
    alike = int(rows["left_out"].sum()) - retired
    return f"{counts}; left out: {alike:,} like a row of a higher split, {retired:,} retired"


def main(argv: list[str] | None = None) -> None:
    names = "messages", "tokenizer", "splits", "train", "val", "report", "profile", "tables"
    messages, tokenizer_path, splits, train, val, report, described, tables = stage.paths(
        argv, __doc__, *names
    )
    params = stage.read_params(Params, "vectorize")

    columns = ["message_id", "text", "label", "received_at", "copies"]
    rows, near = divide(stage.read_parquet(messages, columns).sort_by("message_id").to_pandas(), params)
    used = {name: rows[(rows["split"] == name) & ~rows["left_out"]] for name in RANK}
    if short := [name for name in used if name != NEWEST and used[name]["label"].nunique() < 2]:
        way_out = ", or lower vectorize.newest_days" if len(used[NEWEST]) else ""
        raise PipelineError(
            f"{messages}: no ham or no spam in {', '.join(short)}; bring more messages{way_out}"
        )
    tokenizer = fit_tokenizer(used["train"]["text"], params)
    figures = figures_of(rows, near, params)
    figures["vocabulary_size"] = Figure(tokenizer.get_vocab_size())

    stage.write_text(tokenizer_path, json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, indent=1))
    for folder, part in ((train, used["train"]), (val, used["val"])):
        stage.write_shards(folder, shards(part, tokenizer, params.shard_rows))
    table = pa.Table.from_pandas(rows[SPLITS.names], SPLITS, preserve_index=False)
    stage.write_parquet(splits, table.to_batches(), SPLITS)
    verdict = sentence(rows, used)
    stage.write_report(report, len(rows), figures, verdict)
    write_profile({name: part for name, part in used.items() if len(part)}, tokenizer, described, tables)
    log.info("vectorize: %s", verdict)


if __name__ == "__main__":
    stage.run(main)
