"""Fits the sub-word tokenizer and turns texts into token ids."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

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

from pipeline.core.errors import PipelineError
from pipeline.core.files import REBUILD_HINT, read_json
from pipeline.core.schemas import SHARD
from pipeline.preprocessing import normalize

PAD_TOKEN = "[PAD]"  # id 0
START_TOKEN = "[START]"  # id 1; every message begins with it, so that none is empty


def read_spec(path: Path) -> dict[str, Any]:
    """The content of tokenizer.json. Raises: PipelineError, if it is not a tokenizer."""
    spec = read_json(path)
    try:
        Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # the type that the library raises
        raise PipelineError(f"{path}: not a tokenizer: {error}; {REBUILD_HINT}") from error
    if "window_length" not in (spec["truncation"] or {}):
        raise PipelineError(f"{path}: truncation has no window_length; {REBUILD_HINT}")
    return dict(spec)


def fit_tokenizer(texts: Iterable[str], *, vocabulary_size: int, sequence_length: int) -> Tokenizer:
    """A byte-level BPE tokenizer: no token is unknown, and every text has at least one.

    Its normaliser is `normalize.canonicalise` without `undo_entities`, which `tokenizers` cannot
    store: whoever encodes a text calls it first.
    Source: Sennrich, Haddow, Birch 2016; Radford et al. 2019 for bytes.

    Args:
        texts: the messages of train.
        vocabulary_size: sub-words, including the 256 bytes.
        sequence_length: tokens; longer texts are cut.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _normalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=[PAD_TOKEN, START_TOKEN],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(normalize.undo_entities, texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{START_TOKEN} $A", special_tokens=[(START_TOKEN, 1)]
    )
    tokenizer.enable_truncation(sequence_length)
    spec = json.loads(tokenizer.to_str())
    spec["added_tokens"] = []  # otherwise "[PAD]" in a message would become id 0
    return Tokenizer.from_str(json.dumps(spec))


def _normalizer() -> normalizers.Normalizer:
    """The steps of `normalize.canonicalise` after `undo_entities`, in its order."""
    disguises = [
        normalizers.Replace(Regex(pattern), plain)
        for pattern, plain in normalize.DISGUISE_PATTERNS.items()
    ]
    characters = normalizers.Precompiled(precompiled_character_map())
    return normalizers.Sequence([characters, normalizers.NFKC(), *disguises])


def precompiled_character_map() -> bytes:
    """`normalize.CHARACTER_MAP` as the trie in which a tokenizer looks up single characters.

    One regular expression per letter would be slower than the rest of the tokenizer.
    """
    model = BytesIO()
    with tempfile.NamedTemporaryFile("w", suffix=".tsv") as rules:
        for character, plain in normalize.CHARACTER_MAP.items():
            replacement = f"{ord(plain):X}" if plain else ""
            rules.write(f"{ord(character):X}\t{replacement}\n")
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


def tokenizer_json(tokenizer: Tokenizer, window_length: int) -> str:
    """The text of `models/tokenizer.json`.

    Args:
        window_length: characters that the served model judges together; `tokenizers` ignores it.
    """
    spec = json.loads(tokenizer.to_str())
    spec["truncation"]["window_length"] = window_length
    return json.dumps(spec, ensure_ascii=False, indent=1)


def encode_texts(texts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The token ids of each of n texts: 1 to sequence_length ids, without padding."""
    plain = [normalize.undo_entities(text) for text in texts]
    return [encoding.ids for encoding in tokenizer.encode_batch_fast(plain)]


def count_tokens(texts: "pd.Series[str]", tokenizer: Tokenizer) -> list[int]:
    """(n,): the number of tokens of each whole text, however many the tokenizer keeps."""
    untruncated = Tokenizer.from_str(tokenizer.to_str())
    untruncated.no_truncation()
    return [len(ids) for ids in encode_texts(texts.tolist(), untruncated)]


def shard_tables(rows: pd.DataFrame, tokenizer: Tokenizer, shard_rows: int) -> Iterator[pa.Table]:
    """The rows as SHARD tables of `shard_rows` rows each, in order; one empty table if none.

    Args:
        rows: columns message_id, campaign_key, text and label.
    """
    for start in range(0, max(1, len(rows)), shard_rows):
        part = rows.iloc[start : start + shard_rows]
        columns = {
            "message_id": part["message_id"],
            "campaign_key": part["campaign_key"],
            "token_ids": encode_texts(part["text"].tolist(), tokenizer),
            "label": (part["label"] == "spam").astype("int8"),
        }
        yield pa.Table.from_pydict(columns, schema=SHARD)
