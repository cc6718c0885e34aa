"""Drift is seen where something has changed, by the check that is made for it, and nowhere else."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import drift as drift_
from benchmarks.drift import SHA256, plain_text, row, variant
from pipeline import ingest
from pipeline.core.errors import PipelineError
from pipeline.core.params import read_params
from pipeline.core.tables import read_parquet
from pipeline.monitoring import drift
from pipeline.preprocessing import profile
from tests.harness.small_project import stage_arguments

ROOT = Path(__file__).parents[2]
PARAMS = drift.Params(
    alpha=0.01,
    fewest_rows=100,
    fewest_messages=10,
    classifier_rows=5000,
    seed=1,
    smallest_effects={
        "label_share": 0.05,
        "length": 0.1,
        "script": 0.02,
        "unknown_words": 0.1,
        "terms": 0.02,
        "domain_classifier": 0.55,
    },
)
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
RARE = ["".join(word) for word in np.random.default_rng(9).choice(LETTERS, (5000, 7))]
COMMON = RARE[:300]


def drawn(seed, n, *, spam=0.15, words=(3, 12), vocabulary=COMMON):
    """Made messages: spam and ham in the same words, so that a check sees only what it is made for."""
    rng = np.random.default_rng(seed)
    texts = [" ".join(rng.choice(vocabulary, rng.integers(*words))) for _ in range(n)]
    return pd.DataFrame({"text": texts, "label": np.where(rng.random(n) < spam, "spam", "ham")})


REFERENCE = drawn(1, 1200)
NEW = drawn(2, 400)


def with_letter(messages, letter, count):
    texts = messages["text"].tolist()
    return messages.assign(text=[one.replace("a", letter) for one in texts[:count]] + texts[count:])


def with_word(messages, word, count):
    texts = messages["text"].tolist()
    return messages.assign(text=[f"{one} {word}" for one in texts[:count]] + texts[count:])


CHANGES = {  # by check, new messages that it must see
    "label_share": drawn(2, 400, spam=0.30),
    "length": drawn(2, 400, words=(3, 25)),
    "script": with_letter(NEW, "\N{CYRILLIC SMALL LETTER A}", 20),
    "unknown_words": drawn(2, 400, vocabulary=RARE),
    "terms": with_word(NEW, "parcel", 20),
    "domain_classifier": NEW.assign(text=NEW["text"].str.upper() + " !?"),
}


def compared(reference, new, params=PARAMS):
    found = profile.describe({"reference": reference, "new": new})
    return {check.name: check for check in drift.compare(found, params)}


def alarming(reference, new, params=PARAMS):
    return {name for name, check in compared(reference, new, params).items() if check.alarm}


def params_with(**changes):
    return dataclasses.replace(PARAMS, **changes)


# ---- the checks


@pytest.mark.parametrize("name", drift.CHECKS)
def test_each_check_sees_what_it_is_made_for(name):
    assert name in alarming(REFERENCE, CHANGES[name])


def test_nothing_alarms_where_nothing_has_changed():
    found = compared(REFERENCE, NEW)
    assert list(found) == list(drift.CHECKS)
    assert [name for name, check in found.items() if check.alarm] == []


@pytest.mark.parametrize("name", drift.CHECKS)
def test_what_is_too_small_to_matter_raises_no_alarm_however_sure_it_is(name):
    smallest = PARAMS.smallest_effects | {name: 2.0}
    check = compared(REFERENCE, CHANGES[name], params_with(smallest_effects=smallest))[name]
    assert check.corrected < 0.01
    assert (check.matters, check.alarm) == (False, False)


def test_label_share_is_that_of_labelled_messages():
    new = pd.concat(
        [drawn(2, 200, spam=0.0), drawn(3, 200, spam=1.0), drawn(4, 100).assign(label=None)]
    )
    check = compared(REFERENCE, new)["label_share"]
    old = (REFERENCE["label"] == "spam").mean()
    assert check.effect == pytest.approx(0.5 - old)
    assert check.sentence == f"spam in 50.0% of the messages against {old:.1%}"
    assert check.n == 1600


@pytest.mark.parametrize("labelled", [0, 99])
def test_without_enough_labels_their_share_is_not_asked_for(labelled):
    new = NEW.assign(label=[*NEW["label"][:labelled], *[None] * (400 - labelled)])
    assert list(compared(REFERENCE, new)) == [
        name for name in drift.CHECKS if name != "label_share"
    ]


def test_length_is_told_by_its_median():
    check = compared(REFERENCE, CHANGES["length"])["length"]
    old, new = (messages["text"].str.len().median() for messages in (REFERENCE, CHANGES["length"]))
    assert check.sentence == f"median length {new:.0f} characters against {old:.0f}"


def test_one_letter_of_another_script_is_enough():
    new = NEW.assign(
        text=["pаrcel " + one if i < 12 else one for i, one in enumerate(NEW["text"])]
    )  # а
    check = compared(REFERENCE, new)["script"]
    assert check.sentence == "cyrillic in 3.0% of the messages against 0.0%"
    assert check.alarm


def test_unknown_words_are_asked_of_the_reference_as_of_the_new_messages():
    check = compared(REFERENCE, NEW)["unknown_words"]
    assert check.sentence == "0.0% of a message's words are unknown against 0.0%"
    rare = compared(drawn(1, 1200, vocabulary=RARE), drawn(2, 400, vocabulary=RARE))[
        "unknown_words"
    ]
    new, old = map(float, re.findall(r"([\d.]+)%", rare.sentence))
    assert new == pytest.approx(old, abs=2)
    assert old > 15


def test_the_term_that_differs_most_surely_is_named_and_the_others_counted():
    new = with_word(with_word(NEW, "parcel", 20), "depot", 17)
    check = compared(REFERENCE, new)["terms"]
    assert re.fullmatch(
        r"parcel in 5\.0% of the messages against 0\.0%; 1 more of 302 differ", check.sentence
    )
    assert check.effect == pytest.approx(0.05)
    assert check.low < 0.05 < check.high


def test_a_term_that_matters_comes_before_a_surer_one_that_does_not():
    """`often` gains three points, `seldom` one and a half from nothing, which is the surer of the two."""
    old = pd.DataFrame({"text": ["often"] * 1000 + ["1"] * 1000, "label": "ham"})
    new = pd.DataFrame({"text": ["often"] * 1060 + ["seldom"] * 30 + ["1"] * 910, "label": "ham"})
    named = {}
    for smallest in (0.01, 0.02, 0.05):
        params = params_with(smallest_effects=PARAMS.smallest_effects | {"terms": smallest})
        check = drift.terms(profile.describe({"reference": old, "new": new}), params)
        named[smallest] = check.sentence.split()[0], check.matters
    assert named == {0.01: ("seldom", True), 0.02: ("often", True), 0.05: ("seldom", False)}


def test_p_of_a_term_is_corrected_for_all_that_were_tried():
    """Both times 10 of 400 hold it, and 0 of 1,200."""
    among_many = compared(REFERENCE, with_word(NEW, "parcel", 10))["terms"]
    sets = {
        "reference": REFERENCE.assign(text="1"),
        "new": with_word(NEW.assign(text="1"), "parcel", 10),
    }
    alone = drift.terms(profile.describe(sets), PARAMS)
    assert among_many.p_value == pytest.approx(301 * alone.p_value)
    assert among_many.high - among_many.low > 1.5 * (alone.high - alone.low)


def test_words_of_few_messages_are_not_tried():
    assert (
        drift.terms(
            profile.describe(
                {"reference": REFERENCE.assign(text="1"), "new": NEW.assign(text="2")}
            ),
            PARAMS,
        )
        is None
    )
    new = with_word(NEW.assign(text="1"), "parcel", 9)
    assert (
        drift.terms(profile.describe({"reference": REFERENCE.assign(text="1"), "new": new}), PARAMS)
        is None
    )


def test_the_domain_classifier_learns_no_campaign_by_heart():
    """A fifth of both sets is copies of campaigns of their own, in the same words as everything else."""
    campaigns = [drawn(seed, 1)["text"][0] for seed in range(100, 140)]

    def with_copies(messages, of):
        copies = [f"{of[i % len(of)]} {i}" for i in range(len(messages) // 5)]
        return messages.assign(text=[*copies, *messages["text"][len(copies) :]])

    check = compared(with_copies(REFERENCE, campaigns[:20]), with_copies(NEW, campaigns[20:]))[
        "domain_classifier"
    ]
    assert check.effect < 0.55


def test_the_domain_classifier_sees_no_more_rows_than_it_is_told():
    assert compared(REFERENCE, NEW)["domain_classifier"].n == 1600
    some = compared(REFERENCE, CHANGES["domain_classifier"], params_with(classifier_rows=150))
    assert some["domain_classifier"].n == 300
    assert some["domain_classifier"].alarm


@pytest.mark.parametrize("texts", ["", "one campaign alone"])
def test_without_words_or_campaigns_there_is_no_domain_classifier(texts):
    found = compared(REFERENCE.assign(text=""), NEW.assign(text=texts))
    assert "domain_classifier" not in found


def test_equal_messages_are_equal_findings():
    assert compared(REFERENCE, CHANGES["terms"]) == compared(REFERENCE, CHANGES["terms"])


# ---- params


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"alpha": 0.0}, "alpha must be above 0 and below 1"),
        ({"alpha": 1.0}, "alpha must be above 0 and below 1"),
        ({"fewest_rows": 9}, "10 or more"),
        ({"fewest_messages": 9}, "10 or more"),
        ({"classifier_rows": 9}, "10 or more"),
        ({"seed": -1}, "seed: 0 or more"),
        (
            {"smallest_effects": {"length": 0.1}},
            "smallest_effects must name label_share, length, script",
        ),
        ({"smallest_effects": PARAMS.smallest_effects | {"odour": 1.0}}, "and nothing else"),
    ],
)
def test_params_that_make_no_sense_are_refused(changes, problem):
    with pytest.raises(ValueError, match=problem):
        params_with(**changes)


def test_the_params_of_the_project_are_those_of_these_tests():
    read = read_params(drift.Params, "drift", ROOT / "params.yaml")
    assert dataclasses.asdict(read) == dataclasses.asdict(PARAMS)


# ---- the command


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the project's params, the reference, and new messages that drifted, without labels."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    REFERENCE.to_csv("reference.csv", index=False)
    CHANGES["terms"][["text"]].to_csv("new.csv", index=False)
    return tmp_path


def test_the_command_writes_both_reports_and_says_what_alarms(folder, caplog):
    caplog.set_level("INFO")
    drift.main(["reference.csv", "new.csv"])
    report = json.loads((folder / "data" / "review" / "drift.json").read_text())
    assert (report["rows"], report["alarm"], list(report["alarms"])) == (400, True, ["terms"])
    assert list(report["figures"]) == [name for name in drift.CHECKS if name != "label_share"]
    page = (folder / "data" / "review" / "drift.html").read_text(encoding="utf-8")
    for said in (page, caplog.text):
        assert "400 new messages against 1,200: alarm: terms (p " in said
        assert "parcel in 5.0% of the messages against 0.0%" in said
        assert "Not asked, for want of labels, words or campaigns: label_share." in said


def test_the_page_has_both_sets_figures_and_the_words_that_differ(folder):
    drift.main(["reference.csv", "reference.csv", "--output", "same"])
    drift.main(["reference.csv", "new.csv", "--output", "other"])
    same, other = (
        re.sub(r"\s+", " ", (folder / name / "drift.html").read_text())
        for name in ("same", "other")
    )
    assert "<td>rows</td><td>1,200</td><td>400</td>" in other
    share = (REFERENCE["label"] == "spam").mean()
    assert f"<td>spam_share</td><td>{share:.3g}</td><td></td>" in other
    assert re.search(
        r"p, corrected for all words</th></tr> <tr><td>parcel</td><td>0</td><td>0.05</td>", other
    )
    assert "Not asked" not in same
    assert "no alarm from 6 checks" in same


def test_the_json_holds_no_message(folder):
    drift.main(["reference.csv", "new.csv"])
    report = (folder / "data" / "review" / "drift.json").read_text()
    assert not [one for one in [*REFERENCE["text"], *NEW["text"]] if one in report]


def test_equal_files_are_equal_reports(folder):
    for output in ("one", "two"):
        drift.main(["reference.csv", "new.csv", "--output", output])
    for name in ("drift.json", "drift.html"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()


@pytest.mark.parametrize("files", [("few.csv", "new.csv"), ("reference.csv", "few.csv")])
def test_too_few_messages_are_one_line_that_says_how_many_it_takes(folder, files):
    REFERENCE[:99].to_csv("few.csv", index=False)
    problem = "few.csv: 99 messages, where drift.fewest_rows asks for 100; bring more"
    with pytest.raises(PipelineError, match=f"^{re.escape(problem)}$"):
        drift.main([*files, "--output", "out"])
    assert not (folder / "out").exists()


def test_a_file_that_is_not_there_is_one_line(folder):
    with pytest.raises(PipelineError, match=r"nowhere\.csv"):
        drift.main(["reference.csv", "nowhere.csv"])


# ---- the benchmark


def test_a_campaign_varies_its_numbers_and_words_and_nothing_else():
    rng = np.random.default_rng(0)
    made = {variant("Your (depot/hub) holds *: pay *", rng) for _ in range(40)}
    assert len(made) == 40
    assert all(re.fullmatch(r"Your (depot|hub) holds \d{2,5}: pay \d{2,5}", one) for one in made)
    assert {one.split()[1] for one in made} == {"depot", "hub"}


def test_a_mail_is_its_first_plain_text_without_headers():
    mail = "From: a@b.example\nSubject: hi\n\n{}"
    assert plain_text(mail.format(" see you\n")) == "see you"
    assert len(plain_text(mail.format("x" * 3000))) == 2000
    assert plain_text("Content-Type: text/html\n\n<b>see</b>") == ""


def test_a_row_of_the_table_has_the_exact_interval():
    draws = [["terms"], ["terms", "length"], [], []]
    assert row("mail", draws) == "| mail | 4 | 2 | 50.0% (6.8% to 93.2%) | terms 2, length 1 |"
    assert row("clean", [[]] * 200) == "| clean | 200 | 0 | 0.0% (0.0% to 1.8%) | none |"


@pytest.fixture(scope="module")
def real(sms_places, tmp_path_factory):
    """The default messages, each text once."""
    folder = tmp_path_factory.mktemp("messages")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        paths = sms_places.lock, sms_places.inbox, folder / "all", folder / "report"
        ingest.main(stage_arguments("ingest", *paths))
    messages = read_parquet(folder / "all", ["text", "label"]).to_pandas()
    path = folder / "messages.parquet"
    messages.drop_duplicates("text").to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("nothing changed", set()),
        ("spam share doubled", {"label_share"}),
        ("a new campaign, 5 %", {"terms"}),
        ("a new campaign, 5 %, no labels", {"terms"}),
    ],
)
def test_on_the_default_messages_what_changed_alarms_and_nothing_else(
    real, monkeypatch, setting, expected
):
    monkeypatch.chdir(ROOT)
    for seed in range(3):
        assert expected <= set(drift_.alarming(real, setting, seed))
        assert expected or not drift_.alarming(real, setting, seed)


def test_mail_among_the_default_messages_alarms(real, monkeypatch):
    monkeypatch.chdir(ROOT)
    if not ((ROOT / ".downloads" / SHA256).exists() or shutil.which("npm")):
        pytest.skip("npm, which brings the e-mail, is not installed")
    for seed in range(2):
        assert {"length", "domain_classifier"} <= set(drift_.alarming(real, "e-mail, 20 %", seed))
