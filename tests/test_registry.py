"""One version a model, and one of them in service."""

import pytest

from pipeline import registry
from pipeline.connection import NAME
from pipeline.stage import PipelineError


def version(store, model_hash):
    if not store.search_registered_models():
        store.create_registered_model(NAME)
    return str(store.create_model_version(NAME, "file:///nowhere", tags={"model_hash": model_hash}).version)


@pytest.mark.slow
def test_champion_is_the_version_that_was_promoted_last(store):
    assert registry.champion() is None  # no model
    first, second = version(store, "a"), version(store, "b")
    assert registry.champion() is None  # no alias
    for promoted in (first, second, first):
        registry.promote(promoted)
        assert registry.champion() == promoted
        assert str(store.get_model_version_by_alias(NAME, "champion").version) == promoted


@pytest.mark.slow
def test_version_is_found_by_the_hash_of_its_model(store):
    assert registry.version_of("a") is None
    first, second = version(store, "a"), version(store, "b")
    assert [registry.version_of(name) for name in ("a", "b", "c")] == [first, second, None]
    for _ in range(9):
        version(store, "b")
    assert registry.version_of("b") == second == "2"  # of several the first by number: "10" is not before "2"


@pytest.mark.slow
def test_last_verdict_and_figures_of_a_version_are_said_and_no_other_tag_changes(store):
    registry.describe_version(version(store, "a"), "criteria met", "| f1 | 0.9 |")
    found = store.get_model_version(NAME, "1")
    assert found.tags == {"model_hash": "a", "verdict": "criteria met"}
    assert found.description == "| f1 | 0.9 |"


@pytest.mark.slow
def test_without_a_champion_it_says_how_to_make_one(store):
    with pytest.raises(PipelineError) as refused:
        registry.load_champion()
    assert str(refused.value) == "models:/spam-detector@champion: there is none yet; run `make repro`"


@pytest.mark.slow
def test_champion_whose_files_are_gone_is_one_line(store):
    registry.promote(version(store, "a"))
    with pytest.raises(PipelineError, match=r"^MLflow at sqlite:///.*: .*\S$"):
        registry.load_champion()
