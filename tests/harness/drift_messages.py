"""Generated messages for the drift checks: ham and spam of the same words, and one change each."""

import numpy as np
import pandas as pd

LETTERS = list("abcdefghijklmnopqrstuvwxyz")
RARE_WORDS = ["".join(word) for word in np.random.default_rng(9).choice(LETTERS, (5000, 7))]
COMMON_WORDS = RARE_WORDS[:300]


def draw(
    seed: int, n: int, *, spam: float = 0.15, lengths: tuple = (3, 12), words: list = COMMON_WORDS
) -> pd.DataFrame:
    """n random messages; `lengths` is a range of words per message."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(words, rng.integers(*lengths))) for _ in range(n)]
    return pd.DataFrame({"text": texts, "label": np.where(rng.random(n) < spam, "spam", "ham")})


def with_word(messages: pd.DataFrame, word: str, count: int) -> pd.DataFrame:
    """The messages, the first `count` of them with one more word."""
    texts = messages["text"].tolist()
    return messages.assign(text=[f"{text} {word}" for text in texts[:count]] + texts[count:])


REFERENCE = draw(1, 1200)
NEW = draw(2, 400)
CHANGES = {  # by check, new messages for which it must raise an alarm
    "label_share": draw(2, 400, spam=0.30),
    "length": draw(2, 400, lengths=(3, 25)),
    "script": with_word(NEW, "\N{CYRILLIC SMALL LETTER A}", 20),
    "unknown_words": draw(2, 400, words=RARE_WORDS),
    "terms": with_word(NEW, "parcel", 20),
    "domain_classifier": NEW.assign(text=NEW["text"].str.upper() + " !?"),
}
