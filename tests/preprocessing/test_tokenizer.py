"""The tokenizer canonicalises as `normalize` does, and makes no text empty or unknown."""

import sys

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError
from pipeline.core.schemas import SHARD
from pipeline.preprocessing.normalize import CONFUSABLES, canonicalise, undo_entities
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer, read_spec, shard_tables

SEQUENCE_LENGTH = 30
ANY_TEXT = st.one_of(
    st.sampled_from(["", " ", "\u200b\u2060", "\ufe0f", "a", "💰", "\0"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=80),
)
DISGUISED = st.text("abAB0139 .-_*'é\n\u200b\u0336&#;<>" + "".join(CONFUSABLES)[:40], max_size=30)


@pytest.fixture(scope="module")
def tokenizer():
    texts = ["call me now please", "free prize call now", "are you coming home", "ok lar..."]
    return fit_tokenizer(texts * 4, vocabulary_size=400, sequence_length=SEQUENCE_LENGTH)


@given(st.lists(ANY_TEXT, min_size=1))
@settings(derandomize=True)
def test_no_text_is_empty_too_long_or_padded(tokenizer, texts):
    for text, ids in zip(texts, encode_texts(texts, tokenizer), strict=True):
        assert 1 <= len(ids) <= SEQUENCE_LENGTH
        assert ids[0] == 1
        assert min(ids) > 0
        assert (len(ids) == 1) == (canonicalise(text) == "")


@pytest.mark.parametrize(("word", "token_id"), [("[PAD]", 0), ("[START]", 1)])
def test_a_special_token_in_a_message_is_plain_text(tokenizer, word, token_id):
    assert tokenizer.token_to_id(word) == token_id
    (ids,) = encode_texts([f"free {word} prize{word}"], tokenizer)
    assert ids[0] == 1
    assert min(ids[1:]) > 1
    assert tokenizer.decode(ids[1:]).strip() == f"free {word} prize{word}"


def test_a_long_text_is_cut_at_the_sequence_length(tokenizer):
    short, long, longer = encode_texts(["call me", "qz " * 29, "qz " * 400], tokenizer)
    assert len(short) == 3
    assert len(longer) == SEQUENCE_LENGTH
    assert long[:SEQUENCE_LENGTH] == longer


@pytest.mark.parametrize(
    "codes",
    [range(0x10000), pytest.param(range(0x10000, sys.maxunicode + 1), marks=pytest.mark.slow)],
    ids=["first plane", "other planes"],
)
def test_normaliser_equals_canonicalise_per_character(tokenizer, codes):
    """Except for characters whose NFKC is newer than Unicode 11, which `tokenizers` has."""
    newer = {0x32FF, 0xAB69, 0x1F16C, *range(0xA7F2, 0xA7F5), *range(0x10780, 0x107C0)}
    newer |= {*range(0x1E030, 0x1E06E), *range(0x1FBF0, 0x1FBFA)}
    normalise = tokenizer.normalizer.normalize_str
    characters = {code: chr(code) for code in codes if code not in range(0xD800, 0xE000)}
    differ = {code for code, sign in characters.items() if normalise(sign) != canonicalise(sign)}
    assert differ <= newer


def test_normaliser_combines_marks_as_canonicalise_does(tokenizer):
    for text in ("e\u0301", "e\u200b\u0301", "\u1100\u200b\u1161", "A\u030a\ufe0f"):
        assert tokenizer.normalizer.normalize_str(text) == canonicalise(text)
        assert len(canonicalise(text)) == 1


@given(DISGUISED)
@settings(derandomize=True, max_examples=200)
def test_normaliser_undoes_disguises_as_canonicalise_does(tokenizer, text):
    assert tokenizer.normalizer.normalize_str(undo_entities(text)) == canonicalise(text)


def test_html_escapes_are_undone_before_fitting_and_encoding(tokenizer):
    plain, escaped = "free <b> now & then", "&#102;r&amp;#x65;e &lt;b> now &amp; then"
    assert encode_texts([escaped], tokenizer) == encode_texts([plain], tokenizer)
    fitted = [
        fit_tokenizer([text] * 3, vocabulary_size=400, sequence_length=9).to_str()
        for text in (plain, escaped)
    ]
    assert fitted[0] == fitted[1]


def test_no_rows_are_one_empty_shard(tokenizer):
    columns = ["message_id", "campaign_key", "text", "label"]
    (shard,) = shard_tables(pd.DataFrame(columns=columns, dtype="str"), tokenizer, 4)
    assert (len(shard), shard.schema) == (0, SHARD)


def test_tokenizer_of_older_code_without_a_window_is_named(tokenizer, tmp_path):
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_str(), encoding="utf-8")
    with pytest.raises(PipelineError, match="truncation has no window_length"):
        read_spec(path)
