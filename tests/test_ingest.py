"""The stage ingest: one table of messages from all sources, a report, and one line on errors."""

import json
import logging
import zipfile
from pathlib import Path

import pytest
import ruamel.yaml

from pipeline import collect, ingest
from pipeline.core.files import read_json
from pipeline.core.params import PARAMS_FILE
from pipeline.core.schemas import MESSAGES
from pipeline.core.tables import read_parquet
from pipeline.sources import fetch, kinds
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT, stage_arguments
from tests.sources.test_readers import LABELS, NAMES

LOCK = ROOT / "data" / "sources.lock.json"
INBOX = Path("data/inbox")
TABLE = Path("data/ingested/messages.parquet")
CALIBRATION = Path("data/ingested/calibration.parquet")


def test_sms_source_equals_the_lines_of_its_file(sms_messages, sms_places):
    pin = fetch.read_pins(sms_places.lock)["sms"]
    with zipfile.ZipFile(sms_places.downloads / pin.sha256) as package:
        lines = package.read(pin.declared["member"]).decode().rstrip("\n").split("\n")
    expected = [line.rstrip("\r").split("\t", 1) for line in lines]
    assert sms_messages[["label", "text"]].to_numpy().tolist() == expected
    assert any(message.startswith('"') for _, message in expected)
    assert sms_messages["row"].tolist() == list(range(1, 4863))
    assert sms_messages["received_at"].isna().all()


# ---- the stage


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    INBOX.mkdir(parents=True)


def run(sources, on_broken_file="stop", lock=LOCK):
    """The rows and the report of ingest."""
    files = {"glob": "*", "columns": NAMES, "labels": LABELS}
    params = {"sources": sources, "on_broken_file": on_broken_file, "files": files}
    ruamel.yaml.YAML().dump({"ingest": params}, PARAMS_FILE)
    copies = ("data/inbox.lock.json", "data/collected")
    collect.main(stage_arguments("collect", INBOX, *copies))
    inputs = (lock, *copies, "data/written")
    ingest.main(stage_arguments("ingest", *inputs, TABLE, CALIBRATION, "reports/ingest.json"))
    return read_parquet(TABLE), read_json(Path("reports/ingest.json"))


def test_calibration_files_are_sources_of_their_own_and_no_messages(caplog):
    (INBOX / "a.csv").write_text("body,kind\na,1\n")
    folder = INBOX / "calibration"
    folder.mkdir()
    (folder / "chat.csv").write_text("body,kind\nhi,0\nwin,1\n")
    (folder / "support-2.csv").write_text("body,kind\nhi,0\nwin,1\n")
    table, report = run(["files"])
    assert table["text"].to_pylist() == ["a"]
    calibration = read_parquet(CALIBRATION)
    columns = ("text", "label", "source")
    assert list(zip(*(calibration[name].to_pylist() for name in columns), strict=True)) == [
        ("hi", "ham", "chat"),
        ("win", "spam", "chat"),
        ("hi", "ham", "support-2"),
        ("win", "spam", "support-2"),
    ]
    assert report["figures"]["calibration.chat"]["value"] == 2
    assert not caplog.messages


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("files.csv", "body,kind\na,1\n", "'files' is not a name of its own; use small letters, "),
        ("Chat.csv", "body,kind\na,1\n", "'Chat' is not a name of its own; use small letters, "),
        ("chat.csv", "body,kind\na,1\nb,offer\n", "row 2 is neither ham nor spam; correct it, "),
        ("chat.csv", "body,kind\n,1\n", "row 1 has no text; correct it, "),
        ("chat.csv", "body,kind\na,1\na,0\n", "row 2 is ham, and the same text was spam; "),
        ("chat.csv", "body,kind\na,1\n", "has no ham; bring more labelled messages"),
    ],
)
def test_calibration_file_that_is_no_good_is_refused(name, content, problem):
    (INBOX / "a.csv").write_text("body,kind\na,1\n")
    (INBOX / "calibration").mkdir()
    (INBOX / "calibration" / name).write_text(content)
    assert error_of(run, ["files"]).startswith(f"{INBOX}/calibration/{name}: {problem}")


