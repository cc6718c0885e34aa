"""Labels that somebody tampered with are seen, by the check that is for it; those that nobody did are not."""

import json
import random
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import ruamel.yaml

from benchmarks.poisoning import SETTINGS, SOURCES, alarms_of, flipped
from pipeline.core.errors import PipelineError
from pipeline.core.tables import write_csv
from pipeline.monitoring import poisoning
from pipeline.monitoring.poisoning import Judged, Params
from pipeline.registry import versions

PARAMS = Params(
    alpha=0.01, campaign_share=0.05, fewest_rows=100, fewest_messages=5, smallest_excess=0.02
)
WORDS = {
    "ham": "lunch home later see you love walk dog rain bus work tea soon kids mum",
    "spam": "prize win claim cash txt free call urgent offer award code reply mobile ringtone",
}


def messages(rows, seed, **sources):
    """Messages of which a word tells the label; a fifth is spam. `sources`: rows of each."""
    rng = random.Random(seed)
    labels = ["spam" if i % 5 == 0 else "ham" for i in range(rows)]
    texts = [" ".join(rng.choices(WORDS[label].split(), k=7)) for label in labels]
    source = [name for name, n in (sources or {"ours": rows}).items() for _ in range(n)]
    return pd.DataFrame({"text": texts, "label": labels, "source": source, "row": range(rows)})


def strangers(rows):
    """Texts that share no word and no campaign."""
    rng = random.Random(rows)
    return ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=20)) for _ in range(rows)]


def judged(disputed, spam=None, texts=None, source=None, known=(0, 1000)):
    """New messages of which these are disputed; `known`: disputed, of so many messages of either label."""
    rows = len(disputed)
    known_disputed = np.arange(2 * known[1]) % known[1] < known[0]
    return Judged(
        texts or strangers(rows),
        np.zeros(rows, bool) if spam is None else np.array(spam),
        np.array(source if source is not None else ["x"] * rows, object),
        np.array(disputed),
        np.arange(2 * known[1]) < known[1],
        known_disputed,
        known_texts=[],
    )


def first(n, of):
    return np.arange(of) < n


def alarming(found, params=PARAMS):
    return [check.name for check in poisoning.compare(found, params) if check.alarm]


# ---- each check


def test_where_labels_are_disputed_as_often_as_known_nothing_alarms():
    spam = first(100, of=500)
    assert alarming(judged(first(5, of=500), spam, known=(10, 1000))) == []


def test_more_disputed_labels_than_known_alarm_for_the_label_that_they_have():
    spam = first(250, of=500)
    assert alarming(judged(first(25, of=500), spam, known=(10, 1000))) == ["labels.spam"]
    assert alarming(judged(~first(475, of=500), spam, known=(10, 1000))) == ["labels.ham"]


def test_a_source_alarms_whose_labels_are_disputed_more_than_the_others():
    source = ["ours"] * 300 + ["theirs"] * 300 + ["few"] * 50
    disputed = np.zeros(650, bool)
    disputed[300:345] = True
    checks = {c.name: c for c in poisoning.sources(judged(disputed, source=source), PARAMS)}
    assert list(checks) == ["sources.ours", "sources.theirs"]
    assert checks["sources.theirs"].p_value < 1e-9 < 0.9 < checks["sources.ours"].p_value
    assert checks["sources.theirs"].effect == pytest.approx(45 / 300)
    assert checks["sources.theirs"].sentence == (
        "15.0% of the labels of theirs a model disputes, against 0.0%"
    )


def test_a_word_alarms_whose_messages_have_disputed_labels():
    texts = [f"hello {'Zentel' if i < 8 else 'there'} {'abcdefgh'[i % 8]}" for i in range(400)]
    [check] = poisoning.terms(judged(first(8, of=400), texts=texts, known=(5, 1000)), PARAMS)
    assert check.sentence == (
        "of 8 messages with 'zentel' the labels of 8 are disputed; 0.5% are expected"
    )
    assert (check.effect, check.n, check.matters) == (1.0, 8, True)
    assert check.p_value < 1e-12
    assert poisoning.terms(judged(first(8, of=9), texts=["7"] * 9), PARAMS) == []


def test_a_word_with_which_the_model_is_known_to_err_raises_no_alarm():
    texts = [f"hello {'sexy' if i < 8 else 'there'} {'abcdefgh'[i % 8]}" for i in range(400)]
    known = ["so sexy" if i < 50 else "so there" for i in range(1000)]
    found = judged(first(6, of=400), texts=texts, known=(10, 500))
    [check] = poisoning.terms(found, PARAMS)
    assert check.p_value < 1e-6
    wrong = np.arange(1000) < 20  # of which 50 hold the word
    [check] = poisoning.terms(replace(found, known_texts=known, known_disputed=wrong), PARAMS)
    assert check.p_value > 0.05
    assert check.sentence.endswith("29.2% are expected")  # (20 + 20 * 21 / 1001) / (50 + 20)


