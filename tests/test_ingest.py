"""Every source becomes one table of messages, as they came; what cannot be read is one clear line."""

import hashlib
import json
import logging
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ruamel.yaml

from pipeline import ingest
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_json
from pipeline.core.hashing import file_sha256, message_id
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import read_parquet
from pipeline.ingest import Params
from pipeline.sources import fetch, readers
from tests.harness.small_project import stage_arguments
from tests.sources.test_readers import LABELS, NAMES, ROWS, how, write

ROOT = Path(__file__).parents[1]


# ---- the sms source


@pytest.fixture(scope="module")
def sms(sms_places):
    batches = ingest.messages(Params(["sms"], "stop", how()), sms_places, {})
    return pa.Table.from_batches(batches, MESSAGES)


def test_the_sms_source_has_4862_messages_and_642_of_them_are_spam(sms):
    labels = sms["label"].to_pylist()
    assert (len(labels), labels.count("spam"), labels.count("ham")) == (4862, 642, 4220)
    assert set(sms["source"].to_pylist()) == {"sms"}
    assert sms["row"].to_pylist() == list(range(1, 4863))
    assert sms["received_at"].null_count == 4862


def test_the_sms_source_begins_as_the_collection_does(sms):
    first = (
        "I've been searching for the right words to thank you for this breather. I promise i wont take your "
        "help for granted and will fulfil my promise. You have been wonderful and a blessing at all times."
    )
    rows = sms.slice(0, 2).to_pylist()
    assert rows[0] == {
        "message_id": "aa51c3a91983df90",  # printf '%s' "..." | sha256sum
        "text": first,
        "label": "ham",
        "source": "sms",
        "row": 1,
        "received_at": None,
    }
    assert (rows[1]["label"], rows[1]["row"], rows[1]["text"][:34]) == (
        "spam",
        2,
        "Free entry in 2 a wkly comp to win",
    )


def test_quotation_marks_neither_merge_nor_change_an_sms(sms, sms_places):
    pin = fetch.read_pins(sms_places.lock)["sms"]
    with zipfile.ZipFile(sms_places.downloads / pin.sha256) as package:
        lines = package.read(pin.declared["member"]).decode().rstrip("\n").split("\n")
    expected = [tuple(line.rstrip("\r").split("\t", 1)) for line in lines]
    assert list(zip(sms["label"].to_pylist(), sms["text"].to_pylist(), strict=True)) == expected
    assert sum(message.startswith('"') for _, message in expected) > 0


