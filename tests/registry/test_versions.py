"""A model has one version, one version is the champion, and only promoted bytes are loaded."""

import shutil
from dataclasses import replace

import pytest

from pipeline.registry import ledger_cli, versions
from pipeline.registry.ledger import ENTRY_TAG
from pipeline.registry.package_hash import hash_package
from pipeline.registry.versions import REBUILD_ALL, Version
from pipeline.tracking.mlflow_client import MODEL_NAME
from tests.harness.errors import error_of
from tests.harness.ledger_entries import FIRST
from tests.harness.mlflow_store import store_at


def add(store, model_hash, **tags):
    """Adds a version without files."""
    if not store.search_registered_models():
        store.create_registered_model(MODEL_NAME)
    tags |= {"model_hash": model_hash}
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


# ---- what is loaded

GIVEN_BACK = "`python -m pipeline ledger follow` gives the alias to the last merged line's version"
MISSED = replace(FIRST, verdict="criteria missed", reason="f1 0.9 is below 0.95")


@pytest.mark.parametrize(
    ("tags", "problem"),
    [
        (
            {},
            f" has the alias champion, but it has no record of a promotion (tag {ENTRY_TAG}); "
            f"{GIVEN_BACK}",
        ),
        (
            {ENTRY_TAG: MISSED.json_line()},
            " has the alias champion, but its own record says `criteria missed: f1 0.9 is below "
            f"0.95`; {GIVEN_BACK}",
        ),
        ({ENTRY_TAG: FIRST.json_line()}, f": MLflow has lost its files; {REBUILD_ALL}"),
    ],
)
def test_champion_without_promotion_or_files_is_refused(tags, problem, store):
    versions.set_alias("champion", add(store, "m1", **tags))
    assert error_of(versions.load_champion) == f"version 1{problem}"


def test_lost_version_is_refused(store):
    number = add(store, "m1")
    store.delete_model_version(MODEL_NAME, number)
    line = f"version 1: MLflow has lost it or its files; {REBUILD_ALL}"
    assert error_of(versions.load_version, number) == line


@pytest.mark.slow
def test_champion_of_a_moved_project_is_loaded(champion, tmp_path_factory):
    moved = shutil.copytree(champion.folder, tmp_path_factory.mktemp("other") / "moved")
    shutil.rmtree(champion.folder / "mlartifacts")
    with store_at("", moved):
        assert versions.load_champion()[1] == "1"
        versions.check_version("1", {})


@pytest.mark.slow
def test_only_the_promoted_bytes_are_loaded(champion):
    files = champion.artifacts("1")
    model = files.parent
    (model / "__pycache__").mkdir(exist_ok=True)  # left by a load in place
    ledger_cli.main(["export", "copy"])
    assert hash_package(champion.folder / "copy") == champion.tags("1")["package_hash"]
    decision = files / "decision.json"
    decision.write_text(decision.read_text().replace('"threshold": 2.0', '"threshold": 0.5'))
    refused = f"version 1: its files are not those that were registered; {REBUILD_ALL}"
    for call in (versions.load_champion, lambda: versions.load_version("1")):
        assert error_of(call) == refused
    assert error_of(ledger_cli.main, ["verify"]).endswith(f"\nerror: ledger.jsonl: {refused}")
    assert (
        error_of(ledger_cli.main, ["export", "copy"]) == "copy: exists already; name a new folder"
    )
    (model / "__pycache__").rmdir()
    versions.set_tags("1", {"package_hash": hash_package(model)})
    line = f"version 1: its decision.json is not that of the ledger; {REBUILD_ALL}"
    assert error_of(versions.load_champion) == line
    versions.set_tags("1", {"package_hash": "0"})
    assert error_of(versions.load_champion) == refused
    champion.store.delete_model_version_tag(MODEL_NAME, "1", "package_hash")
    line = f"version 1: it has no tag package_hash, so its files cannot be checked; {REBUILD_ALL}"
    assert error_of(versions.load_champion) == line
