"""The registry is rebuilt from the ledger and the promoted bytes, and answers as before."""

import shutil
from dataclasses import replace
from unittest import mock

import pandas as pd
import pytest

from pipeline.registry import ledger_cli, restore, versions
from pipeline.registry.ledger import read_entries
from tests.harness.errors import error_of
from tests.harness.ledger_entries import BACK, FIRST, SECOND, write_ledger


def test_rollback_reasons_are_of_versions_that_did_not_return():
    forced = replace(SECOND, verdict="forced")
    assert restore.rollback_reasons([FIRST, SECOND]) == {}
    assert restore.rollback_reasons([FIRST, SECOND, BACK]) == {"2": "loses ham"}
    assert restore.rollback_reasons([FIRST, SECOND, BACK, forced]) == {}


@pytest.mark.parametrize(
    ("before", "now"), [(0.9, 0.9002), (0.9, float("nan")), (None, float("nan"))]
)
def test_answers_beyond_the_tolerance_are_refused(before, now):
    restore.check_answers(FIRST, pd.DataFrame({"probability": [0.90009, 0.1]}))
    entry = replace(FIRST, answers=[before, 0.1])
    line = error_of(restore.check_answers, entry, pd.DataFrame({"probability": [now, 0.1]}))
    assert line == (
        f"version 1: answers {now:.4f} to 'WIN a prize now! Text CLAIM to 87121', but {before} "
        "when it was registered; code or libraries have changed; run it at commit aaaaaaaa"
    )


def test_empty_ledger_restores_nothing(store):
    assert error_of(restore.restore_registry, []).startswith("ledger.jsonl: no entry, so there ")


# ---- a lost registry


@pytest.mark.slow
def test_version_that_ended_is_restored_without_the_alias(lost, caplog):
    caplog.set_level("INFO", logger="pipeline")
    entry = read_entries()[0]
    write_ledger([entry, replace(entry, verdict="begin anew", previous="1")])
    ledger_cli.main(["restore"])
    assert caplog.messages[-1] == "restore: 1 versions; none is the champion"
    assert lost.versions() == ["1"]
    assert lost.aliases() == {}


@pytest.mark.slow
def test_restored_registry_answers_as_before(lost, lost_files, caplog):
    caplog.set_level("INFO", logger="pipeline")
    ledger_cli.main(["restore"])
    assert lost.versions() == ["1", "3"]
    assert lost.aliases() == {"champion": "1", "previous": "3"}
    model, _ = versions.load_champion()
    assert model.metadata.signature.inputs.input_names() == ["text", "source"]
    answers = model.predict(pd.DataFrame({"text": lost_files.texts}))
    pd.testing.assert_frame_equal(answers, lost_files.answers)
    ledger_cli.main(["verify"])
    assert caplog.messages[-1] == "ledger: 3 entries agree with the registry and with DVC's cache"
    ledger_cli.main(["restore"])  # again, with everything there
    assert lost.versions() == ["1", "3"]
    lost.register()
    assert lost.verdict() == "nothing new: this model was rolled back: loses ham"
    lost.store.set_registered_model_alias("spam-detector", "champion", "3")
    line = error_of(ledger_cli.main, ["verify"])
    assert line.startswith("ledger.jsonl: champion: version 3 in the registry, 1 here; ")


@pytest.mark.slow
def test_line_of_a_version_with_one_network_is_restored(lost):
    for entry in (entries := read_entries()):
        del entry.files["evaluated"]  # as lines were written before
    write_ledger(entries)
    ledger_cli.main(["restore"])
    assert lost.aliases() == {"champion": "1", "previous": "3"}
    assert not (lost.artifacts("1") / "evaluated").exists()