def test_message_id_is_the_hash_of_the_text_alone(sms):
    for row in sms.take([0, 999, 4861]).to_pylist():
        assert row["message_id"] == hashlib.sha256(row["text"].encode()).hexdigest()[:16]
    assert (
        message_id("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"[:16]
    )


# ---- the stage


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own with an inbox; runs ingest and returns rows and report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    inbox = tmp_path / "data" / "inbox"
    inbox.mkdir(parents=True)
    (tmp_path / ".downloads").symlink_to(ROOT / ".downloads")

    def run(sources, on_broken_file="stop", lock=ROOT / "data" / "sources.lock.json", **changes):
        files = {"glob": "*", "columns": NAMES, "labels": LABELS, "encoding": "utf-8"} | changes
        params = {"ingest": {"sources": sources, "on_broken_file": on_broken_file, "files": files}}
        ruamel.yaml.YAML().dump(params, tmp_path / "params.yaml")
        outputs = "data/ingested/messages.parquet", "reports/ingest.json"
        ingest.main(stage_arguments("ingest", lock, "data/inbox", *outputs))
        table = read_parquet(tmp_path / "data" / "ingested" / "messages.parquet")
        return table, read_json(tmp_path / "reports" / "ingest.json")

    run.inbox = inbox
    return run


def refused_with(project, *arguments, **changes):
    with pytest.raises(PipelineError) as refused:
        project(*arguments, **changes)
    return str(refused.value)


def test_sources_follow_each_other_in_the_order_of_the_params(project, sms):
    (project.inbox / "b.csv").write_text("body,kind\nb,1\n")
    (project.inbox / "a.tsv").write_text("body\tkind\na\t0\naa\tx\n")
    table, report = project(["files", "sms"])
    assert table["source"].to_pylist() == [
        "files/a.tsv",
        "files/a.tsv",
        "files/b.csv",
        *["sms"] * 4862,
    ]
    assert table.slice(3).equals(sms)
    assert table.schema.equals(MESSAGES)
    assert report == {
        "rows": 4865,
        "figures": {
            "label.ham": {"value": 4221},
            "label.spam": {"value": 643},
            "label.other": {"value": 1},
            "source.files/a.tsv": {"value": 2},
            "source.files/b.csv": {"value": 1},
            "source.sms": {"value": 4862},
        },
        "verdict": "4,865 rows from files, sms, as they came",
    }
    assert project(["sms", "files"])[0]["source"].to_pylist()[-2:] == ["files/a.tsv", "files/b.csv"]


def test_a_label_that_nobody_knows_is_counted_and_never_printed(project, caplog):
    caplog.set_level(logging.INFO)
    (project.inbox / "a.csv").write_text("body,kind\na,my secret\nb,\nc,1\n")
    table, report = project(["files"])
    assert table["label"].to_pylist() == ["my secret", "", "spam"]
    assert report["figures"]["label.other"] == {"value": 2}
    assert caplog.messages == ["ingest: 3 rows from files, as they came"]
    assert "secret" not in json.dumps(report)


def test_equal_files_are_equal_bytes_whatever_the_batches(project, monkeypatch):
    write(project.inbox / "a.csv", ROWS * 5)
    project(["files"])
    written = Path("data/ingested/messages.parquet").read_bytes()
    monkeypatch.setattr(readers, "BATCH", 2)
    project(["files"])
    assert Path("data/ingested/messages.parquet").read_bytes() == written


def test_a_link_that_leads_nowhere_is_refused_and_a_folder_is_no_file(project):
    (project.inbox / "a.csv").write_text("body,kind\nno,1\n")
    (project.inbox / "folder.csv").mkdir()
    assert project(["files"])[0]["source"].to_pylist() == ["files/a.csv"]
    (project.inbox / "b.csv").symlink_to("nowhere")
    line = "data/inbox/b.csv: No such file or directory; mend or remove the file"
    assert refused_with(project, ["files"]) == line


def test_hidden_files_and_dvcs_own_are_no_data(project):
    for name in (".gitkeep", ".hidden.csv", ".ipynb_checkpoints/a.csv", "a.csv.dvc", "deep/.b.csv"):
        (project.inbox / name).parent.mkdir(exist_ok=True)
        (project.inbox / name).write_text("body,kind\nno,1\n")
    (project.inbox / "deep" / "C.CSV").write_text("body,kind\nyes,1\n")
    table, _ = project(["files"], glob="**/*")
    assert table["source"].to_pylist() == ["files/deep/C.CSV"]


@pytest.mark.parametrize("glob", ["*.tsv", "../*", "deep/**"])
def test_a_glob_without_a_match_is_refused(project, glob):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    assert refused_with(project, ["files"], glob=glob) == (
        f"data/inbox: no file matches ingest.files.glob {glob!r}; "
        "put a .csv, .tsv, .jsonl, .parquet file there, or take 'files' out of ingest.sources"
    )


def test_an_absolute_glob_is_refused(project):
    assert refused_with(project, ["files"], glob="/tmp/*.csv") == (
        "params.yaml: ingest.files.glob: Non-relative patterns are unsupported; it is a pattern in data/inbox"
    )


@pytest.mark.parametrize("glob", ["", ".", "..", "./"])
def test_a_glob_that_can_match_no_file_is_refused(project, glob):
    assert refused_with(project, ["files"], glob=glob) == (
        "params.yaml: ingest.files: glob names no file; * takes every file of data/inbox"
    )


def test_a_glob_that_is_none_is_refused(project):
    """Python 3.13 takes it for `*.csv`."""
    assert refused_with(project, ["files"], glob="**.csv") in (
        "params.yaml: ingest.files.glob: Invalid pattern: '**' can only be an entire path component; "
        "it is a pattern in data/inbox",
        "data/inbox: no file matches ingest.files.glob '**.csv'; "
        "put a .csv, .tsv, .jsonl, .parquet file there, or take 'files' out of ingest.sources",
    )


@pytest.mark.parametrize(
    ("sources", "problem"),
    [
        (
            ["files", "sms_spm"],
            "ingest.sources: unknown 'sms_spm'; choose from files, feedback, sms, or declare it in "
            "data/sources.yaml and run `python -m pipeline fetch`",
        ),
        ([], "ingest: sources is empty; choose from files, feedback or data/sources.yaml"),
    ],
)
def test_unknown_sources_are_refused_with_the_choices(project, sources, problem):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    assert refused_with(project, sources) == f"params.yaml: {problem}"


def test_a_bad_row_leaves_no_table(project):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    (project.inbox / "b.csv").write_text("body,kind\na\n")
    assert (
        refused_with(project, ["files"])
        == "data/inbox/b.csv: row 1: 1 columns, not 2; mend the row"
    )
    assert list(Path("data").rglob("*.parquet")) == []
    assert not Path("reports").exists()


# ---- the day in a path


@pytest.mark.parametrize(
    ("path", "day"),
    [
        ("2026-11-20.csv", "2026-11-20"),
        ("mail/2026/11/20/a.csv", "2026-11-20"),
        ("2026/11/20.csv", "2026-11-20"),
        ("export_20261120T1200.csv", "2026-11-20"),
        ("date=2026-11-20/part-0.parquet", "2026-11-20"),
        ("2024-02-29/2026-11-20.csv", "2026-11-20"),  # the last one
        ("2024-02-29/2026-02-29.csv", "2024-02-29"),  # the last one that is a day
        ("2026-02-29.csv", None),
        ("2026-13-01.csv", None),
        ("2026-11/a.csv", None),
        ("2026-1120.csv", None),
        ("120261120.csv", None),
        ("20261120120000.csv", None),
        ("30261120.csv", None),  # a number of eight digits
        ("a.csv", None),
    ],
)
def test_a_path_holds_a_day_in_a_few_forms(path, day):
    expected = datetime.fromisoformat(day).replace(tzinfo=UTC) if day else None
    assert ingest.day_of(path) == expected


def test_a_row_without_a_time_has_the_day_that_the_path_of_its_file_holds(project):
    for name, content in {
        "2026/11/20/a.csv": "body,kind\nhi,1\n",
        "2026-11-21.csv": "body,kind,sent\nmine,0,2026-11-19T23:00:00-02:00\nnone,1,\n",
        "b.csv": "body,kind\nhi,1\n",
        "feedback/2026-11-22.csv": "body,kind\nhi,0\n",
    }.items():
        (project.inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (project.inbox / name).write_text(content)
    table, _ = project(["files", "feedback"], glob="**/*")
    assert table.select(["source", "received_at"]).to_pylist() == [
        {"source": "files/2026/11/20/a.csv", "received_at": datetime(2026, 11, 20, tzinfo=UTC)},
        {"source": "files/2026-11-21.csv", "received_at": datetime(2026, 11, 20, 1, tzinfo=UTC)},
        {"source": "files/2026-11-21.csv", "received_at": datetime(2026, 11, 21, tzinfo=UTC)},
        {"source": "files/b.csv", "received_at": None},
        {
            "source": "feedback/2026-11-22.csv",
            "received_at": None,
        },  # of the answer, not of the message
    ]


def test_a_day_in_the_path_of_the_inbox_itself_dates_nothing(tmp_path):
    inbox = tmp_path / "2026-11-20" / "inbox"
    inbox.mkdir(parents=True)
    (inbox / "a.csv").write_text("body,kind\nhi,1\n")
    places = ingest.Places(tmp_path / "lock.json", inbox, tmp_path)
    (batch,) = ingest.messages(Params(["files"], "stop", how()), places, {})
    assert batch.column("received_at").to_pylist() == [None]


# ---- pinned sources


def pinned(project, pin, **declared):
    """A lock with one source `mine`, of these declarations."""
    (project.inbox.parent / "lock.json").write_text(
        json.dumps({"mine": {"declared": declared, **pin}})
    )
    return Path("data/lock.json").absolute()


@pytest.fixture
def downloaded(project):
    """Ingests a download that lies in .downloads/ with these bytes, read so."""

    def downloaded(content, member=None, **read):
        Path(".downloads").unlink(missing_ok=True)
        Path(".downloads").mkdir(exist_ok=True)
        sha256 = hashlib.sha256(content).hexdigest()
        Path(".downloads", sha256).write_bytes(content)
        declared = {"kind": "url", "url": "/nowhere", "read": read} | (
            {"member": member} if member else {}
        )
        return project(["mine"], lock=pinned(project, {"sha256": sha256}, **declared))

    return downloaded


def test_a_download_is_read_as_its_declaration_says(downloaded):
    table, report = downloaded(b"junk\thello\n", header=["label", "text"], format="tsv")
    assert table.select(["text", "label", "source", "row"]).to_pylist() == [
        {"text": "hello", "label": "spam", "source": "mine", "row": 1}
    ]
    assert report["figures"]["source.mine"] == {"value": 1}


def test_a_download_that_cannot_be_read_points_to_its_declaration(downloaded):
    with pytest.raises(PipelineError) as refused:
        downloaded(b"body\thello\n", format="tsv")
    assert str(refused.value).endswith(
        ": mine: no column 'text' among body, hello; "
        f"set {Path('data/lock.json').absolute()}: mine.read.columns"
    )


def test_a_member_that_the_archive_does_not_hold_is_refused_with_the_choices(downloaded, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as package:
        package.writestr("data.csv", "label,text\n")
    with pytest.raises(
        PipelineError, match=r"lock.json: mine.member: unknown 'dota.csv'; choose from data.csv$"
    ):
        downloaded((tmp_path / "a.zip").read_bytes(), "dota.csv")


def test_of_what_landed_exactly_the_pinned_files_are_read(project):
    folder = project.inbox / "tickets"
    folder.mkdir()
    for name, text in (("1.parquet", "old"), ("2.parquet", "new")):
        pq.write_table(pa.table({"text": [text], "label": ["spam"]}), folder / name)
    pin = {"files": {"tickets/2.parquet": file_sha256(folder / "2.parquet")}}
    lock = pinned(project, pin, kind="sql", url="sqlite://", query="SELECT 1")
    table, _ = project(["mine"], lock=lock)
    assert table.select(["text", "source"]).to_pylist() == [
        {"text": "new", "source": "tickets/2.parquet"}
    ]
    (folder / "2.parquet").write_bytes(b"tampered with")
    with pytest.raises(
        PipelineError, match=r"^data/inbox/tickets/2.parquet: changed since it landed; "
    ):
        project(["mine"], lock=lock)


# ---- feedback


def test_feedback_is_read_by_the_names_of_its_files_the_latest_last(project):
    assert project(["feedback"])[0].num_rows == 0
    for name in (
        "feedback/2026-11-21.csv",
        "feedback/b/2026-11-19.csv",
        "feedback/a/2026-11-20.csv",
    ):
        (project.inbox / name).parent.mkdir(parents=True, exist_ok=True)
        (project.inbox / name).write_text("body,kind\nhi,1\n")
    table, _ = project(["feedback"])
    assert table["source"].to_pylist() == [
        "feedback/b/2026-11-19.csv",
        "feedback/a/2026-11-20.csv",
        "feedback/2026-11-21.csv",
    ]


def test_files_leaves_the_folders_of_other_sources_alone(project):
    for name in ("feedback/a.csv", "mine/b.csv", "deep/c.csv"):
        (project.inbox / name).parent.mkdir()
        (project.inbox / name).write_text("body,kind\nhi,1\n")
    lock = pinned(project, {"files": {}}, kind="sql", url="sqlite://", query="SELECT 1")
    table, _ = project(["files", "mine"], glob="**/*", lock=lock)
    assert table["source"].to_pylist() == ["files/deep/c.csv"]


# ---- broken files


def test_a_broken_file_is_named_and_stops_nothing_else_where_params_say_so(project, caplog):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    (project.inbox / "b.csv").write_text("body,kind\ngood,1\nbad\n")
    (project.inbox / "feedback").mkdir()
    (project.inbox / "feedback" / "c.jsonl").write_text("[")
    table, report = project(["files", "feedback"], "quarantine")
    assert table["text"].to_pylist() == ["a"]
    assert [key for key in report["figures"] if key.startswith("broken.")] == [
        "broken.files/b.csv",
        "broken.feedback/c.jsonl",
    ]
    assert report["verdict"] == (
        "1 rows from files, feedback, as they came; "
        "left out, as they cannot be read: files/b.csv, feedback/c.jsonl"
    )
    assert (
        caplog.messages[0]
        == "warning: left out: data/inbox/b.csv: row 2: 1 columns, not 2; mend the row"
    )


def test_where_every_file_is_broken_the_run_stops(project):
    (project.inbox / "a.csv").write_text("body,kind\na\n")
    assert refused_with(project, ["files"], "quarantine") == (
        "data/inbox: no file can be read: data/inbox/a.csv: row 1: 1 columns, not 2; mend the row"
    )


def test_another_policy_for_broken_files_is_refused(project):
    assert refused_with(project, ["files"], "ignore") == (
        "params.yaml: ingest: on_broken_file: unknown 'ignore'; choose from stop, quarantine"
    )
