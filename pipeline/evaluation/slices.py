"""Named slices of the messages, for which metrics are reported separately."""

import math
import re
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd

from pipeline.preprocessing.scripts import letters_by_script
from pipeline.preprocessing.time_windows import Mask

# Characters: of the default SMS, 35 % of ham and 1 % of spam are shorter than SHORT.
SHORT = 40
LONG = 120
# A URL with its scheme, with www., or bare under the endings that spam uses; no e-mail address.
LINK = re.compile(
    r"https?://|\bwww\.|(?<![@\w.-])[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|info|biz|mobi|eu|uk)\b",
    re.IGNORECASE,
)
# Five digits in a row that are no amount of money (a short code such as 87121, an unspaced number),
# or ten digits from a leading 0 or + in groups, as in 0800 542-0578 and +44 (0)20 7946 0018.
PHONE_NUMBER = re.compile(r"(?<![\d$£€])(?<!\d[.,])\d{5}|(?:\+|\b0)\d?(?:[ ()-]{0,2}\d){9}")
# Unicode category Sc, and the HTML entities of common ones, with or without their semicolon.
CURRENCY_SIGN = re.compile(
    "[$\u00a2-\u00a5\u058f\u060b\u07fe\u07ff\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db"
    "\u20a0-\u20cf\ua838\ufdfc\ufe69\uff04\uffe0\uffe1\uffe5\uffe6"
    "\U00011fdd-\U00011fe0\U0001e2ff\U0001ecb0]"
    "|&(?:pound|euro|dollar|cent|yen|curren|#163|#8364)(?![a-z0-9])"
)
NON_ASCII = re.compile(r"[^\x00-\x7f]")
LETTER = re.compile(r"[^\W\d_]")

LEAST_ROWS = 30  # of a slice by language, script or kind: figures of fewer rows tell little

Slice = Callable[[pd.Series], pd.Series]  # texts (n,) to bool (n,)


def _length(least: float, most: float) -> Slice:
    return lambda texts: texts.str.len().between(least, most)


def _contains(pattern: re.Pattern[str]) -> Slice:
    return lambda texts: texts.str.contains(pattern)


def _lacks(pattern: re.Pattern[str]) -> Slice:
    return lambda texts: ~texts.str.contains(pattern)


SLICES: dict[str, Slice] = {
    "short": _length(0, SHORT - 1),
    "medium": _length(SHORT, LONG),
    "long": _length(LONG + 1, math.inf),
    "has_link": _contains(LINK),
    "has_phone_number": _contains(PHONE_NUMBER),
    "has_currency_sign": _contains(CURRENCY_SIGN),
    "non_ascii": _contains(NON_ASCII),
    "no_letters": _lacks(LETTER),
}


Grouping = Callable[[pd.DataFrame], pd.Series]  # messages (n,) to a name each, or null


def source_name(messages: pd.DataFrame) -> pd.Series:
    """The name of each message's source: `files` of `files/2026-11.csv`."""
    return messages["source"].str.split("/").str[0]


def main_script(messages: pd.DataFrame) -> pd.Series:
    """The script of most letters of each message; null without letters."""
    scripts, letters = letters_by_script(messages["text"].tolist())
    names = pd.Series([*scripts, None], dtype="object")
    most = np.where(letters.any(axis=1), letters.argmax(axis=1), len(scripts)) if scripts else 0
    return names.iloc[np.broadcast_to(most, len(messages))].set_axis(messages.index)


GROUPINGS: dict[str, Grouping] = {  # each group is a slice, such as source_sms
    "source": source_name,
    "language": lambda messages: messages["language"],
    "script": main_script,
    "kind": lambda messages: messages["kind"],
}


def slice_masks(messages: pd.DataFrame) -> Iterator[tuple[str, Mask]]:
    """Each slice's name and mask (n,): those of SLICES, then the groups of GROUPINGS.

    All sources are slices, and other groups of at least LEAST_ROWS rows.

    Args:
        messages: columns text, source, language and kind.
    """
    for name, selects in SLICES.items():
        yield name, selects(messages["text"]).to_numpy(bool)
    for grouping, group_of in GROUPINGS.items():
        groups = group_of(messages)
        counts = groups.value_counts()
        for group in sorted(counts.index):
            if grouping == "source" or counts[group] >= LEAST_ROWS:
                yield f"{grouping}_{group}", (groups == group).to_numpy(bool)