def test_sources_follow_each_other_in_the_order_of_params(sms_messages):
    (INBOX / "b.csv").write_text("body,kind\nb,1\n")
    (INBOX / "a.tsv").write_text("body\tkind\na\t0\naa\tx\n")
    Path(".downloads").symlink_to(ROOT / ".downloads")
    table, report = run(["files", "sms"])
    files = ["files/a.tsv", "files/a.tsv", "files/b.csv"]
    assert table["source"].to_pylist() == [*files, *["sms"] * 4862]
    assert table["text"].to_pylist()[3:] == sms_messages["text"].tolist()
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
    assert run(["sms", "files"])[0]["source"].to_pylist()[-3:] == files


def test_unknown_label_is_counted_and_never_printed(caplog):
    caplog.set_level(logging.INFO)
    (INBOX / "a.csv").write_text("body,kind\na,my secret\nb,\nc,1\n")
    table, report = run(["files"])
    assert table["label"].to_pylist() == ["my secret", "", "spam"]
    assert report["figures"]["label.other"] == {"value": 2}
    assert caplog.messages == ["collect: 1 files, 29 bytes", "ingest: 3 rows from files"]
    assert "secret" not in json.dumps(report)


def test_broken_file_stops_the_run_or_is_left_out(caplog):
    (INBOX / "b.csv").write_text("body,kind\ngood,1\nbad\n")
    line = "data/inbox/b.csv: row 2: 1 columns, not 2; correct the row"
    assert error_of(run, ["files"], "quarantine") == f"data/inbox: no file can be read: {line}"
    assert caplog.messages[-1] == f"warning: left out: {line}"
    (INBOX / "a.csv").write_text("body,kind\na,1\n")
    assert error_of(run, ["files"], "stop") == line
    assert list(Path("data").rglob("*.parquet")) == []
    assert not Path("reports").exists()
    (INBOX / "feedback").mkdir()
    (INBOX / "feedback/c.jsonl").write_text("[")
    table, report = run(["files", "feedback"], "quarantine")
    assert table["text"].to_pylist() == ["a"]
    broken = [key for key in report["figures"] if key.startswith("broken.")]
    assert broken == ["broken.files/b.csv", "broken.feedback/c.jsonl"]
    assert report["verdict"] == (
        "1 rows from files, feedback; "
        "left out, as they cannot be read: files/b.csv, feedback/c.jsonl"
    )


def test_empty_list_of_sources_is_refused():
    problem = "empty; choose from files, feedback, written or data/sources.yaml"
    assert error_of(run, []) == f"params.yaml: ingest.sources: {problem}"


# ---- a new source


class ToyDeclaration(kinds.DownloadDeclaration):
    """A source that writes a greeting."""

    greeting: str


def write_greeting(declared, to):
    to.write_text(f"text,label\n{declared.greeting},ham\n")


def test_new_kind_is_one_function_and_one_entry(monkeypatch):
    """The kind `toy` is declared, fetched, pinned and ingested."""
    kind = kinds.DownloadKind(ToyDeclaration, write_greeting)
    monkeypatch.setitem(kinds.SOURCE_KINDS, "toy", kind)
    declared = {"kind": "toy", "greeting": "hello", "read": {"format": "csv"}}
    ruamel.yaml.YAML().dump({"mine": declared}, kinds.SOURCES_FILE)
    fetch.LOCK_FILE.write_text("{}")
    ruamel.yaml.YAML().dump({"ingest": {"sources": ["mine"]}}, PARAMS_FILE)
    fetch.main([])
    table, _ = run(["mine"], lock=fetch.LOCK_FILE)
    [row] = table.select(["text", "label", "source"]).to_pylist()
    assert row == {"text": "hello", "label": "ham", "source": "mine"}