@pytest.mark.slow
def test_killed_restore_goes_on(lost):
    killed = mock.patch.object(versions, "set_alias", side_effect=KeyboardInterrupt)
    with killed, pytest.raises(KeyboardInterrupt):
        ledger_cli.main(["restore"])
    first = lost.store.get_model_version("spam-detector", "1").run_id
    lost.store.delete_model_version("spam-detector", "3")  # as if killed before that one
    first_entry, second, back = read_entries()
    write_ledger([first_entry, replace(second, version="4"), replace(back, previous="4")])
    ledger_cli.main(["restore"])
    assert lost.aliases() == {"champion": "1", "previous": "4"}
    assert lost.store.get_model_version("spam-detector", "1").run_id == first


@pytest.mark.slow
def test_restore_refuses_a_model_that_answers_differently(lost):
    write_ledger([replace(read_entries()[0], answers=[0.5, 0.123456])])
    assert error_of(ledger_cli.main, ["restore"]).startswith("version 1: answers 0.")
    assert lost.store.search_registered_models() == []


@pytest.mark.slow
def test_restore_refuses_files_that_were_not_promoted(lost):
    entry = read_entries()[0]
    md5 = entry.files["decision"]
    cached = lost.folder / ".dvc/cache/files/md5" / md5[:2] / md5[2:]
    content = cached.read_text()
    cached.chmod(0o644)
    cached.write_text(content.replace('"threshold": 2.0', '"threshold": 0.5'))
    cached.chmod(0o444)  # as DVC leaves it, which then does not look at the bytes
    assert error_of(ledger_cli.main, ["restore"]) == (
        f"version 1: decision.json in DVC's cache was changed; delete files/md5/{md5[:2]}/"
        f"{md5[2:]} in the folder that `dvc cache dir` prints, and run it again: it comes from "
        "the remote"
    )
    cached.chmod(0o644)
    cached.write_text(content)
    write_ledger([replace(entry, model_hash="0123456789")])
    assert error_of(ledger_cli.main, ["restore"]) == (
        "ledger.jsonl: version 1: its files are not of model 01234567; `git log -p ledger.jsonl` "
        "shows who changed the line"
    )
    assert lost.store.search_registered_models() == []


@pytest.mark.slow
def test_what_was_deleted_is_rebuilt_anew(lost, caplog):
    caplog.set_level("INFO", logger="pipeline")
    ledger_cli.main(["restore"])
    lost.store.delete_model_version("spam-detector", "1")  # with its alias
    assert error_of(ledger_cli.main, ["restore"]) == (
        f"version 1: was deleted, and MLflow does not give its number again; {versions.REBUILD_ALL}"
    )
    assert lost.versions() == ["3"]
    ledger_cli.main(["restore", "--anew"])
    assert lost.aliases() == {"champion": "1", "previous": "3"}
    shutil.rmtree(lost.folder / "mlartifacts")
    lines = error_of(ledger_cli.main, ["verify"]).splitlines()
    place = "ledger.jsonl: version {}: MLflow has lost its files; " + versions.REBUILD_ALL
    assert lines == [place.format(1), f"error: {place.format(3)}"]
    ledger_cli.main(["restore", "--anew"])
    ledger_cli.main(["verify"])
    assert caplog.messages[-1] == "ledger: 3 entries agree with the registry and with DVC's cache"
    names = [model.name for model in lost.store.search_registered_models()]
    assert len(names) == 3
    assert all(name.startswith("spam-detector") for name in names)


@pytest.mark.slow
def test_restore_refuses_a_registry_with_other_versions(lost):
    entries = read_entries()
    lost.store.create_registered_model("spam-detector")
    lost.store.create_model_version("spam-detector", "file:///x", tags={"model_hash": "another"})
    for model_hash in ("another", entries[1].model_hash):  # the second is that of version 3
        lost.store.set_model_version_tag("spam-detector", "1", "model_hash", model_hash)
        line = error_of(ledger_cli.main, ["restore"])
        assert line.startswith("version 1 of the registry is not in ledger.jsonl; ")
    lost.store.set_registered_model_alias("spam-detector", "champion", "1")
    write_ledger(entries[:2])
    line = "version 1 is the champion of this registry; restore needs an empty one; "
    line += versions.REBUILD_ALL
    assert error_of(ledger_cli.main, ["restore"]) == line
    assert lost.versions() == ["1"]
