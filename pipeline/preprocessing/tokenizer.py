"""Fits the sub-word tokenizer and turns texts into token ids."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from io import BytesIO

import pandas as pd
import pyarrow as pa
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import (
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from pipeline.core.schemas import SHARD
from pipeline.preprocessing import normalize
from pipeline.preprocessing.params import Params

PAD, START = (
    "[PAD]",
    "[START]",
)  # ids 0 and 1; every message begins with START, so that none is empty


# ---- the tokenizer


def fit_tokenizer(texts: Iterable[str], params: Params) -> Tokenizer:
    """A byte-level BPE tokenizer: no text is unknown to it, and none is empty.

    Its normaliser is `text.canonicalise`, so that whoever loads its one JSON file canonicalises alike.
    Source: Sennrich, Haddow, Birch 2016; Radford and others 2019 for bytes.
    """
    tokenizer = Tokenizer(models.BPE())
    disguises = (
        normalizers.Replace(Regex(pattern), plain) for pattern, plain in normalize.DISGUISES.items()
    )
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
            f"{ord(char):X}\t{plain and f'{ord(plain):X}'}\n"
            for char, plain in normalize.CHARACTERS.items()
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


def encode_texts(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
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
                pa.array(
                    encode_texts(part["text"].tolist(), tokenizer), SHARD.field("token_ids").type
                ),
                pa.array((part["label"] == "spam").astype("int8"), pa.int8()),
            ],
            schema=SHARD,
        )
