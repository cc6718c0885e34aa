"""What clients say is saved in few files, as a whole, and read by ingest as the latest label."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from pipeline.core.dates import current_time
from pipeline.core.params import read_params
from pipeline.core.schemas import MESSAGES
from pipeline.serving.http import feedback_store
from pipeline.serving.http.feedback_store import (
    CLIENT_FOLDER,
    FeedbackStore,
    LabelledText,
    readable_feedback_store,
)
from pipeline.sources.catalogue import Params, Places, read_sources
from pipeline.sources.inbox_copies import InboxPlaces, collect_files
from pipeline.sources.readers import ColumnNames
from pipeline.validation.computed_columns import copies_and_labels
from pipeline.validation.reviewed import NOTHING_REVIEWED
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT, set_params

HAM, SPAM = LabelledText("Grüße\x00\n", "ham", "anna"), LabelledText("WIN", "spam")


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "data" / "inbox").mkdir(parents=True)


def set_files(tmp_path, **files):
    """Says how ingest reads the files of the inbox, and that it reads feedback too."""
    whole = read_params(Params, "ingest").files.model_dump() | files
    changes = {"sources": ["files", "feedback"], "files": whole}
    set_params(tmp_path, {"ingest": changes})


def ingested(tmp_path):
    """The messages of the inbox as ingest reads them."""
    copies = collect_files(InboxPlaces())
    places = Places(ROOT / "data" / "sources.lock.json", copies, tmp_path, tmp_path)
    batches = read_sources(read_params(Params, "ingest"), places, {})
    return pa.Table.from_batches(batches, MESSAGES).to_pandas()


def today_files():
    return sorted(path.name for path in CLIENT_FOLDER.glob("*.jsonl"))


def test_saved_label_overrules_the_old_one(tmp_path):
    columns = {"text": "body", "label": "kind", "received_at": "when"}
    set_files(tmp_path, columns=columns, encoding="cp1252")
    old = "body,kind,when\nWIN,ham,2026-01-01\nhi,ham,2026-01-01\n"
    (tmp_path / "data" / "inbox" / "old.csv").write_text(old)
    readable_feedback_store().save([HAM, SPAM])
    messages = ingested(tmp_path)
    assert messages["label"].tolist() == ["ham", "ham", "ham", "spam"]
    assert messages["text"].tolist()[2:] == [HAM.text, SPAM.text]
    assert (current_time() - messages["received_at"].max()).total_seconds() < 3600
    overruled = copies_and_labels(messages, NOTHING_REVIEWED)["is_overruled"]
    assert overruled.tolist() == [True, False, False, False]


def test_later_label_of_one_file_counts(tmp_path):
    set_files(tmp_path)
    (tmp_path / "data" / "inbox" / "old.csv").write_text("text,label\nhi,ham\n")
    store = readable_feedback_store()
    for label in ("ham", "spam"):
        store.save([LabelledText("WIN", label)])
    messages = ingested(tmp_path)
    overruled = copies_and_labels(messages, NOTHING_REVIEWED)["is_overruled"]
    assert messages[~overruled]["label"].tolist() == ["ham", "spam"]


def test_rows_of_all_threads_are_in_one_file():
    rows = [LabelledText(str(number), "ham") for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda row: FeedbackStore(ColumnNames()).save([row]), rows))
    (name,) = today_files()
    assert len((CLIENT_FOLDER / name).read_text().splitlines()) == 40


def test_full_file_gets_a_successor(monkeypatch):
    monkeypatch.setattr(feedback_store, "FULL_BYTES", 10)
    for _ in range(3):
        FeedbackStore(ColumnNames()).save([SPAM])
    day = f"{current_time():%Y-%m-%d}"
    assert today_files() == [f"{day}-2.jsonl", f"{day}-3.jsonl", f"{day}.jsonl"]


def test_full_disk_keeps_what_was_saved():
    store = FeedbackStore(ColumnNames())
    store.save([SPAM])
    (name,) = today_files()
    before = (CLIENT_FOLDER / name).read_bytes()
    (CLIENT_FOLDER / f".{name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    line = f"{CLIENT_FOLDER / name}: {os.strerror(errno.ENOSPC)}; free space, then run it again"
    assert error_of(store.save, [HAM]) == line
    assert (CLIENT_FOLDER / name).read_bytes() == before
    store.save([HAM])
    assert len((CLIENT_FOLDER / name).read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        ({"format": "tsv"}, "ingest cannot read what it saves: feedback/http/"),
        ({"label_by_folder": {"feedback": "spam"}}, "ingest reads other texts or labels"),
        ({"label": "spam"}, "ingest reads other texts or labels than it saves; correct label"),
    ],
)
def test_params_that_misread_feedback_are_refused(files, problem, tmp_path):
    set_files(tmp_path, **files)
    assert error_of(readable_feedback_store).startswith(f"--feedback: {problem}")
    assert not CLIENT_FOLDER.exists()


def test_feedback_that_nothing_reads_is_a_warning(caplog):
    readable_feedback_store()
    assert caplog.messages == [
        "warning: --feedback: nothing learns from it yet; set ingest.sources: "
        "[sms, written, feedback]"
    ]


def test_removed_label_leaves_other_rows(monkeypatch):
    monkeypatch.setattr(feedback_store, "FULL_BYTES", 10)
    store = FeedbackStore(ColumnNames())
    for row in (SPAM, HAM, SPAM, LabelledText("WIN", "ham")):
        store.save([row])
    assert store.labels_of("WIN") == {"spam", "ham"}
    store.remove("WIN", "spam")
    assert (store.labels_of("WIN"), store.labels_of(HAM.text)) == ({"ham"}, {"ham"})
    assert len(today_files()) == 2


@pytest.mark.parametrize("line", ["{", "5", '{"text": "hi"}', "[" * 100_000])
def test_broken_line_is_named_and_stays(line):
    store = readable_feedback_store()
    store.save([SPAM])
    (path,) = CLIENT_FOLDER.glob("*.jsonl")
    broken = path.read_bytes() + line.encode() + b"\n"
    path.write_bytes(broken)
    expected = f"{path}: line 2: not JSON with text and label; correct or remove it"
    for read in (lambda: store.labels_of(SPAM.text), lambda: store.remove(SPAM.text, SPAM.label)):
        assert error_of(read) == expected
    assert path.read_bytes() == broken
