"""One version a model, and one of them in service."""

import pytest

from pipeline.core.errors import PipelineError
from pipeline.registry import versions
from pipeline.registry.versions import Version
from pipeline.tracking.mlflow_client import MODEL_NAME


def version(store, model_hash):
    if not store.search_registered_models():
        store.create_registered_model(MODEL_NAME)
    return str(
        store.create_model_version(MODEL_NAME, "file:///nowhere", tags={"model_hash": model_hash}).version
    )


@pytest.mark.slow
def test_champion_is_the_version_that_was_promoted_last(store):
    assert versions.champion_number() is None  # no model
    first, second = version(store, "a"), version(store, "b")
    assert versions.champion_number() is None  # no alias
    before = None
    for promoted in (first, second, first):
        versions.promote(promoted, {"why": "better"}, after=before)
        assert versions.champion_number() == promoted
        assert str(store.get_model_version_by_alias(MODEL_NAME, "champion").version) == promoted
        assert versions.alias_numbers().get("previous") == before
        assert versions.all_versions()[promoted].tags["why"] == "better"
        before = promoted


@pytest.mark.slow
def test_version_is_found_by_the_hash_of_its_model(store):
    assert versions.version_of("a") is None
    first, second = version(store, "a"), version(store, "b")
    assert versions.version_of("a") == Version(first, {"model_hash": "a"})
    assert versions.version_of("c") is None
    for _ in range(9):
        version(store, "b")
    assert versions.version_of("b").number == second  # of several the first: "10" is not before "2"
    assert list(versions.all_versions()) == [str(number) for number in range(1, 12)]


@pytest.mark.slow
def test_promotion_takes_the_place_of_the_one_that_was_judged_against_and_of_no_other(store):
    first, second, third = (version(store, name) for name in "abc")
    versions.promote(first, {}, after=None)
    versions.set_alias("challenger", second)
    versions.promote(second, {}, after=first)
    versions.promote(second, {}, after=first)  # killed before its end, it is done again
    assert versions.alias_numbers() == {"champion": second, "previous": first}
    with pytest.raises(PipelineError) as refused:
        versions.promote(third, {"why": "better"}, after=first)
    assert (
        str(refused.value)
        == "models:/spam-detector@champion: version 2 took it meanwhile; run it again"
    )
    assert versions.alias_numbers() == {"champion": second, "previous": first}
    assert "why" not in versions.all_versions()[third].tags


@pytest.mark.slow
def test_last_verdict_and_figures_of_a_version_are_said_and_no_other_tag_changes(store):
    versions.set_description(version(store, "a"), "| f1 | 0.9 |")
    versions.set_tags("1", {"verdict": "criteria met"})
    found = store.get_model_version(MODEL_NAME, "1")
    assert found.tags == {"model_hash": "a", "verdict": "criteria met"}
    assert found.description == "| f1 | 0.9 |"


@pytest.mark.slow
def test_without_a_champion_it_says_how_to_make_one(store):
    with pytest.raises(PipelineError) as refused:
        versions.load_champion()
    assert (
        str(refused.value) == "models:/spam-detector@champion: there is none yet; run `make repro`"
    )


@pytest.mark.slow
def test_champion_whose_files_are_gone_is_one_line(store):
    versions.promote(version(store, "a"), {}, after=None)
    with pytest.raises(PipelineError, match=r"^MLflow at sqlite:///.*: .*\S$"):
        versions.load_champion()
