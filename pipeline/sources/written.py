"""Reads the messages that were written for this project, and fills in their slots.

data/written/LANGUAGE.csv has a message a row: its kind, its locale and its wording, in which slots
such as {amount} and {link} stand for values. data/written/kinds.csv has the label of each kind, and
data/written/slots.yaml what fills the slots, alike for ham and spam.
"""

import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pydantic

from pipeline.core.errors import PipelineError
from pipeline.core.files import atomic_path
from pipeline.core.params import choose, parse_params, read_yaml
from pipeline.core.tables import read_csv

KINDS_FILE = "kinds.csv"  # columns kind, label, looks_like (ham that a spam kind imitates)
SLOTS_FILE = "slots.yaml"
DEFAULT_LOCALE = "default"
SLOT = re.compile(r"\{(\w+)\}")
TIME_SLOTS = ("date", "time")  # their patterns are formats of strftime
FIRST_TIME = datetime(2026, 1, 1)  # of the times that fill slots
MINUTES = 365 * 24 * 60  # from then on
LITERAL_SLOTS = ("name",)  # they have no patterns
PATTERN_SIGNS = {  # in a pattern: the characters of which a sign stands for one
    "#": "0123456789",
    "^": "123456789",
    "?": "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "~": "abcdefghijklmnopqrstuvwxyz0123456789",
}

LabelByKind = dict[str, str]  # ham or spam, by kind


class Slots(pydantic.RootModel[dict[str, dict[str, list[str]]]]):
    """The patterns of slots.yaml, by locale and slot."""

    def of_locale(self, locale: str) -> dict[str, list[str]]:
        """The patterns for a locale such as en-GB, by slot."""
        lists = [self.root.get(name, {}) for name in (DEFAULT_LOCALE, language_of(locale), locale)]
        return {slot: patterns for part in lists for slot, patterns in part.items()}


def language_of(locale: str) -> str:
    """The language of a locale: en of en-GB."""
    return locale.split("-")[0]


def read_labels(folder: Path) -> LabelByKind:
    """The label of each kind. Raises: PipelineError."""
    table = read_csv(folder / KINDS_FILE, _checkout_remedy(folder))
    return dict(zip(table["kind"], table["label"], strict=True))


def read_slots(folder: Path) -> Slots:
    """What fills the slots. Raises: PipelineError."""
    path = folder / SLOTS_FILE
    return parse_params(Slots, read_yaml(path), str(path))


def language_files(folder: Path) -> list[Path]:
    """The files of messages, by name. Raises: PipelineError if there are none."""
    files = sorted(path for path in folder.glob("*.csv") if path.name != KINDS_FILE)
    if not files:
        raise PipelineError(f"{folder}: no messages; {_checkout_remedy(folder)}")
    return files


def write_filled(path: Path, to: Path) -> None:
    """Writes the messages of a language file as JSONL: text, label, kind and language.

    Raises: PipelineError, which names the row, for an unknown kind or slot.
    """
    labels = read_labels(path.parent)
    slots = read_slots(path.parent)
    table = read_csv(path, _checkout_remedy(path.parent))
    if missing := {"kind", "locale", "text"} - table.keys():
        raise PipelineError(f"{path}: no column {', '.join(sorted(missing))}; correct the file")
    rows = zip(table["kind"], table["locale"], table["text"], strict=True)
    with atomic_path(to) as temporary, temporary.open("w", encoding="utf-8") as file:
        for number, (kind, locale, wording) in enumerate(rows, 1):
            place = f"{path}: row {number}"
            message = {
                "text": fill_slots(wording, locale, slots, place),
                "label": choose(labels, kind, f"{place}: kind"),
                "kind": kind,
                "language": language_of(locale),
            }
            file.write(json.dumps(message, ensure_ascii=False) + "\n")


def fill_slots(wording: str, locale: str, slots: Slots, place: str) -> str:
    """The wording with values in its slots, which depend on wording and locale alone.

    Args:
        place: of the wording, for errors.

    Raises: PipelineError for an unknown slot.
    """
    random = Random(f"{locale} {wording}")
    patterns = slots.of_locale(locale)
    return SLOT.sub(
        lambda slot: draw_value(slot[1], choose(patterns, slot[1], f"{place}: slot"), random),
        wording,
    )


def draw_value(slot: str, patterns: list[str], random: Random) -> str:
    """A value of a slot: one of its patterns, with each sign replaced at random."""
    pattern = random.choice(patterns)
    if slot in TIME_SLOTS:
        return (FIRST_TIME + timedelta(minutes=random.randrange(MINUTES))).strftime(pattern)
    if slot in LITERAL_SLOTS:
        return pattern
    return "".join(random.choice(PATTERN_SIGNS.get(sign, sign)) for sign in pattern)


def _checkout_remedy(folder: Path) -> str:
    return f"restore it with `git checkout {folder}`"
