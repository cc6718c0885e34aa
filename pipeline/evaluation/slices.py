"""Named parts of the messages, for which every metric is reported apart."""

import re
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SHORT, LONG = 40, 120  # characters: of the default SMS, 35 % of ham and 1 % of spam are short

# An address with its scheme, with www., or bare under the endings that spam uses; an e-mail address is none.
LINK = re.compile(
    r"https?://|\bwww\.|(?<![@\w.-])[\w-]+(?:\.[\w-]+)*\.(?:com|net|org|info|biz|mobi|eu|uk)\b",
    re.IGNORECASE,
)
# Five digits on end (a short code such as 87121, or a number unspaced) that are no amount of money,
# or ten from a leading 0 or + on, in groups, as in 0800 542-0578 and +44 (0)20 7946 0018.
PHONE_NUMBER = re.compile(r"(?<![\d$£€])(?<!\d[.,])\d{5}|(?:\+|\b0)\d?(?:[ ()-]{0,2}\d){9}")
# Unicode category Sc, and the HTML entities of its common ones, with or without their semicolon.
CURRENCY_SIGN = re.compile(
    "[$\u00a2-\u00a5\u058f\u060b\u07fe\u07ff\u09f2\u09f3\u09fb\u0af1\u0bf9\u0e3f\u17db\u20a0-\u20cf\ua838"
    "\ufdfc\ufe69\uff04\uffe0\uffe1\uffe5\uffe6\U00011fdd-\U00011fe0\U0001e2ff\U0001ecb0]"
    "|&(?:pound|euro|dollar|cent|yen|curren|#163|#8364)(?![a-z0-9])"
)
NON_ASCII = re.compile(r"[^\x00-\x7f]")
LETTER = re.compile(r"[^\W\d_]")


def _holds(pattern: re.Pattern[str]) -> "Callable[[pd.DataFrame], pd.Series[bool]]":
    return lambda messages: messages["text"].str.contains(pattern)


# Each takes a table with a column `text` and says of every row whether it belongs.
SLICES: "dict[str, Callable[[pd.DataFrame], pd.Series[bool]]]" = {
    "short": lambda messages: messages["text"].str.len() < SHORT,
    "medium": lambda messages: messages["text"].str.len().between(SHORT, LONG),
    "long": lambda messages: messages["text"].str.len() > LONG,
    "has_link": _holds(LINK),
    "has_phone_number": _holds(PHONE_NUMBER),
    "has_currency_sign": _holds(CURRENCY_SIGN),
    "non_ascii": _holds(NON_ASCII),
    "no_letters": lambda messages: ~_holds(LETTER)(messages),
}


def slices(messages: pd.DataFrame) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Each slice's name and mask (n,): all of SLICES, then `source_<kind>` for every kind of source present.

    messages: columns `text` and `source`. A mask may be all False.
    """
    for name, belongs in SLICES.items():
        yield name, belongs(messages).to_numpy(dtype=np.bool_)
    kinds = messages["source"].str.split("/").str[0]  # files/2026-11.csv is of the kind `files`
    for kind in sorted(kinds.unique()):
        yield f"source_{kind}", (kinds == kind).to_numpy(dtype=np.bool_)
