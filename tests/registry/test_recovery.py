"""An empty registry gets back what the ledger remembers, and answers as before."""

import shutil
from dataclasses import replace

import pandas as pd
import pytest
from mlflow import MlflowClient

from pipeline.core.dvc_cache import NotCachedError
from pipeline.core.errors import PipelineError
from pipeline.registry import ledger, ledger_cli, promotion, recovery, versions
from tests.harness.evaluated_project import Project
from tests.harness.small_project import runner
from tests.registry.test_ledger import BACK, FIRST, SECOND

TEXTS = pd.DataFrame(
    {"text": ["WIN a prize now! Text CLAIM", "see you at lunch", "Free entry 87121"]}
)
FORCED = replace(SECOND, verdict="forced")


def test_rolled_back_are_those_that_did_not_come_back():
    assert recovery.rolled_back([FIRST, SECOND]) == {}
    assert recovery.rolled_back([FIRST, SECOND, BACK]) == {"2": "loses ham"}
    assert recovery.rolled_back([FIRST, SECOND, BACK, FORCED]) == {}


def test_without_a_ledger_there_is_nothing_to_restore(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        PipelineError, match=r"^ledger.jsonl: no entry, so there is nothing to restore$"
    ):
        recovery.restore(ledger.read())


@pytest.fixture
def lost(store, tmp_path, empty_database, monkeypatch):
    """Versions 1 and 3 were champions, 2 was none, 3 was rolled back; then the registry was lost.

    Returns the project, with the new registry's client, and what the champion answered.
    """
    run, project = runner(tmp_path), Project(tmp_path, store)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    for threshold in (2.0, 3.0, 0.0):
        project.decide(threshold)
        run("dvc", "add", "--quiet", *recovery.NAMES.values(), "splits.parquet")
        project.register()
    recovery.rollback(None, "loses ham")
    committed(run)
    model, _ = versions.load_champion()
    answer = model.predict(TEXTS)
    shutil.rmtree(tmp_path / "mlartifacts")
    shutil.copyfile(empty_database, tmp_path / "new.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/new.db")
    project.store = MlflowClient(*[f"sqlite:///{tmp_path}/new.db"] * 2)
    return project, answer


@pytest.mark.slow
def test_empty_registry_gets_versions_and_aliases_back_and_answers_as_before(lost):
    project, answer = lost
    ledger_cli.main(["restore"])
    assert project.versions() == ["1", "3"]
    assert project.aliases() == {"champion": "1", "previous": "3"}
    model, number = versions.load_champion()
    assert number == "1"
    pd.testing.assert_frame_equal(model.predict(TEXTS), answer)
    ledger_cli.main(["verify"])
    ledger_cli.main(["restore"])  # again, which finds it all there
    assert project.versions() == ["1", "3"]
    project.register()
    assert project.verdict() == "nothing new: this model was rolled back: loses ham"


