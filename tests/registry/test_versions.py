"""A model has one version, and one version is the champion."""

from pipeline.registry import versions
from pipeline.registry.versions import Version
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.errors import error_of


def add(store, model_hash):
    """Adds a version without files."""
    if not store.search_registered_models():
        store.create_registered_model(MODEL_NAME)
    tags = {"model_hash": model_hash}
    return str(store.create_model_version(MODEL_NAME, "file:///nowhere", tags=tags).version)


def test_champion_is_the_version_promoted_last(store):
    assert versions.champion_number() is None  # no model
    first, second = add(store, "a"), add(store, "b")
    assert versions.champion_number() is None  # no alias
    line = "models:/spam-detector@champion: no champion yet; run `make repro`"
    assert error_of(versions.load_champion) == line
    before = None
    for promoted in (first, second, first):
        versions.promote(promoted, {"why": "better"}, after=before)
        assert versions.champion_number() == promoted
        assert versions.find_champion().tags["why"] == "better"
        assert versions.alias_numbers().get("previous") == before
        before = promoted


def test_version_is_found_by_the_hash_of_its_model(store):
    assert versions.find_version("a") is None
    first, second = add(store, "a"), add(store, "b")
    assert versions.find_version("a") == Version(first, {"model_hash": "a"})
    assert versions.find_version("c") is None
    for _ in range(9):
        add(store, "b")
    assert versions.find_version("b").number == second  # the first of several, not "10"
    assert list(versions.all_versions()) == [str(number) for number in range(1, 12)]


def test_promotion_can_be_repeated(store):
    first, second = add(store, "a"), add(store, "b")
    versions.promote(first, {}, after=None)
    versions.set_alias("challenger", second)
    for _ in range(2):  # as after a kill
        versions.promote(second, {}, after=first)
        assert versions.alias_numbers() == {"champion": second, "previous": first}


def test_promotion_over_another_champion_is_refused(store):
    first, second, third = (add(store, name) for name in "abc")
    versions.promote(second, {}, after=None)
    assert error_of(versions.promote, third, {"why": "better"}, after=first) == (
        "models:/spam-detector@champion: version 2 became the champion meanwhile; run it again"
    )
    assert versions.alias_numbers() == {"champion": second}
    assert "why" not in versions.all_versions()[third].tags


def test_champion_without_files_is_one_line(store):
    versions.promote(add(store, "a"), {}, after=None)
    line = error_of(versions.load_champion)
    assert line.startswith("MLflow at sqlite:///")
    assert "\n" not in line
