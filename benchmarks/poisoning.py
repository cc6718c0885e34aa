"""Measures how often the poisoning checks raise an alarm, with and without tampering.

Reads the validated messages and prints a Markdown table. Each draw splits the campaigns at random:
about 1,000 messages are new, from two sources, and the rest is the reference; the number of the
draw is its seed.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.drift import VALIDATED_FILE, map_draws, print_table
from pipeline.core.cli import argument_parser
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.evaluation.slices import source_name
from pipeline.models import baseline
from pipeline.monitoring import poisoning, poisoning_checks
from pipeline.preprocessing import near_duplicates

EXAMPLE = "python -m benchmarks.poisoning --seeds 10 --clean 20"
NEW_MESSAGES = 1000
SOURCES = ("files/ours.csv", "files/theirs.csv")  # a half each; theirs is tampered with
RIVAL = "Zentel"

Tamper = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


# ---- what is done to the new messages


def clean(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return new


def flip_labels(share: float) -> Tamper:
    """Gives this share of the messages of the second source the other label."""

    def tamper(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        theirs = new.index[new["source"] == SOURCES[1]]
        rows = rng.choice(theirs, round(share * len(theirs)), replace=False)
        other = new.loc[rows, "label"].map({"ham": "spam", "spam": "ham"})
        return new.assign(label=new["label"].where(~new.index.isin(rows), other))

    return tamper


def attack_rival(share: float) -> Tamper:
    """Adds a rival's name to ham of the second source, and labels it spam."""

    def tamper(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        ham = new.index[(new["source"] == SOURCES[1]) & (new["label"] == "ham")]
        rows = rng.choice(ham, round(share * len(new)), replace=False)
        texts = new["text"].copy()
        for row in rows:
            words = texts[row].split()
            words.insert(rng.integers(len(words) + 1), RIVAL)
            texts[row] = " ".join(words)
        return new.assign(text=texts, label=new["label"].mask(new.index.isin(rows), "spam"))

    return tamper


def insert_campaign(share: float) -> Tamper:
    """Replaces messages of the second source by one wording with changing names and numbers."""

    def tamper(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        theirs = new.index[new["source"] == SOURCES[1]]
        rows = rng.choice(theirs, round(share * len(new)), replace=False)
        texts = new["text"].copy()
        for row in rows:
            name = rng.choice(["Anna", "Ben", "Chris", "Dora", "Emil"])
            parcel = f"your parcel {rng.integers(10**6)}"
            texts[row] = f"Hi {name}, {parcel} waits at the {RIVAL} shop in the High Street"
        return new.assign(text=texts, label=new["label"].mask(new.index.isin(rows), "ham"))

    return tamper


SETTINGS: dict[str, Tamper] = {
    "nobody tampered": clean,
    "10 % of a source's 500 labels flipped": flip_labels(0.10),
    "5 % flipped": flip_labels(0.05),
    "2 % flipped": flip_labels(0.02),
    "a rival's name labelled spam, 5 % of the messages": attack_rival(0.05),
    "the same, 2 %": attack_rival(0.02),
    "the same, 1 %": attack_rival(0.01),
    "one campaign, 10 % of the messages": insert_campaign(0.10),
}


# ---- the draws


def draw(messages: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reference and the new messages of two sources; no campaign is in both."""
    campaigns = poisoning_checks.number_campaigns(messages["text"].tolist())
    order = rng.permutation(campaigns.max() + 1)
    sizes = np.bincount(campaigns)[order]
    count = int(np.searchsorted(np.cumsum(sizes), NEW_MESSAGES)) + 1
    chosen = np.isin(campaigns, order[:count])
    new = messages[chosen].sample(frac=1, random_state=rng).reset_index(drop=True)
    return messages[~chosen], new.assign(source=np.where(new.index < len(new) // 2, *SOURCES))


def alarms_by_setting(seed: int, messages: pd.DataFrame, settings: list[str]) -> dict:
    """The checks that raise an alarm, by setting; the baseline of the reference is fitted once."""
    rng = np.random.default_rng(seed)
    reference, new = draw(messages, rng)
    texts, spam = reference["text"].tolist(), (reference["label"] == "spam").to_numpy()
    known = baseline.out_of_fold_scores(texts, spam, near_duplicates.campaign_keys(texts)) > 0.5
    names = source_name(reference).to_numpy(object)
    tampered = {name: SETTINGS[name](new, rng) for name in settings}
    score = baseline.baseline_scorer(texts, spam)
    params = read_params(poisoning_checks.Params, "poisoning")
    alarms = {}
    for name, rows in tampered.items():
        predicted = score(rows["text"].tolist()) > 0.5
        labelled = poisoning.disputed_messages(rows, predicted, spam, known, names, texts)
        checks = poisoning_checks.check_labels(labelled, params)
        alarms[name] = [check.name.split(".")[0] for check in checks if check.alarm]
    return alarms


def main() -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--seeds", type=int, default=10, help="draws per setting (default: 10)")
    parser.add_argument("--clean", type=int, default=20, help="clean draws (default: 20)")
    options = parser.parse_args()
    messages = read_parquet(VALIDATED_FILE).to_pandas()
    first, *others = SETTINGS
    seeds = range(max(options.seeds, options.clean))
    settings = [[first] * (n < options.clean) + others * (n < options.seeds) for n in seeds]
    alarms = map_draws(alarms_by_setting, seeds, [messages] * len(seeds), settings)
    by_setting = {name: [one[name] for one in alarms if name in one] for name in SETTINGS}
    print_table("1,000 new messages", by_setting)


if __name__ == "__main__":
    main()
