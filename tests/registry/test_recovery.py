"""The registry is rebuilt from the ledger, answers as before, and follows merged lines."""

import os
import shutil
from dataclasses import replace
from types import SimpleNamespace
from unittest import mock

import mlflow
import pandas as pd
import pytest

from pipeline.registry import ledger, ledger_cli, parity, recovery, versions
from pipeline.registry.ledger import LEDGER, read_entries
from pipeline.registry.registration import PROPOSE_VARIABLE
from tests.harness.errors import error_of
from tests.harness.evaluated_project import Project, score_in_process
from tests.harness.ledger_entries import BACK, FIRST, SECOND
from tests.harness.mlflow_store import store_at
from tests.harness.small_project import runner

TEXTS = ["WIN a prize now! Text CLAIM", "see you at lunch", "Free entry 87121"]
NOWHERE = "0" * 32  # an MD5 that DVC does not know


def write_ledger(entries):
    LEDGER.write_text(ledger.ledger_text(entries))


def merge_ledger(folder):
    """Commits the ledger as it is, which makes its lines merged ones."""
    run = runner(folder)
    ada = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com")
    run("git", "add", "ledger.jsonl")
    run("git", *ada, "commit", "--quiet", "--message", "Merged")


def years_later(entry):
    return f"{int(entry.time[:4]) + 2}{entry.time[4:]}"


def test_rollback_reasons_are_of_versions_that_did_not_return():
    forced = replace(SECOND, verdict="forced")
    assert recovery.rollback_reasons([FIRST, SECOND]) == {}
    assert recovery.rollback_reasons([FIRST, SECOND, BACK]) == {"2": "loses ham"}
    assert recovery.rollback_reasons([FIRST, SECOND, BACK, forced]) == {}


@pytest.mark.parametrize(
    ("before", "now"), [(0.9, 0.9002), (0.9, float("nan")), (None, float("nan"))]
)
def test_answers_beyond_the_tolerance_are_refused(before, now):
    recovery.check_answers(FIRST, pd.DataFrame({"probability": [0.90009, 0.1]}))
    entry = replace(FIRST, answers=[before, 0.1])
    line = error_of(recovery.check_answers, entry, pd.DataFrame({"probability": [now, 0.1]}))
    assert line == (
        f"version 1: answers {now:.4f} to 'WIN a prize now! Text CLAIM to 87121', but {before} "
        "when it was registered; code or libraries have changed; run it at commit aaaaaaaa"
    )


def test_empty_ledger_restores_nothing(store):
    assert error_of(recovery.restore_registry, []).startswith("ledger.jsonl: no entry, so there ")
    assert recovery.follow_ledger() == "no promotion yet"


# ---- a lost registry


@pytest.fixture(scope="module")
def lost_files(tmp_path_factory, empty_database):
    """A project whose registry is lost, and what its champion answered to TEXTS.

    Versions 1 and 3 were champions, 2 was not, and 3 was rolled back.
    """
    folder = tmp_path_factory.mktemp("lost")
    run = runner(folder)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    shutil.copyfile(empty_database, folder / "mlflow.db")
    address = f"sqlite:///{folder}/mlflow.db"
    with store_at(address, folder) as patch:
        patch.setattr(parity, "score_in_child", score_in_process)
        project = Project(folder, mlflow.MlflowClient(address, address))
        for threshold in (2.0, 3.0, 0.0):
            project.set_threshold(threshold)
            run("dvc", "add", "--quiet", *recovery.FILE_NAMES.values())
            project.register()
        recovery.rollback(None, "loses ham")
        model, _ = versions.load_champion()
        answers = model.predict(pd.DataFrame({"text": TEXTS}))
    merge_ledger(folder)
    shutil.rmtree(folder / "mlartifacts")
    (folder / "mlflow.db").unlink()
    return SimpleNamespace(folder=folder, answers=answers)


@pytest.fixture
def lost(lost_files, evaluated, dvc_in_process):
    """A copy of the project, with an empty registry."""
    (evaluated.folder / "reports" / "evaluate.json").unlink()
    shutil.copytree(lost_files.folder, evaluated.folder, dirs_exist_ok=True)
    return evaluated


@pytest.mark.slow
def test_restored_registry_answers_as_before(lost, lost_files, caplog):
    caplog.set_level("INFO", logger="pipeline")
    ledger_cli.main(["restore"])
    assert lost.versions() == ["1", "3"]
    assert lost.aliases() == {"champion": "1", "previous": "3"}
    model, _ = versions.load_champion()
    assert model.metadata.signature.inputs.input_names() == ["text"]
    answers = model.predict(pd.DataFrame({"text": TEXTS}))
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
    line = "version 1 is the champion of this registry; restore needs an empty one"
    assert error_of(ledger_cli.main, ["restore"]) == line
    assert lost.versions() == ["1"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"files": dict.fromkeys(recovery.FILE_NAMES, NOWHERE)}, f"tokenizer.json {NOWHERE}: nei"),
        ({"answers": [0.5, 0.123456]}, "version 3: answers 0."),
    ],
)
def test_follow_restores_the_champion_alone_if_it_must(changes, problem, lost, caplog):
    first, second, back = read_entries()
    write_ledger([first, replace(second, **changes), back])
    merge_ledger(lost.folder)
    caplog.set_level("INFO", logger="pipeline")
    ledger_cli.main(["follow"])
    done = "ledger: version 1 is restored as the champion of an empty registry"
    assert caplog.messages[-1] == done
    assert lost.aliases() == {"champion": "1"}
    assert f"warning: version 3 is not restored: {problem}" in caplog.text


