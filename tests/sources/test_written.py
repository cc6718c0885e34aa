"""Written messages get their labels from their kinds, and slots that tell no label."""

import json
import re
from collections import Counter
from random import Random

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline

from pipeline.core.tables import read_csv
from pipeline.sources import written
from pipeline.sources.written import SLOT, Slots, fill_slots
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT

FOLDER = ROOT / "data" / "written"
SLOTS = Slots(
    {
        "default": {"amount": ["$^"], "name": ["x#?"], "date": ["%Y"], "link": ["a.example/~"]},
        "en": {"amount": ["^ GBP"]},
        "en-GB": {"link": ["b.example"]},
    }
)


@pytest.fixture
def folder(tmp_path):
    """A folder with two kinds and one message."""
    (tmp_path / "kinds.csv").write_text("kind,label,looks_like\ntoll,spam,receipt\nreceipt,ham,\n")
    (tmp_path / "slots.yaml").write_text("default: {amount: ['$^']}\n")
    (tmp_path / "en.csv").write_text('kind,locale,text\ntoll,en-GB,"Pay {amount}, now"\n')
    return tmp_path


def filled(folder):
    """The messages of en.csv."""
    written.write_filled(folder / "en.csv", folder / "filled.jsonl")
    return [json.loads(line) for line in (folder / "filled.jsonl").read_text().splitlines()]


def test_label_comes_from_the_kind_and_language_from_the_locale(folder):
    (message,) = filled(folder)
    assert re.fullmatch(r"Pay \$[1-9], now", message.pop("text"))
    assert message == {"label": "spam", "kind": "toll", "language": "en"}


def test_slots_are_those_of_locale_language_and_default():
    values = {
        locale: fill_slots("{amount} {name} {date} {link}", locale, SLOTS, "here")
        for locale in ("en-GB", "en-KE", "fr-FR")
    }
    assert re.fullmatch(r"[1-9] GBP x#\? 2026 b\.example", values["en-GB"])  # names are literal
    assert re.fullmatch(r"[1-9] GBP x#\? 2026 a\.example/[a-z0-9]", values["en-KE"])
    assert re.fullmatch(r"\$[1-9] x#\? 2026 a\.example/[a-z0-9]", values["fr-FR"])


def test_value_depends_on_the_wording_alone():
    wordings = [f"{number} {{amount}}" for number in range(50)]
    values = [fill_slots(wording, "fr", SLOTS, "here") for wording in wordings]
    assert values == [fill_slots(wording, "fr", SLOTS, "there") for wording in wordings]
    assert len({value[-1] for value in values}) > 5


@pytest.mark.parametrize(
    ("file", "content", "line"),
    [
        ("en.csv", "kind,locale,text\ntol,en-GB,a\n", "en.csv: row 1: kind: unknown 'tol'; choose"),
        ("en.csv", "kind,locale,text\ntoll,en-GB,{sum}\n", "row 1: slot: unknown 'sum'; choose"),
        ("en.csv", "kind,text\ntoll,a\n", "en.csv: no column locale; correct the file"),
        ("slots.yaml", "default: {amount: 5}\n", "slots.yaml"),
    ],
)
def test_wrong_content_is_one_line(folder, file, content, line):
    (folder / file).write_text(content)
    assert line in error_of(written.write_filled, folder / "en.csv", folder / "filled.jsonl")


def test_folder_without_messages_is_an_error(tmp_path):
    assert "no messages; restore it with `git checkout" in error_of(
        written.language_files, tmp_path
    )


# ---- the messages themselves


@pytest.fixture(scope="module")
def wordings():
    """All wordings: columns kind, label, locale, text (with slots), language."""
    tables = [pd.DataFrame(read_csv(path)) for path in written.language_files(FOLDER)]
    table = pd.concat(tables, ignore_index=True)
    labels = written.read_labels(FOLDER)
    return table.assign(
        label=table["kind"].map(labels), language=table["locale"].str.split("-").str[0]
    )


def test_corpus_has_the_size_that_the_docs_promise(wordings):
    assert len(wordings) >= 3000
    assert wordings["text"].is_unique
    assert wordings["kind"].nunique() >= 100
    assert wordings["label"].value_counts(normalize=True)["ham"] == pytest.approx(0.5, abs=0.05)
    assert (wordings["language"].value_counts() >= 100).sum() >= 11


def test_each_spam_kind_imitates_a_ham_kind():
    table = pd.DataFrame(read_csv(FOLDER / "kinds.csv")).set_index("kind")
    spam = table[table["label"] == "spam"]
    assert set(table["label"]) == {"ham", "spam"}
    assert (table.loc[spam["looks_like"], "label"] == "ham").all()


def test_each_file_holds_its_language(wordings):
    for path in written.language_files(FOLDER):
        assert {locale.split("-")[0] for locale in read_csv(path)["locale"]} == {path.stem}


def test_wording_has_no_address_and_no_long_number(wordings):
    raw = re.compile(r"https?:|www\.|(?<!\w)@[a-z]|\d[\d -]{7,}\d")
    assert [text for text in wordings["text"] if raw.search(SLOT.sub("", text))] == []


def test_slots_alone_do_not_tell_the_label(wordings):
    """A model of the filled slots, without the words around them, guesses."""
    slots = written.read_slots(FOLDER)
    values, labels = [], []
    for row in wordings.sample(6000, random_state=1).itertuples():
        for slot in SLOT.findall(row.text):
            random = Random(f"{row.text} {slot}")
            values.append(written.draw_value(slot, slots.of_locale(row.locale)[slot], random))
            labels.append(row.label == "spam")
    model = make_pipeline(
        TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2), LogisticRegression()
    )
    scores = cross_val_predict(model, values, labels, cv=5, method="predict_proba")[:, 1]
    # which slots a message has, and its locale, tell a little; the values must tell no more
    assert roc_auc_score(labels, scores) < 0.56
    rates = {
        label: Counter(slot for text in texts for slot in set(SLOT.findall(text)))
        for label, texts in wordings.groupby("label")["text"]
    }
    shares = {slot: [rates[label][slot] for label in ("ham", "spam")] for slot in rates["ham"]}
    assert max(abs(np.subtract(*pair)) for pair in shares.values()) < 0.1 * len(wordings) / 2