def test_a_campaign_alarms_above_its_share_however_its_words_vary():
    rng = random.Random(1)
    others = [" ".join(rng.choices(WORDS["ham"].split(), k=8)) for _ in range(450)]
    names = ["Anna", "Ben", "Chris", "Dora"]
    texts = [
        f"Hi {rng.choice(names)}, your parcel {i} waits at the shop in the High Street"
        for i in range(50)
    ]
    found = judged(np.zeros(500, bool), texts=others + texts)
    assert alarming(found) == ["campaign"]
    assert alarming(found, replace(PARAMS, campaign_share=0.12)) == []
    [check] = poisoning.campaign(found, PARAMS)
    assert check.effect == 0.1
    assert check.sentence == "one campaign has 10.0% of the new messages; 5.0% are allowed"


def test_an_excess_that_is_too_small_to_matter_raises_no_alarm():
    found = judged(first(15, of=3000), np.ones(3000, bool), known=(0, 5000))
    [check] = [c for c in poisoning.compare(found, PARAMS) if c.name == "labels.spam"]
    assert check.corrected < 0.01
    assert not check.alarm


# ---- by a model


def test_flipped_labels_of_one_source_are_found_by_a_model_of_the_reference():
    reference, new = messages(400, seed=1), messages(400, seed=2, ours=200, theirs=200)
    assert alarming(poisoning.judge_by_reference(reference, new)) == []
    tampered = flipped(0.15)(
        new.assign(source=new["source"].map(dict(zip(("ours", "theirs"), SOURCES, strict=True)))),
        np.random.default_rng(1),
    )
    found = alarming(poisoning.judge_by_reference(reference, tampered))
    assert f"sources.{SOURCES[1]}" in found
    assert "labels.spam" in found


def test_the_champion_is_asked_and_its_error_is_that_on_test(store, monkeypatch, tmp_path):
    class Champion:
        def predict(self, table):
            return pd.DataFrame(
                {"label": ["ham" if "lunch" in text else "spam" for text in table["text"]]}
            )

    monkeypatch.setattr(versions, "load_champion", lambda: (Champion(), "3"))
    write_csv(poisoning.CONFUSION, ("actual", "predicted"), [("ham", "spam"), ("ham", "ham")])
    new = pd.DataFrame(
        {"text": ["lunch", "lunch", "win"], "label": ["ham", "spam", "spam"], "source": "x"}
    )
    found = poisoning.judge_by_champion(new)
    assert found.disputed.tolist() == [False, True, False]
    assert (found.known_spam.tolist(), found.known_disputed.tolist()) == (
        [False, False],
        [True, False],
    )


# ---- the command


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {"glob": "*", "encoding": "utf-8"}
    ruamel.yaml.YAML().dump(
        {"ingest": {"files": files}, "poisoning": vars(PARAMS)}, tmp_path / "params.yaml"
    )

    def run(reference, new):
        reference.to_csv("reference.csv", index=False)
        new.to_csv("new.csv", index=False)
        poisoning.main(["reference.csv", "new.csv", "--output", "out"])
        return json.loads((tmp_path / "out" / "poisoning.json").read_text()), (
            tmp_path / "out" / "poisoning.html"
        ).read_text()

    return run


def test_the_reports_name_the_alarm_and_only_the_page_shows_messages(project, caplog):
    caplog.set_level("INFO")
    new = messages(300, seed=2)
    new.loc[new.index[1:40:2], "label"] = "spam"
    report, page = project(messages(400, seed=1), new)
    assert report["alarm"] is True
    assert "labels.spam" in report["alarms"]
    assert report["rows"] == 300
    assert caplog.messages[-1].startswith("poisoning: 300 new messages: alarm: ")
    text = new.loc[1, "text"]
    assert text in page
    assert text not in json.dumps(report)
    assert "<script" not in page


def test_too_few_messages_are_one_line(project):
    with pytest.raises(
        PipelineError, match=r"^new.csv: 50 labelled messages, 10 of one label, where poisoning"
    ):
        project(messages(400, seed=1), messages(50, seed=2))
    with pytest.raises(
        PipelineError, match=r"^new.csv: 200 labelled messages, 0 of one label, where poisoning"
    ):
        project(messages(400, seed=1), messages(200, seed=2).assign(label="ham"))


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"alpha": 1.0}, "alpha, campaign_share and smallest_excess must be shares below 1"),
        ({"fewest_rows": 0}, "fewest_rows and fewest_messages must be 1 or more"),
    ],
)
def test_params_that_cannot_be_are_refused(changes, line):
    with pytest.raises(ValueError, match=line):
        replace(PARAMS, **changes)


# ---- the benchmark, in short


@pytest.mark.slow
def test_a_clean_draw_of_the_default_data_is_quiet_and_tampered_ones_are_not(sms_messages):
    rows = sms_messages.drop_duplicates("text", ignore_index=True)
    names = ["nobody tampered", "10 % of a source's 500 labels flipped", "the same, 2 %"]
    found = alarms_of(0, rows, {name: SETTINGS[name] for name in names})
    assert found["nobody tampered"] == []
    assert "sources" in found[names[1]]
    assert "terms" in found[names[2]]