@pytest.mark.slow
def test_champion_without_files_is_reported_each_time(lost):
    first, second, back = read_entries()
    files = dict.fromkeys(back.files, NOWHERE)
    write_ledger([first, second, replace(back, files=files, version="4", model_hash="4")])
    merge_ledger(lost.folder)
    for _ in range(2):
        line = error_of(recovery.follow_ledger)
        assert line.startswith(f"tokenizer.json {NOWHERE}: neither in DVC's cache nor ")
        assert lost.aliases() == {}
    assert lost.versions() == ["3"]  # the champion before it


# ---- proposals

PROPOSING = mock.patch.dict(os.environ, {PROPOSE_VARIABLE: "1"})


@pytest.fixture
def proposed(champion):
    """Version 1 is the champion; version 2 won and waits until its line is merged."""
    runner(champion.folder)("git", "init", "--quiet")
    with PROPOSING:
        champion.register_thresholds(0.0)
    return champion


@pytest.mark.slow
def test_proposed_version_serves_from_its_merge_to_its_rollback(proposed):
    aliases = {"champion": "1", "challenger": "2"}
    assert proposed.aliases() == aliases
    assert proposed.entries() == [("first", "1", None)]
    merge_ledger(proposed.folder)
    ledger.append_entry(ledger.proposed_entry())  # here, but not merged
    assert recovery.follow_ledger() == "version 1 is the champion"
    assert proposed.aliases() == aliases
    merge_ledger(proposed.folder)
    assert recovery.follow_ledger() == "version 2 is the champion now, as its line is merged"
    assert proposed.aliases() == {"champion": "2", "previous": "1"}
    assert recovery.follow_ledger() == "version 2 is the champion"
    merged = LEDGER.read_text()
    with mock.patch.object(ledger, "next_entry_time", return_value=read_entries()[-1].time):
        recovery.rollback(None, "loses ham")  # in the same second
    LEDGER.write_text(merged)  # another clone, which has not pulled
    done = recovery.follow_ledger()
    assert done == "version 1 is the champion; it was promoted after the last merged line"
    assert proposed.aliases()["champion"] == "1"
    assert [verdict for verdict, *_ in proposed.entries()] == ["first", "promote", "rollback"]


@pytest.mark.slow
def test_repeated_proposal_keeps_its_entry(proposed):
    before = ledger.proposed_entry()
    with PROPOSING:
        proposed.register()
    assert ledger.proposed_entry() == before
    ledger.append_entry(before)
    proposed.register()  # by a person, on the branch
    assert read_entries()[1:] == [before]
    assert proposed.aliases() == {"champion": "2", "previous": "1"}


@pytest.mark.slow
def test_later_of_two_merged_proposals_serves(proposed):
    (first,) = read_entries()
    second = ledger.proposed_entry()
    with PROPOSING:
        proposed.register_thresholds(-1.0)
    third = replace(ledger.proposed_entry(), time=years_later(second))
    for order in ([second, third], [third, second]):
        versions.set_alias("champion", "1")
        for merged in (order[:1], order):
            write_ledger([first, *merged])
            merge_ledger(proposed.folder)
            recovery.follow_ledger()
        assert proposed.aliases()["champion"] == third.version == "3"


@pytest.mark.slow
def test_overtaken_proposal_is_decided_on_anew(proposed):
    """Another version was promoted and rolled back since."""
    (first,) = read_entries()
    before = ledger.proposed_entry()
    back = replace(first, verdict="rollback", previous=None, time=years_later(before))
    versions.set_tags("1", {ledger.ENTRY_TAG: back.json_line()})
    write_ledger([first, back])
    with PROPOSING:
        proposed.register()
    assert ledger.proposed_entry() == replace(before, time=back.time)


@pytest.mark.slow
def test_line_of_another_registry_promotes_nothing(proposed, caplog):
    last = replace(ledger.proposed_entry(), previous="7")
    write_ledger([replace(FIRST, version="7"), last])
    merge_ledger(proposed.folder)
    assert recovery.follow_ledger() == "version 1 stays the champion"
    assert caplog.messages[-1] == (
        "warning: version 2 was decided on against version 7, which is not the champion; retrain"
    )
