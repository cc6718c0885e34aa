"""A decision is recorded at run, version and ledger, and moves the alias once."""

import json
import re
from pathlib import Path
from unittest import mock

import pytest

from pipeline.registry import ledger, recovery, registration, versions
from tests.harness.errors import error_of
from tests.harness.small_project import set_params


@pytest.mark.slow
def test_better_challenger_becomes_the_champion_once(champion):
    champion.set_threshold(0.0)
    report = champion.register()
    assert champion.verdict().startswith("promote: f1 +0.")
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("promote", "2", "1")]
    figures = json.loads(report)["figures"]
    assert figures["duel.champion.f1"]["value"] == 0
    assert figures["duel.difference.f1"]["low"] > 0
    entry = ledger.read_entries()[1]
    assert entry.figures == figures
    assert entry.verdict_text == champion.verdict() == champion.tags("2")["verdict"]
    assert champion.register() == report
    assert len(champion.entries()) == 2


# ---- a person decides


@pytest.mark.slow
def test_rolled_back_model_needs_force_to_return(champion):
    champion.register_thresholds(0.0)
    recovery.rollback(None, "it calls anything spam")
    assert champion.aliases() == {"champion": "1", "previous": "2"}
    champion.register()
    assert champion.verdict() == "nothing new: this model was rolled back: it calls anything spam"
    assert champion.aliases()["champion"] == "1"
    champion.register("--force", "--reason", "I was wrong")
    forced = champion.verdict()
    assert forced.startswith("forced: I was wrong (nothing new: this model was rolled back: it ")
    assert champion.runs()[-1].data.tags["verdict"] == forced
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    verdicts = [verdict for verdict, *_ in champion.entries()]
    assert verdicts == ["first", "promote", "rollback", "forced"]
    champion.register()
    assert champion.verdict() == forced
    assert champion.aliases()["champion"] == "2"


@pytest.mark.slow
def test_replaced_model_is_decided_on_anew(champion):
    """Its old decision was carried out once, and does not count again."""
    champion.register_thresholds(0.0)
    champion.set_threshold(2.0)
    champion.register("--force", "--reason", "I like it")
    champion.register_thresholds(0.0)
    decisions = [(verdict, version) for verdict, version, _ in champion.entries()]
    assert decisions == [("first", "1"), ("promote", "2"), ("forced", "1"), ("promote", "2")]
    assert champion.aliases() == {"champion": "2", "previous": "1"}


# ---- before the alias moves


@pytest.mark.slow
def test_version_with_other_answers_is_not_promoted(evaluated, monkeypatch):
    set_params(evaluated.folder, {"register": {"parity": ["DataFrame"]}})
    add_version = versions.add_version

    def add_tampered_version(*arguments):
        version = add_version(*arguments)
        decision = evaluated.artifacts(version.number) / "decision.json"
        decision.write_text(decision.read_text().replace('"slope": 1.0', '"slope": 2.0'))
        return version

    monkeypatch.setattr(versions, "add_version", add_tampered_version)
    for flags in ([], ["--force", "--reason", "because"]):
        line = error_of(evaluated.register, *flags)
        assert re.fullmatch(r"models:/spam-detector/1: DataFrame: .*; the champion stays", line)
    monkeypatch.setattr(registration, "check_parity", lambda *_: None)
    line = f"version 1: its files are not those that were registered; {versions.REBUILD_ALL}"
    assert error_of(evaluated.register) == line
    assert evaluated.aliases() == {}
    assert evaluated.entries() == []
    assert not Path("register.json").exists()


@pytest.mark.slow
def test_champion_that_changes_meanwhile_stops_the_promotion(champion, monkeypatch):
    champion.set_threshold(0.0)

    def promote_another(*_):
        other = champion.store.create_model_version("spam-detector", "x")
        versions.set_alias("champion", other.version)

    monkeypatch.setattr(registration, "check_parity", promote_another)
    assert error_of(champion.register) == (
        "models:/spam-detector@champion: version 3 became the champion meanwhile; run it again"
    )


@pytest.mark.slow
def test_registry_without_its_champion_accepts_no_model(champion):
    champion.store.delete_registered_model_alias("spam-detector", "champion")
    champion.set_threshold(0.0)
    assert error_of(champion.register) == (
        "ledger.jsonl: version 1 is the champion, but the registry has none; check "
        "MLFLOW_TRACKING_URI, or run `python -m pipeline ledger restore` to rebuild the registry, "
        "or delete ledger.jsonl to start anew"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "call"),
    [
        (registration, "check_parity"),
        (versions, "set_tags"),
        (versions, "set_alias"),
        (versions, "update_other_aliases"),
        (ledger, "append_entry"),
    ],
)
def test_killed_promotion_is_completed_by_the_next_run(module, call, champion):
    champion.set_threshold(0.0)
    killed = mock.patch.object(module, call, side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        champion.register()
    champion.register()
    assert champion.versions() == ["1", "2"]
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("promote", "2", "1")]
