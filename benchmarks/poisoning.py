"""How often poisoning alarms: on clean draws of the default messages, and on labels that were tampered with.

`python -m benchmarks.poisoning [--seeds 10 --clean 20]` reads what `dvc repro` made and prints a Markdown
table. A draw parts the campaigns at random: 1,000 messages or a few more are new, of two sources, and the
rest is the reference; its number is its seed.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.models import baseline
from pipeline.monitoring import poisoning
from pipeline.preprocessing import near_duplicates

MESSAGES = Path("data/validated/messages.parquet")
NEW, WORKERS = 1000, 2
SOURCES = (
    "files/ours.csv",
    "files/theirs.csv",
)  # halves of the new messages; theirs is tampered with
RIVAL = "Zentel"

Tamper = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]


# ---- what is done to the new messages


def clean(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    return new


def flipped(share: float) -> Tamper:
    """So many of their labels say the other thing."""

    def tamper(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        theirs = new.index[new["source"] == SOURCES[1]]
        rows = rng.choice(theirs, round(share * len(theirs)), replace=False)
        other = new.loc[rows, "label"].map({"ham": "spam", "spam": "ham"})
        return new.assign(label=new["label"].where(~new.index.isin(rows), other))

    return tamper


def rival(share: float) -> Tamper:
    """Ham of theirs, so many of the new messages, names the rival somewhere and is labelled spam."""

    def tamper(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        ham = new.index[(new["source"] == SOURCES[1]) & (new["label"] == "ham")]
        rows, texts = rng.choice(ham, round(share * len(new)), replace=False), new["text"].copy()
        for row in rows:
            words = texts[row].split()
            words.insert(rng.integers(len(words) + 1), RIVAL)
            texts[row] = " ".join(words)
        return new.assign(text=texts, label=new["label"].mask(new.index.isin(rows), "spam"))

    return tamper


def campaign(share: float) -> Tamper:
    """One wording with changing numbers and names takes the place of so many of their messages."""

    def tamper(new: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        theirs = new.index[new["source"] == SOURCES[1]]
        rows, texts = rng.choice(theirs, round(share * len(new)), replace=False), new["text"].copy()
        for row in rows:
            who = rng.choice(["Anna", "Ben", "Chris", "Dora", "Emil"])
            texts[row] = (
                f"Hi {who}, your parcel {rng.integers(10**6)} waits at the {RIVAL} shop in the High Street"
            )
        return new.assign(text=texts, label=new["label"].mask(new.index.isin(rows), "ham"))

    return tamper


SETTINGS: dict[str, Tamper] = {
    "nobody tampered": clean,
    "10 % of a source's 500 labels flipped": flipped(0.10),
    "5 % flipped": flipped(0.05),
    "2 % flipped": flipped(0.02),
    "a rival's name labelled spam, 5 % of the messages": rival(0.05),
    "the same, 2 %": rival(0.02),
    "the same, 1 %": rival(0.01),
    "one campaign, 10 % of the messages": campaign(0.10),
}


# ---- the draws


def parted(messages: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The reference, and the new messages of two sources; no campaign is in both."""
    campaigns = poisoning.campaigns(messages["text"].tolist())
    order = rng.permutation(campaigns.max() + 1)
    sizes = np.bincount(campaigns)[order]
    chosen = np.isin(campaigns, order[: int(np.searchsorted(np.cumsum(sizes), NEW)) + 1])
    new = messages[chosen].sample(frac=1, random_state=rng).reset_index(drop=True)
    return messages[~chosen], new.assign(source=np.where(new.index < len(new) // 2, *SOURCES))


def alarms_of(
    seed: int, messages: pd.DataFrame, settings: dict[str, Tamper]
) -> dict[str, list[str]]:
    """By setting, the checks that alarm; the model of the reference is fitted once."""
    rng = np.random.default_rng(seed)
    reference, new = parted(messages, rng)
    known, spam = reference["text"].tolist(), (reference["label"] == "spam").to_numpy()
    folds = baseline.out_of_fold_scores(known, spam, near_duplicates.campaign_keys(known))
    tampered = {name: tamper(new, rng) for name, tamper in settings.items()}
    score = baseline.baseline_scorer(known, spam)
    params = read_params(poisoning.Params, "poisoning")
    found = {}
    for name, rows in tampered.items():
        called = score(rows["text"].tolist()) > 0.5
        checks = poisoning.compare(poisoning.judged(rows, called, spam, folds > 0.5, known), params)
        found[name] = [check.name.split(".")[0] for check in checks if check.alarm]
    return found


def _of_draw(draw: tuple[int, pd.DataFrame, list[str]]) -> dict[str, list[str]]:
    seed, messages, names = draw
    return alarms_of(seed, messages, {name: SETTINGS[name] for name in names})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--clean", type=int, default=20)
    parser.add_argument("--messages", type=Path, default=MESSAGES)
    arguments = parser.parse_args()
    messages = read_parquet(arguments.messages).to_pandas()
    names = list(SETTINGS)
    draws = max(arguments.seeds, arguments.clean)
    work = [
        (
            seed,
            messages,
            names[seed >= arguments.clean : len(names) if seed < arguments.seeds else 1],
        )
        for seed in range(draws)
    ]
    with ProcessPoolExecutor(WORKERS) as pool:
        found = list(tqdm(pool.map(_of_draw, work), total=draws, unit="draw", disable=None))
    print("| 1,000 new messages | draws | alarms | share (95 % interval) | which checks |")
    print("|---|---|---|---|---|")
    for name in names:
        alarms = [one[name] for one in found if name in one]
        caught = sum(map(bool, alarms))
        interval = stats.binomtest(caught, len(alarms)).proportion_ci(method="exact")
        which = Counter(check for one in alarms for check in dict.fromkeys(one))
        said = ", ".join(f"{check} {n}" for check, n in which.items()) or "none"
        share = f"{caught / len(alarms):.0%} ({interval.low:.0%} to {interval.high:.0%})"
        print(f"| {name} | {len(alarms)} | {caught} | {share} | {said} |")


if __name__ == "__main__":
    main()
