"""The stage ingest: one table of messages from all sources, a report, and one line on errors."""

import json
import logging
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
import ruamel.yaml

from pipeline import ingest
from pipeline.core.files import read_json
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import read_parquet
from pipeline.sources import catalogue, fetch, kinds, readers
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT, stage_arguments
from tests.sources.test_readers import LABELS, NAMES, ROWS, inbox_params, write

LOCK = ROOT / "data" / "sources.lock.json"
TABLE = Path("data/ingested/messages.parquet")


# ---- the sms source


@pytest.fixture(scope="module")
def sms(sms_places):
    params = ingest.Params(sources=["sms"], on_broken_file="stop", files=inbox_params())
    return pa.Table.from_batches(catalogue.read_sources(params, sms_places, {}), MESSAGES)


def test_sms_source_has_4862_messages_of_which_642_are_spam(sms):
    labels = sms["label"].to_pylist()
    assert (len(labels), labels.count("spam"), labels.count("ham")) == (4862, 642, 4220)
    assert set(sms["source"].to_pylist()) == {"sms"}
    assert sms["row"].to_pylist() == list(range(1, 4863))
    assert sms["received_at"].null_count == 4862


def test_sms_source_equals_the_lines_of_its_file(sms, sms_places):
    pin = fetch.read_pins(sms_places.lock)["sms"]
    with zipfile.ZipFile(sms_places.downloads / pin.sha256) as package:
        lines = package.read(pin.declared["member"]).decode().rstrip("\n").split("\n")
    expected = [tuple(line.rstrip("\r").split("\t", 1)) for line in lines]
    assert list(zip(sms["label"].to_pylist(), sms["text"].to_pylist(), strict=True)) == expected
    assert any(message.startswith('"') for _, message in expected)


def test_message_id_is_the_hash_of_the_text_alone(sms):
    assert sms["message_id"][0].as_py() == "aa51c3a91983df90"  # printf '%s' "..." | sha256sum


# ---- the stage


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own with an inbox; runs ingest and returns rows and report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    inbox = tmp_path / "data" / "inbox"
    inbox.mkdir(parents=True)
    (tmp_path / ".downloads").symlink_to(ROOT / ".downloads")

    def run(sources, on_broken_file="stop", lock=LOCK, **changes):
        files = {"glob": "*", "columns": NAMES, "labels": LABELS, "encoding": "utf-8"} | changes
        params = {"ingest": {"sources": sources, "on_broken_file": on_broken_file, "files": files}}
        ruamel.yaml.YAML().dump(params, tmp_path / "params.yaml")
        ingest.main(stage_arguments("ingest", lock, "data/inbox", TABLE, "reports/ingest.json"))
        return read_parquet(TABLE), read_json(Path("reports/ingest.json"))

    run.inbox = inbox
    return run


def test_sources_follow_each_other_in_the_order_of_params(project, sms):
    (project.inbox / "b.csv").write_text("body,kind\nb,1\n")
    (project.inbox / "a.tsv").write_text("body\tkind\na\t0\naa\tx\n")
    table, report = project(["files", "sms"])
    files = ["files/a.tsv", "files/a.tsv", "files/b.csv"]
    assert table["source"].to_pylist() == [*files, *["sms"] * 4862]
    assert table.slice(3).equals(sms)
    assert table.schema.equals(MESSAGES)
    assert (report["rows"], report["verdict"]) == (4865, "4,865 rows from files, sms")
    assert {name: figure["value"] for name, figure in report["figures"].items()} == {
        "label.ham": 4221,
        "label.spam": 643,
        "label.other": 1,
        "source.files/a.tsv": 2,
        "source.files/b.csv": 1,
        "source.sms": 4862,
    }
    assert project(["sms", "files"])[0]["source"].to_pylist()[-3:] == files