@pytest.mark.slow
def test_restore_that_was_killed_goes_on(lost, monkeypatch):
    project, _ = lost
    with monkeypatch.context() as killed:
        killed.setattr(versions, "set_alias", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            ledger_cli.main(["restore"])
    first = project.store.get_model_version("spam-detector", "1").run_id
    project.store.delete_model_version("spam-detector", "3")  # as if it were killed before that one
    entries = [
        replace(entry, version="4") if entry.version == "3" else entry for entry in ledger.read()
    ]
    entries[-1] = replace(entries[-1], previous="4")
    ledger.LEDGER.write_text("".join(f"{entry.line()}\n" for entry in entries))
    ledger_cli.main(["restore"])
    assert project.aliases() == {"champion": "1", "previous": "4"}
    assert project.store.get_model_version("spam-detector", "1").run_id == first


@pytest.mark.slow
def test_what_cannot_be_restored_as_it_was_is_refused(lost):
    project, _ = lost
    entries = first, *_ = ledger.read()
    ledger.LEDGER.write_text(replace(first, answers=[0.5, 0.123456]).line() + "\n")
    with pytest.raises(PipelineError, match=r"^version 1: 0\.\d+ for .*; run it at commit "):
        ledger_cli.main(["restore"])
    assert project.store.search_registered_models() == []
    ledger.LEDGER.write_text("".join(f"{entry.line()}\n" for entry in entries))
    project.store.create_registered_model("spam-detector")
    project.store.create_model_version(
        "spam-detector", "file:///nowhere", tags={"model_hash": "another"}
    )
    for model_hash in ("another", entries[1].model_hash):  # the second is that of version 3
        project.store.set_model_version_tag("spam-detector", "1", "model_hash", model_hash)
        with pytest.raises(
            PipelineError, match=r"^version 1 of the registry is not of ledger.jsonl; "
        ):
            ledger_cli.main(["restore"])
    project.store.set_registered_model_alias("spam-detector", "champion", "1")
    ledger.LEDGER.write_text("".join(f"{entry.line()}\n" for entry in entries[:2]))
    with pytest.raises(
        PipelineError, match=r"^version 1 is the champion of this registry; restore needs"
    ):
        ledger_cli.main(["restore"])
    assert project.versions() == ["1"]


# ---- the registry follows the ledger


@pytest.fixture
def proposed(store, tmp_path, monkeypatch):
    """Version 1 is the champion; 2 lost; 3 won, and waits for its line to be merged."""
    run, project = runner(tmp_path), Project(tmp_path, store)
    run("git", "init", "--quiet")
    run("dvc", "init", "--quiet")
    for threshold in (2.0, 3.0, 0.0):
        if threshold == 0.0:
            monkeypatch.setenv(promotion.PROPOSES, "1")
        project.decide(threshold)
        run("dvc", "add", "--quiet", *recovery.NAMES.values(), "splits.parquet")
        project.register()
    monkeypatch.delenv(promotion.PROPOSES)
    project.committed = lambda: committed(run)
    return project


def committed(run):
    """The ledger as it is, merged."""
    run("git", "add", "ledger.jsonl")
    run(
        "git",
        "-c",
        "user.name=Ada",
        "-c",
        "user.email=a@example.com",
        "commit",
        "--quiet",
        "--message",
        "Merged",
    )


@pytest.mark.slow
def test_proposed_version_serves_once_its_line_is_here(proposed, caplog):
    caplog.set_level("INFO", logger="pipeline")
    before = proposed.aliases()
    assert before == {"champion": "1", "challenger": "3"}
    assert proposed.entries() == [("first", "1", None)]
    proposed.committed()
    ledger.write(ledger.proposed())  # here, and not on main
    ledger_cli.main(["follow"])
    assert caplog.messages[-1] == "ledger: version 1 is the champion"
    assert proposed.aliases() == before
    proposed.committed()
    ledger_cli.main(["follow"])
    assert caplog.messages[-1] == "ledger: version 3 is the champion now, as its line is here"
    assert proposed.aliases() == {"champion": "3", "previous": "1"}
    ledger_cli.main(["follow"])
    assert caplog.messages[-1] == "ledger: version 3 is the champion"
    ledger_cli.main(["verify"])


@pytest.mark.slow
def test_proposal_that_is_run_again_stays_one_line_with_its_time(proposed, monkeypatch):
    before = ledger.proposed()
    monkeypatch.setenv(promotion.PROPOSES, "1")
    proposed.register()
    assert ledger.proposed() == before
    ledger.write(before)
    monkeypatch.delenv(promotion.PROPOSES)
    proposed.register()  # by a person, on the branch
    assert ledger.read()[1:] == [before]
    assert proposed.aliases() == {"champion": "3", "previous": "1"}


@pytest.mark.slow
def test_first_version_of_all_may_be_proposed_too(store, tmp_path, monkeypatch):
    project = Project(tmp_path, store)
    monkeypatch.setenv(promotion.PROPOSES, "1")
    project.register()
    ledger_cli.main(["follow"])
    assert project.aliases() == {"challenger": "1"}
    run = runner(tmp_path)
    run("git", "init", "--quiet")
    ledger.write(ledger.proposed())
    committed(run)
    ledger_cli.main(["follow"])
    assert project.aliases() == {"champion": "1"}


@pytest.mark.slow
def test_rollback_whose_line_has_not_come_yet_is_not_undone(proposed, caplog):
    caplog.set_level("INFO", logger="pipeline")
    ledger.write(ledger.proposed())
    proposed.committed()
    ledger_cli.main(["follow"])
    before = (proposed.folder / "ledger.jsonl").read_text()
    recovery.rollback(None, "loses ham")
    (proposed.folder / "ledger.jsonl").write_text(before)  # another clone, which has not pulled
    ledger_cli.main(["follow"])
    assert caplog.messages[-1].endswith(
        "version 1 is the champion, which took the alias after the last line"
    )
    assert proposed.aliases()["champion"] == "1"
    assert [verdict for verdict, *_ in proposed.entries()] == ["first", "promote", "rollback"]


@pytest.mark.slow
def test_of_two_that_were_merged_the_later_judged_serves(proposed, monkeypatch):
    """Version 3 and version 4 were both judged by version 1, and a person merges both."""
    project, (first,), third = proposed, ledger.read(), ledger.proposed()
    monkeypatch.setenv(promotion.PROPOSES, "1")
    project.decide(-1.0)
    project.register()
    monkeypatch.delenv(promotion.PROPOSES)
    fourth = replace(ledger.proposed(), time=years_later(third))
    for order in ([third, fourth], [fourth, third]):
        versions.set_alias("champion", "1")
        merged = [first]
        for entry in order:
            merged.append(entry)
            ledger.LEDGER.write_text(ledger.text(merged))
            project.committed()
            recovery.follow()
        assert project.aliases()["champion"] == fourth.version


def years_later(entry):
    return f"{int(entry.time[:4]) + 2}{entry.time[4:]}"


@pytest.mark.slow
def test_proposal_that_came_to_nothing_is_judged_anew_after_a_later_line(proposed, monkeypatch):
    """Another was promoted and rolled back since, so that its old line would be of the past."""
    first, before = *ledger.read(), ledger.proposed()
    back = replace(first, verdict="rollback", previous="2", time=years_later(before))
    versions.set_tags("1", {ledger.TAG: back.line()})
    ledger.LEDGER.write_text(ledger.text([first, back]))
    monkeypatch.setenv(promotion.PROPOSES, "1")
    proposed.register()
    assert ledger.proposed() == replace(before, time=back.time)


@pytest.mark.slow
def test_line_that_took_over_in_another_registry_promotes_nothing(proposed, caplog):
    last = replace(ledger.proposed(), previous="7")
    ledger.LEDGER.write_text(ledger.text([replace(FIRST, version="7"), last]))
    proposed.committed()
    assert recovery.follow() == "version 1 stays the champion"
    assert caplog.messages[-1] == "warning: version 3 was to take over from version 7: retrain"


@pytest.mark.slow
def test_registry_that_was_lost_gets_champion_and_the_one_before_it(lost):
    project, answer = lost
    ledger_cli.main(["follow"])
    assert project.aliases() == {"champion": "1", "previous": "3"}
    model, _ = versions.load_champion()
    pd.testing.assert_frame_equal(model.predict(TEXTS), answer)


@pytest.mark.slow
def test_registry_that_was_lost_gets_its_champion_also_where_the_one_before_is_gone(lost, caplog):
    project, _ = lost
    _, second, back = ledger.read()
    second = replace(second, files=dict.fromkeys(second.files, "0" * 32))
    ledger.LEDGER.write_text(ledger.text([second, back]))
    committed(runner(project.folder))
    ledger_cli.main(["follow"])
    assert project.aliases() == {"champion": "1"}
    assert f"warning: version 3: tokenizer.json {'0' * 32}: neither in DVC's cache" in caplog.text


@pytest.mark.slow
def test_registry_that_was_lost_gets_its_champion_also_where_the_one_before_answers_otherwise(
    lost, caplog
):
    project, _ = lost
    first, second, back = ledger.read()
    ledger.LEDGER.write_text(ledger.text([first, replace(second, answers=[0.5, 0.123456]), back]))
    committed(runner(project.folder))
    ledger_cli.main(["follow"])
    assert project.aliases() == {"champion": "1"}
    assert "warning: version 3: version 3: 0." in caplog.text


@pytest.mark.slow
def test_registry_stays_without_a_champion_where_its_files_are_gone_and_says_so_each_time(lost):
    project, _ = lost
    first, second, back = ledger.read()
    back = replace(back, files=dict.fromkeys(back.files, "0" * 32), version="4", model_hash="4")
    ledger.LEDGER.write_text(ledger.text([first, second, back]))
    committed(runner(project.folder))
    for _ in range(2):
        with pytest.raises(
            NotCachedError, match=r"^tokenizer.json 0+: neither in DVC's cache nor in its remote"
        ):
            recovery.follow()
        assert project.aliases() == {}
    assert project.versions() == ["3"]  # the one before it


@pytest.mark.slow
def test_lost_registry_whose_files_are_gone_stays_empty(lost):
    project, _ = lost
    shutil.rmtree(project.folder / ".dvc" / "cache")
    with pytest.raises(NotCachedError, match=r"neither in DVC's cache nor in its remote"):
        recovery.follow()
    assert versions.champion_number() is None


def test_without_a_ledger_there_is_nothing_to_follow(store):
    assert recovery.follow() == "no promotion yet"
