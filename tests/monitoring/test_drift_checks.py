"""Each drift check raises an alarm for the change that it is made for, and for nothing else."""

import html
import unicodedata

import pandas as pd
import pytest

from pipeline.core.params import parse_params, read_params
from pipeline.monitoring import drift_checks
from pipeline.monitoring.drift_checks import DRIFT_CHECKS, Params
from pipeline.preprocessing.profile import describe_sets
from tests.harness.drift_messages import CHANGES, NEW, REFERENCE, draw, with_word
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT

PARAMS = read_params(Params, "drift", ROOT / "params.yaml")


def sets_of(reference, new):
    return describe_sets({"reference": reference, "new": new})


def terms(reference, new, params=PARAMS):
    return drift_checks.term_shares(sets_of(reference, new), params)


def with_smallest_effect(name, effect):
    return PARAMS.model_copy(update={"smallest_effects": PARAMS.smallest_effects | {name: effect}})


@pytest.mark.parametrize("name", DRIFT_CHECKS)
def test_each_check_raises_an_alarm_for_its_change(name):
    sets = sets_of(REFERENCE, CHANGES[name])
    check = DRIFT_CHECKS[name](sets, PARAMS)
    assert check.matters
    assert check.p_value < PARAMS.alpha / len(DRIFT_CHECKS)
    assert not DRIFT_CHECKS[name](sets, with_smallest_effect(name, 2.0)).matters


def test_without_a_change_there_is_no_alarm():
    sets = sets_of(REFERENCE, NEW)
    checks = {check.name: check for check in drift_checks.compare_sets({"": sets}, PARAMS)}
    assert list(checks) == list(DRIFT_CHECKS)
    assert [name for name, check in checks.items() if check.alarm] == []
    old, new = (messages["text"].str.len().median() for messages in (REFERENCE, NEW))
    length = f"median length {new:.0f} characters against {old:.0f}"
    assert checks["length"].sentence == length
    unknown = "0.0% of a message's words are unknown against 0.0%"
    assert checks["unknown_words"].sentence == unknown
    assert checks["domain_classifier"].n == 1600


def test_another_encoding_of_the_same_messages_is_no_change():
    reference, new = (
        part.assign(text=part["text"] + " café <#> & £1") for part in (REFERENCE, NEW)
    )
    decomposed = new["text"].map(lambda text: unicodedata.normalize("NFD", text))
    encoded = new.assign(text=decomposed.map(html.escape).str.replace(" ", "\u00ad&nbsp;"))
    checks, of_encoded = (
        drift_checks.compare_sets({"": sets_of(reference, part)}, PARAMS) for part in (new, encoded)
    )
    assert of_encoded == checks
    assert not any(check.alarm for check in checks)


def test_the_label_share_is_of_labelled_messages():
    parts = [draw(2, 200, spam=0.0), draw(3, 200, spam=1.0), draw(4, 100).assign(label=None)]
    check = drift_checks.label_share(sets_of(REFERENCE, pd.concat(parts)), PARAMS)
    old = (REFERENCE["label"] == "spam").mean()
    assert check.effect == pytest.approx(0.5 - old)
    assert check.sentence == f"spam in 50.0% of the messages against {old:.1%}"
    assert check.n == 1600


NO_WORDS = REFERENCE.assign(text="1")


@pytest.mark.parametrize(
    ("name", "reference", "new"),
    [
        ("label_share", REFERENCE, NEW.assign(label=[*NEW["label"][:99], *[None] * 301])),
        ("terms", NO_WORDS, with_word(NEW.assign(text="1"), "parcel", 9)),
        ("domain_classifier", REFERENCE.assign(text=""), NEW.assign(text="")),
        ("domain_classifier", REFERENCE.assign(text=""), NEW.assign(text="one campaign alone")),
    ],
    ids=["99 labels", "9 words", "no text", "one campaign"],
)
def test_too_little_data_is_not_compared(name, reference, new):
    assert DRIFT_CHECKS[name](sets_of(reference, new), PARAMS) is None


def test_the_most_significant_term_is_named_and_others_counted():
    check = terms(REFERENCE, with_word(with_word(NEW, "parcel", 20), "depot", 17))
    difference = "parcel in 5.0% of the messages against 0.0%"
    assert check.sentence == f"{difference}; 1 more of 302 differ"
    assert check.effect == pytest.approx(0.05)
    assert check.low < 0.05 < check.high


@pytest.mark.parametrize(
    ("smallest", "word", "matters"),
    [(0.01, "seldom", True), (0.02, "often", True), (0.05, "seldom", False)],
)
def test_a_term_that_matters_comes_first(smallest, word, matters):
    """`often` gains 3 points; `seldom` gains 1.5 points from nothing, which has a smaller p."""
    old = pd.DataFrame({"text": ["often"] * 1000 + ["1"] * 1000, "label": "ham"})
    new = pd.DataFrame({"text": ["often"] * 1060 + ["seldom"] * 30 + ["1"] * 910, "label": "ham"})
    check = terms(old, new, with_smallest_effect("terms", smallest))
    assert (check.sentence.split()[0], check.matters) == (word, matters)


def test_p_of_a_term_is_corrected_for_all_tested_terms():
    """In both cases 10 of 400 new messages have the word, and 0 of 1,200 others."""
    among_many = terms(REFERENCE, with_word(NEW, "parcel", 10))
    alone = terms(NO_WORDS, with_word(NEW.assign(text="1"), "parcel", 10))
    assert among_many.p_value == pytest.approx(301 * alone.p_value)
    assert among_many.high - among_many.low > 1.5 * (alone.high - alone.low)


def test_the_domain_classifier_does_not_learn_campaigns():
    """A fifth of each set is copies of its own campaigns, in the words of all messages."""
    campaigns = [draw(seed, 1)["text"][0] for seed in range(100, 140)]

    def with_copies(messages, texts):
        copies = [f"{texts[i % len(texts)]} {i}" for i in range(len(messages) // 5)]
        return messages.assign(text=[*copies, *messages["text"][len(copies) :]])

    sets = sets_of(with_copies(REFERENCE, campaigns[:20]), with_copies(NEW, campaigns[20:]))
    assert drift_checks.domain_classifier(sets, PARAMS).effect < 0.55


def test_the_domain_classifier_takes_a_sample_of_large_sets():
    sets = sets_of(REFERENCE, CHANGES["domain_classifier"])
    params = PARAMS.model_copy(update={"classifier_rows": 150})
    check = drift_checks.domain_classifier(sets, params)
    assert check.n == 300
    assert check.p_value < 0.001
    assert check == drift_checks.domain_classifier(sets, params)


@pytest.mark.parametrize("names", [["length"], [*DRIFT_CHECKS, "x"]])
def test_smallest_effects_are_of_all_checks_and_no_others(names):
    values = PARAMS.model_dump() | {"smallest_effects": dict.fromkeys(names, 0.1)}
    line = error_of(parse_params, Params, values, "drift")
    assert line.startswith("drift.smallest_effects: must name label_share, length, script, ")
