"""One version a model, and one of them in service."""

import pytest

from pipeline import registry
from pipeline.connection import NAME
from pipeline.registry import Version
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
    before = None
    for promoted in (first, second, first):
        registry.promote(promoted, {"why": "better"}, after=before)
        assert registry.champion() == promoted
        assert str(store.get_model_version_by_alias(NAME, "champion").version) == promoted
        assert registry.aliases().get("previous") == before
        assert registry.versions()[promoted].tags["why"] == "better"
        before = promoted


@pytest.mark.slow
def test_version_is_found_by_the_hash_of_its_model(store):
    assert registry.version_of("a") is None
    first, second = version(store, "a"), version(store, "b")
    assert registry.version_of("a") == Version(first, {"model_hash": "a"})
    assert registry.version_of("c") is None
    for _ in range(9):
        version(store, "b")
    assert registry.version_of("b").number == second  # of several the first: "10" is not before "2"
    assert list(registry.versions()) == [str(number) for number in range(1, 12)]


@pytest.mark.slow
def test_promotion_takes_the_place_of_the_one_that_was_judged_against_and_of_no_other(store):
    first, second, third = (version(store, name) for name in "abc")
    registry.promote(first, {}, after=None)
    registry.point("challenger", second)
    registry.promote(second, {}, after=first)
    registry.promote(second, {}, after=first)  # killed before its end, it is done again
    assert registry.aliases() == {"champion": second, "previous": first}
    with pytest.raises(PipelineError) as refused:
        registry.promote(third, {"why": "better"}, after=first)
    assert str(refused.value) == "models:/spam-detector@champion: version 2 took it meanwhile; run it again"
    assert registry.aliases() == {"champion": second, "previous": first}
    assert "why" not in registry.versions()[third].tags


@pytest.mark.slow
def test_last_verdict_and_figures_of_a_version_are_said_and_no_other_tag_changes(store):
    registry.describe(version(store, "a"), "| f1 | 0.9 |")
    registry.tag("1", {"verdict": "criteria met"})
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
    registry.promote(version(store, "a"), {}, after=None)
    with pytest.raises(PipelineError, match=r"^MLflow at sqlite:///.*: .*\S$"):
        registry.load_champion()
