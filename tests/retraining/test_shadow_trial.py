"""A winner has won its trial if the log of both versions says nothing against it."""

import shutil
import time
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from pipeline.core.hashing import message_id
from pipeline.core.params import read_yaml
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import write_parquet
from pipeline.monitoring.predictions import PREDICTIONS_FOLDER
from pipeline.registry import subprocesses, versions
from pipeline.registry.ledger import ENTRY_TAG
from pipeline.registry.package_hash import PACKAGE_TAG, hash_package
from pipeline.retraining import history, shadow_trial
from pipeline.retraining.shadow_trial import NO_TRIAL, ShadowRule, Trial, judge_trial
from pipeline.serving.http.champion import ServedChampion
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.shadow import Shadow, shadow_version
from pipeline.serving.scoring import scoring_time
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness import small_models
from tests.harness.errors import error_of
from tests.harness.ledger_entries import FIRST, SECOND
from tests.harness.mlflow_store import store_at
from tests.harness.model_server import champion_server, metrics_with
from tests.harness.prediction_logs import NOON, write_log
from tests.harness.small_project import ROOT, init_repository, set_params

RULE = ShadowRule(days=2, messages=4, disagreement=0.25, ham_lost_margin=0.1)
LENIENT = RULE.model_copy(update={"disagreement": 1.0, "ham_lost_margin": 1.0})
KEEP_SERVING = "keep `python -m pipeline serve --shadow 2 --log data/predictions` running"
FOUR = [("a", 0.9, 0.9), ("b", 0.1, 0.2), ("c", 0.2, 0.1), ("d", 0.1, 0.1)]  # equal labels


@pytest.fixture(autouse=True)
def registry(store):
    """A registry with version 1, the champion, and 2, which won; params are in the folder."""
    store.create_registered_model(MODEL_NAME)
    for entry in (FIRST, SECOND):
        tags = {ENTRY_TAG: entry.json_line()}
        store.create_model_version(MODEL_NAME, "file:///nowhere", tags=tags)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    duel = read_yaml()["register"]["duel"] | {"newest_rows": 5}
    set_params(Path("."), {"register": {"duel": duel}})
    return store


def log_pairs(pairs, time=NOON, **more):
    """Logs messages that both versions label at a time, with a threshold of 0.5.

    Args:
        pairs: text, probability of version 2, and probability of version 1 of each message.
    """
    rows = [
        {
            "text": text,
            "model_version": version,
            "probability": probability,
            "label": "spam" if probability >= 0.5 else "ham",
            "scored_at": time,
            **more,
        }
        for text, *probabilities in pairs
        for version, probability in zip("21", probabilities, strict=True)
    ]
    write_log(PREDICTIONS_FOLDER, rows, time)


def log_trial(pairs):
    """Logs a trial that is long enough: the last message comes two days later."""
    log_pairs(pairs[:-1])
    log_pairs(pairs[-1:], NOON + timedelta(days=2))


def judge(rule=RULE, winner=SECOND):
    return judge_trial(winner, FIRST, rule)


# ---- when there is a trial, and when it is over


def test_no_trial_where_params_ask_for_none():
    assert judge(RULE.model_copy(update={"days": 0})) == NO_TRIAL


def test_first_champion_needs_no_trial():
    assert judge_trial(FIRST, None, RULE) == NO_TRIAL


def test_missing_log_waits():
    sentence = (
        "data/predictions: no log of predictions; both versions have labelled 0 messages in "
        f"0.0 days (4 in 2 days needed); {KEEP_SERVING}"
    )
    assert judge() == Trial("waits", sentence)


def test_too_few_messages_wait():
    log_trial(FOUR[:3])
    needed = "both versions have labelled 3 messages in 2.0 days (4 in 2 days needed)"
    assert judge() == Trial("waits", f"{needed}; {KEEP_SERVING}")


def test_too_few_days_wait():
    log_pairs(FOUR)
    log_pairs([("e", 0.1, 0.1)], NOON + timedelta(days=1.9))
    needed = "both versions have labelled 5 messages in 1.9 days (4 in 2 days needed)"
    assert judge() == Trial("waits", f"{needed}; {KEEP_SERVING}")