def test_unknown_label_is_counted_and_never_printed(project, caplog):
    caplog.set_level(logging.INFO)
    (project.inbox / "a.csv").write_text("body,kind\na,my secret\nb,\nc,1\n")
    table, report = project(["files"])
    assert table["label"].to_pylist() == ["my secret", "", "spam"]
    assert report["figures"]["label.other"] == {"value": 2}
    assert caplog.messages == ["ingest: 3 rows from files"]
    assert "secret" not in json.dumps(report)


def test_equal_files_are_equal_bytes_whatever_the_batches(project, monkeypatch):
    write(project.inbox / "a.csv", ROWS * 5)
    project(["files"])
    written = TABLE.read_bytes()
    monkeypatch.setattr(readers, "BATCH_ROWS", 2)
    project(["files"])
    assert TABLE.read_bytes() == written


def test_bad_row_leaves_no_table(project):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    (project.inbox / "b.csv").write_text("body,kind\na\n")
    line = "data/inbox/b.csv: row 1: 1 columns, not 2; correct the row"
    assert error_of(project, ["files"]) == line
    assert list(Path("data").rglob("*.parquet")) == []
    assert not Path("reports").exists()


def test_broken_file_is_left_out_where_params_say_so(project, caplog):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    (project.inbox / "b.csv").write_text("body,kind\ngood,1\nbad\n")
    (project.inbox / "feedback").mkdir()
    (project.inbox / "feedback" / "c.jsonl").write_text("[")
    table, report = project(["files", "feedback"], "quarantine")
    assert table["text"].to_pylist() == ["a"]
    broken = [key for key in report["figures"] if key.startswith("broken.")]
    assert broken == ["broken.files/b.csv", "broken.feedback/c.jsonl"]
    assert report["verdict"] == (
        "1 rows from files, feedback; "
        "left out, as they cannot be read: files/b.csv, feedback/c.jsonl"
    )
    line = "warning: left out: data/inbox/b.csv: row 2: 1 columns, not 2; correct the row"
    assert caplog.messages[0] == line


def test_run_stops_if_every_file_is_broken(project):
    (project.inbox / "a.csv").write_text("body,kind\na\n")
    line = "data/inbox/a.csv: row 1: 1 columns, not 2; correct the row"
    assert error_of(project, ["files"], "quarantine") == f"data/inbox: no file can be read: {line}"


@pytest.mark.parametrize(
    ("sources", "policy", "line"),
    [
        (["files"], "ignore", "on_broken_file: input should be 'stop' or 'quarantine'"),
        ([], "stop", "sources: empty; choose from files, feedback or data/sources.yaml"),
    ],
)
def test_wrong_params_are_refused(project, sources, policy, line):
    assert error_of(project, sources, policy).startswith(f"params.yaml: ingest.{line}")


# ---- a new source


class ToyDeclaration(kinds.DownloadDeclaration):
    """A source that writes a greeting."""

    greeting: str


def write_greeting(declared, to):
    to.write_text(f"text,label\n{declared.greeting},ham\n")


TOY = {"kind": "toy", "greeting": "hello", "read": {"format": "csv"}}


def test_new_kind_is_one_function_and_one_entry(project, monkeypatch):
    """The kind `toy` is declared, fetched, pinned and ingested."""
    kind = kinds.DownloadKind(ToyDeclaration, write_greeting)
    monkeypatch.setitem(kinds.SOURCE_KINDS, "toy", kind)
    Path(".downloads").unlink()
    ruamel.yaml.YAML().dump({"mine": TOY}, kinds.SOURCES_FILE)
    fetch.LOCK_FILE.write_text("{}")
    ruamel.yaml.YAML().dump({"ingest": {"sources": ["mine"]}}, Path("params.yaml"))
    fetch.main([])
    table, _ = project(["mine"], lock=fetch.LOCK_FILE)
    [row] = table.select(["text", "label", "source"]).to_pylist()
    assert row == {"text": "hello", "label": "ham", "source": "mine"}
