"""The server's champion follows the registry, and stays when its successor cannot be used."""

from types import SimpleNamespace

import mlflow
import numpy as np
import pytest

from pipeline.models.served_model import MAX_TOKENS, MIN_WIDTH
from pipeline.preprocessing.tokenizer import encode_texts, fit_tokenizer
from pipeline.serving.http import champion
from pipeline.serving.http.champion import WARM_UP_CHARACTER, served_champion, warm_up
from pipeline.serving.labels import label_messages
from tests.harness import small_models
from tests.harness.ledger_entries import make_champion
from tests.harness.mlflow_store import store_at

MESSAGES = [small_models.TEXTS[0], small_models.TEXTS[1]]


@pytest.fixture
def registry(tmp_path, empty_database, monkeypatch):
    """Three versions of a small model, of which the first is the champion."""
    monkeypatch.setattr(champion, "WARM_UP_LENGTHS", (3,))
    project = small_models.SmallRegistry(tmp_path, empty_database)
    with store_at(project.address, project.folder):
        models = {number: project.add() for number in "123"}
        store = mlflow.MlflowClient(project.address, project.address)

        def promote(number):
            make_champion(store, number, models[number].artifacts.parent)

        promote("1")
        yield SimpleNamespace(models=models, promote=promote, store=store)


@pytest.mark.slow
def test_new_champion_takes_over_and_a_rollback_loads_nothing(registry):
    served = served_champion()
    first = served.current
    served.update()
    assert (served.current, served.reloads) == (first, 0)
    registry.promote("2")
    served.update()
    assert (served.current.number, served.problem) == ("2", None)
    assert len(label_messages(MESSAGES, served.current.model)) == len(MESSAGES)
    registry.promote("1")
    served.update()
    assert served.current is first
    assert served.reloads == 2


@pytest.mark.slow
def test_two_versions_are_kept(registry):
    served = served_champion()
    first = served.current
    for number in ("2", "3", "1"):
        registry.promote(number)
        served.update()
    assert served.current.number == "1"
    assert served.current is not first


@pytest.mark.slow
def test_version_that_was_changed_does_not_take_over(registry, caplog):
    served = served_champion()
    registry.promote("2")
    decision = registry.models["2"].artifacts / "decision.json"
    decision.write_text(decision.read_text().replace("0.9", "0.1"))
    for _ in range(2):
        served.update()
    assert served.current.number == "1"
    assert served.problem.startswith("version 2: ")
    assert caplog.text.count("version 1 goes on answering: version 2: ") == 1
    registry.promote("1")
    served.update()
    assert served.problem is None


@pytest.mark.slow
def test_registry_without_champion_is_a_problem_and_the_version_stays(registry):
    served = served_champion()
    registry.store.delete_registered_model_alias("spam-detector", "champion")
    served.update()
    assert served.current.number == "1"
    assert "no champion yet" in served.problem


@pytest.mark.slow
def test_number_that_a_rebuilt_registry_uses_again_is_loaded(registry):
    served = served_champion()
    first = served.current
    decision = registry.models["1"].artifacts / "decision.json"
    decision.write_text(decision.read_text().replace("0.9", "0.8"))
    registry.promote("1")
    served.update()
    assert served.current.number == "1"
    assert served.current is not first


@pytest.mark.parametrize(
    ("window", "widest"), [(50, 256), (250, 1024), (255, 1024), (256, 2048), (3000, MAX_TOKENS)]
)
def test_warm_up_reaches_every_shape(window, widest):
    """The tokenizer may split the character into its four bytes, but into nothing smaller."""
    lengths = []
    detector = SimpleNamespace(window_length=window)
    model = SimpleNamespace(
        predict=lambda table: lengths.append(table["text"].str.len().tolist()),
        unwrap_python_model=lambda: detector,
    )
    warm_up(model)
    tokenizer = fit_tokenizer(small_models.TEXTS, vocabulary_size=400, sequence_length=30)
    assert len(encode_texts([WARM_UP_CHARACTER * 3], tokenizer)[0]) == 2 + 4 * 3
    shapes = {(len(texts), 1 << (4 * texts[0] + 1).bit_length()) for texts in lengths}
    widths = [width for width in (MIN_WIDTH, 32, 64, 128, 256, 512, 1024, 2048) if width <= widest]
    assert widest == MAX_TOKENS or widest >= 4 * window + 2
    assert shapes == {(messages, width) for messages in (1, 2) for width in widths}


def test_model_that_cannot_be_used_is_a_problem_and_keeps_following(registry, monkeypatch):
    served = served_champion()
    registry.promote("2")
    monkeypatch.setattr(champion, "warm_up", lambda model: np.zeros(0)[1])
    served.update()
    assert (served.current.number, served.problem) == ("1", "IndexError")