@pytest.mark.parametrize("change", [{"version": "3"}, {"model_hash": "another"}])
def test_version_that_the_registry_has_lost_waits(change):
    log_trial(FOUR)
    sentence = "the registry has lost this version; check MLFLOW_TRACKING_URI"
    assert judge(winner=replace(SECOND, **change)) == Trial("waits", sentence)


def test_file_that_is_no_log_is_an_error():
    path = write_log(PREDICTIONS_FOLDER, [{}])
    pd.DataFrame({"label": ["ham"]}).to_parquet(path)
    assert error_of(judge).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("field", "value"),
    [("days", -1), ("messages", 0), ("disagreement", 1.1), ("ham_lost_margin", -0.1)],
)
def test_rule_out_of_range_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}\n.* should be (greater|less) than"):
        ShadowRule(**RULE.model_dump() | {field: value})


# ---- the messages


def test_pairs_have_the_answers_of_both_versions():
    log_pairs(FOUR[:1])
    (pair,) = shadow_trial.paired_answers(SECOND, FIRST).to_dict("records")
    assert pair == {
        "scored_at": NOON,
        "text_id": message_id("a"),
        "probability": 0.9,
        "label": "spam",
        "champion_probability": 0.9,
        "champion_label": "spam",
    }


def test_message_of_one_version_is_no_pair():
    write_log(PREDICTIONS_FOLDER, [{"text": "a", "model_version": one} for one in "13"])
    assert len(shadow_trial.paired_answers(SECOND, FIRST)) == 0


def test_repeated_message_counts_once():
    log_pairs([("a", 0.9, 0.8), ("a", 0.9, 0.8)])
    log_pairs([("a", 0.1, 0.2)], NOON + timedelta(hours=1), source="mail")
    assert len(shadow_trial.paired_answers(SECOND, FIRST)) == 1


def test_message_without_a_source_is_a_pair():
    log_pairs(FOUR, source=None)
    assert len(shadow_trial.paired_answers(SECOND, FIRST)) == 4


def test_answers_for_two_sources_are_no_pair():
    rows = [{"text": "a", "model_version": one, "source": one} for one in "12"]
    write_log(PREDICTIONS_FOLDER, rows)
    assert len(shadow_trial.paired_answers(SECOND, FIRST)) == 0


def test_answers_from_before_the_decision_do_not_count():
    """They may be those of another version 2, of before a new beginning."""
    log_pairs(FOUR)
    later = replace(SECOND, time=(NOON + timedelta(seconds=1)).isoformat())
    assert len(shadow_trial.paired_answers(later, FIRST)) == 0


# ---- the verdict


def test_equal_labels_win():
    log_trial(FOUR)
    sentence = (
        "4 messages in 2.0 days: different labels for 0.0% (limit 25.0%); expected ham lost "
        "3.7% [0.0%, 33.3%], the champion's 3.7% [0.0%, 33.3%] (limit of the rise: 10.0%); "
        "labelled: 0 ham and 0 spam (5 each needed)"
    )
    assert judge() == Trial("won", sentence)


def test_disagreement_above_the_limit_loses():
    log_trial([("a", 0.9, 0.1), ("b", 0.1, 0.9), *FOUR[2:]])
    sentence = "4 messages in 2.0 days: different labels for 50.0% (limit 25.0%)"
    assert judge() == Trial("lost", sentence)


def test_disagreement_at_the_limit_wins():
    log_trial([("a", 0.99, 0.1), *FOUR[1:]])
    assert judge().verdict == "won"


def test_higher_expected_ham_lost_loses():
    """The challenger expects to lose 0.45 of 3.15 ham, the champion 0.1 of 2.7."""
    log_trial([("a", 0.55, 0.9), ("b", 0.1, 0.2), ("c", 0.1, 0.1), ("d", 0.1, 0.1)])
    trial = judge()
    assert trial.verdict == "lost"
    assert "days: expected ham lost 14.3% [" in trial.sentence
    assert "], the champion's 3.7% [" in trial.sentence


def test_trial_without_expected_ham_loses_none():
    log_trial([(text, 1.0, 1.0) for text in "abcd"])
    trial = judge()
    assert trial.verdict == "won"
    assert "expected ham lost none, the champion's none" in trial.sentence


