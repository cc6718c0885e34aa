"""A decision is recorded at run, version and ledger, and moves the alias once."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.models import keras_files
from pipeline.registry import ledger, recovery, registration, versions
from tests.harness.small_project import set_params


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


@pytest.mark.slow
def test_registered_champion_answers_by_its_own_code(champion):
    model, number = versions.load_champion()
    assert number == "1"
    assert [column.name for column in model.metadata.signature.inputs] == ["text"]
    answer = model.predict(pd.DataFrame({"text": ["WIN a prize now", "see you at lunch"]}))
    assert list(answer.columns) == ["label", "probability", "threshold"]
    assert answer["label"].tolist() == ["ham", "ham"]  # the threshold is 2
    series = model.predict(pd.Series(["see you at lunch"], name="text"))
    assert series["probability"][0] == pytest.approx(answer["probability"][1], abs=1e-6)


# ---- a person decides


@pytest.mark.slow
def test_forced_model_becomes_the_champion(champion):
    champion.register_thresholds(3.0)
    champion.register("--force", "--reason", "the old one loses receipts")
    verdict = champion.verdict()
    assert verdict.startswith("forced: the old one loses receipts (tie: f1 ")
    assert champion.runs()[-1].data.tags["verdict"] == verdict
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("forced", "2", "1")]
    champion.register()
    assert champion.verdict() == verdict


@pytest.mark.slow
def test_rolled_back_model_needs_force_to_return(champion):
    champion.register_thresholds(0.0)
    recovery.rollback(None, "it calls anything spam")
    assert champion.aliases() == {"champion": "1", "previous": "2"}
    champion.register()
    assert champion.verdict() == "nothing new: this model was rolled back: it calls anything spam"
    assert champion.aliases()["champion"] == "1"
    champion.register("--force", "--reason", "I was wrong")
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    verdicts = [verdict for verdict, *_ in champion.entries()]
    assert verdicts == ["first", "promote", "rollback", "forced"]
    champion.register()
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
        with pytest.raises(
            PipelineError,
            match=r"^models:/spam-detector/1: DataFrame: .* differ.*; the champion stays$",
        ):
            evaluated.register(*flags)
    assert evaluated.aliases() == {}
    assert evaluated.entries() == []
    assert not Path("register.json").exists()


@pytest.mark.slow
def test_model_with_nan_weights_is_never_promoted(champion):
    set_params(champion.folder, {"register": {"parity": ["DataFrame"]}})
    network = champion.folder / "model.keras"
    model = keras_files.load(network)
    model.set_weights([np.full_like(weight, np.nan) for weight in model.get_weights()])
    keras_files.save(model, network)
    champion.register()
    assert champion.aliases() == {"champion": "1", "challenger": "2"}
    with pytest.raises(PipelineError, match=r"DataFrame: .* probabilities do not lie in \[0, 1\]"):
        champion.register("--force", "--reason", "because")
    assert champion.aliases()["champion"] == "1"


@pytest.mark.slow
def test_champion_that_changes_meanwhile_stops_the_promotion(champion, monkeypatch):
    champion.set_threshold(0.0)

    def promote_another(*_):
        other = champion.store.create_model_version("spam-detector", "x")
        versions.set_alias("champion", other.version)

    monkeypatch.setattr(registration, "check_parity", promote_another)
    with pytest.raises(PipelineError) as refused:
        champion.register()
    assert str(refused.value) == (
        "models:/spam-detector@champion: version 3 became the champion meanwhile; run it again"
    )


@pytest.mark.slow
def test_registry_without_its_champion_accepts_no_model(champion):
    champion.store.delete_registered_model_alias("spam-detector", "champion")
    champion.set_threshold(0.0)
    with pytest.raises(PipelineError) as refused:
        champion.register()
    assert str(refused.value) == (
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
def test_killed_promotion_is_completed_by_the_next_run(module, call, champion, monkeypatch):
    def kill(*_, **__):
        raise KeyboardInterrupt

    champion.set_threshold(0.0)
    with monkeypatch.context() as patched:
        patched.setattr(module, call, kill)
        with pytest.raises(KeyboardInterrupt):
            champion.register()
    champion.register()
    assert champion.versions() == ["1", "2"]
    assert champion.aliases() == {"champion": "2", "previous": "1"}
    assert champion.entries() == [("first", "1", None), ("promote", "2", "1")]