def test_later_messages_do_not_change_the_verdict():
    log_trial(FOUR)
    before = judge()
    log_pairs([(str(number), 0.9, 0.1) for number in range(9)], NOON + timedelta(days=3))
    assert judge() == before


# ---- labels of people


@pytest.fixture
def labelled(monkeypatch):
    """Ten messages that the challenger calls spam with certainty; people say that half are ham.

    Returns: sets what the versions have seen, by the MD5 of their splits.
    """
    texts = [f"message {number}" for number in range(10)]
    log_trial([(text, 0.99, 0.9 if place % 2 else 0.1) for place, text in enumerate(texts)])
    columns = {"source": "feedback/http", "row": 1, "received_at": None}
    columns |= {"kind": None, "language": None}
    messages = pd.DataFrame({"text": texts}).assign(
        message_id=[message_id(text) for text in texts],
        label=["spam" if place % 2 else "ham" for place in range(10)],
        **columns,
    )
    table = pa.Table.from_pandas(messages, MESSAGES, preserve_index=False)
    write_parquet(history.MESSAGES_FILE, table.to_batches(), MESSAGES)

    def set_seen(*texts):
        ids = pd.Series([message_id(text) for text in texts], dtype="str")
        monkeypatch.setattr(history, "seen_ids", lambda _: ids)

    set_seen()
    return set_seen


def test_significantly_worse_by_labels_loses(labelled):
    trial = judge(LENIENT)
    assert trial.verdict == "lost"
    assert trial.sentence.startswith("10 messages in 2.0 days: labelled: f1 -0.3333 [")
    assert trial.sentence.endswith(
        "on 10 messages that neither has seen; "
        "only the challenger is right on 0, only the champion on 5"
    )


def test_messages_that_a_version_has_seen_do_not_count(labelled):
    labelled("message 0", "message 1")
    trial = judge(LENIENT)
    assert trial.verdict == "won"
    assert trial.sentence.endswith("; labelled: 4 ham and 4 spam (5 each needed)")


@pytest.mark.slow
def test_lost_list_of_seen_messages_waits(labelled, monkeypatch, tmp_path):
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    init_repository(tmp_path)("dvc", "init", "--quiet")
    trial = judge(LENIENT)
    assert trial.verdict == "waits"
    assert trial.sentence.startswith("splits.parquet s1: neither in DVC's cache nor in its remote")


# ---- a server


@pytest.mark.slow
def test_same_model_in_the_shadow_of_a_server_wins(tmp_path, empty_database):
    (folder := tmp_path / "small").mkdir()
    project = small_models.SmallRegistry(folder, empty_database)
    shutil.copyfile(ROOT / "params.yaml", folder / "params.yaml")
    with store_at(project.address, folder):
        winner = replace(SECOND, time=scoring_time().isoformat())
        for entry in (FIRST, winner):
            package = hash_package(project.add().artifacts.parent)
            tags = {ENTRY_TAG: entry.json_line(), PACKAGE_TAG: package}
            versions.set_tags(entry.version, tags)
        serve_with_shadow(small_models.TEXTS[:20])
        rule = ShadowRule(days=1e-6, messages=20, disagreement=0, ham_lost_margin=0)
        trial = judge_trial(winner, FIRST, rule)
    assert trial.verdict == "won"
    assert "days: different labels for 0.0% (limit 0.0%); expected ham lost" in trial.sentence


def serve_with_shadow(texts):
    """Version 1 answers, and version 2 labels, these texts, and one more in a later second."""
    predictions = PredictionLog(PREDICTIONS_FOLDER)
    champion = ServedChampion(shadow_version("1"))
    shadow = Shadow(shadow_version("2"), predictions)
    server = champion_server(champion, predictions=predictions, shadow=shadow)
    with server as address, subprocesses.local_session() as session:
        labels = Counter()
        for batch in (texts, ["the last message"]):
            body = [{"text": text} for text in batch]
            answers = session.post(f"{address}/score", json=body, timeout=60).json()
            labels.update(answer["label"] for answer in answers)
            for label, count in labels.items():  # until the shadow has labelled the batch
                pair = f'label="{label}",shadow_label="{label}",version="2"'
                metrics_with(address, f"spam_shadow_verdicts_total{{{pair}}} {count}.0\n")
            labelled_at = scoring_time()
            while scoring_time() == labelled_at:
                time.sleep(0.05)
