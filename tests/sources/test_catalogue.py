"""The sources of ingest: files of the inbox, feedback, pinned downloads and saved extracts."""

import hashlib
import json
import zipfile
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import file_sha256
from pipeline.core.schemas import MESSAGES
from pipeline.sources.catalogue import Params, Places, day_in_path, read_sources
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT
from tests.sources.test_readers import inbox_params

LOCK = ROOT / "data" / "sources.lock.json"


@pytest.fixture
def inbox(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "inbox").mkdir(parents=True)
    return tmp_path / "data" / "inbox"


@pytest.fixture
def read(inbox, tmp_path):
    """The rows of some sources."""

    def read(*sources, lock=LOCK, **files):
        places = Places(lock, inbox.relative_to(tmp_path), tmp_path / ".downloads")
        params = Params(sources=list(sources), on_broken_file="stop", files=inbox_params(**files))
        batches = read_sources(params, places, {})
        return pa.Table.from_batches(batches, MESSAGES)

    return read


def add(folder, *names, content="body,kind\nhi,1\n"):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)


# ---- files


def test_hidden_files_folders_and_dvc_files_are_no_data(inbox, read):
    add(inbox, ".gitkeep", ".hidden.csv", ".ipynb_checkpoints/a.csv", "a.csv.dvc", "deep/.b.csv")
    add(inbox, "deep/C.CSV")
    (inbox / "folder.csv").mkdir()
    assert read("files", glob="**/*")["source"].to_pylist() == ["files/deep/C.CSV"]


def test_broken_link_is_refused(inbox, read):
    (inbox / "b.csv").symlink_to("nowhere")
    line = "data/inbox/b.csv: No such file or directory; correct or remove the file"
    assert error_of(read, "files") == line


def test_files_leaves_out_the_folders_of_other_sources(inbox, read, lock):
    add(inbox, "feedback/a.csv", "mine/b.csv", "deep/c.csv")
    path = lock({"files": {}}, kind="sql", url="sqlite://", query="SELECT 1")
    table = read("files", "mine", glob="**/*", lock=path)
    assert table["source"].to_pylist() == ["files/deep/c.csv"]


NO_MATCH = (
    "data/inbox: no file matches ingest.files.glob {!r}; put a .csv, .tsv, .jsonl, .parquet "
    "file there, or remove 'files' from ingest.sources"
)


@pytest.mark.parametrize("glob", ["*.tsv", "../*", "deep/**"])
def test_glob_without_a_match_is_refused(inbox, read, glob):
    add(inbox, "a.csv")
    assert error_of(read, "files", glob=glob) == NO_MATCH.format(glob)


def test_invalid_glob_is_refused(inbox, read):
    prefix = "params.yaml: ingest.files.glob: "
    suffix = "; use a pattern relative to data/inbox"
    line = f"{prefix}Non-relative patterns are unsupported{suffix}"
    assert error_of(read, "files", glob="/tmp/*.csv") == line
    problem = "Invalid pattern: '**' can only be an entire path component"
    choices = (f"{prefix}{problem}{suffix}", NO_MATCH.format("**.csv"))  # Python 3.13 takes it
    assert error_of(read, "files", glob="**.csv") in choices


def test_unknown_source_is_refused_with_the_choices(inbox, read):
    add(inbox, "a.csv")
    assert error_of(read, "files", "sms_spm") == (
        "params.yaml: ingest.sources: unknown 'sms_spm'; choose from files, feedback, sms, or "
        "declare it in data/sources.yaml and run `python -m pipeline fetch`"
    )


# ---- the day in a path


DAYS = """
2026-11-20.csv              2026-11-20
mail/2026/11/20/a.csv       2026-11-20
2026/11/20.csv              2026-11-20
export_20261120T1200.csv    2026-11-20
date=2026-11-20/part-0.csv  2026-11-20
2024-02-29/2026-11-20.csv   2026-11-20
2024-02-29/2026-02-29.csv   2024-02-29
2026-02-29.csv              none
2026-13-01.csv              none
2026-11/a.csv               none
2026-1120.csv               none
120261120.csv               none
20261120120000.csv          none
30261120.csv                none
a.csv                       none
"""  # the last valid one, and no other numbers


@pytest.mark.parametrize("line", DAYS.strip().splitlines())
def test_day_in_a_path_has_a_few_forms(line):
    path, day = line.split()
    expected = None if day == "none" else datetime.fromisoformat(f"{day}T00:00Z")
    assert day_in_path(path) == expected


def test_row_without_a_time_gets_the_day_in_its_path(inbox, read):
    add(inbox, "2026/11/20/a.csv", "b.csv", "feedback/2026-11-22.csv")
    content = "body,kind,sent\nmine,0,2026-11-19T23:00:00-02:00\nnone,1,\n"
    add(inbox, "2026-11-21.csv", content=content)
    table = read("files", "feedback", glob="**/*")
    rows = table.select(["source", "received_at"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [
        ("files/2026/11/20/a.csv", datetime(2026, 11, 20, tzinfo=UTC)),
        ("files/2026-11-21.csv", datetime(2026, 11, 20, 1, tzinfo=UTC)),
        ("files/2026-11-21.csv", datetime(2026, 11, 21, tzinfo=UTC)),
        ("files/b.csv", None),
        ("feedback/2026-11-22.csv", None),  # the day of the feedback, not of the message
    ]


def test_day_in_the_path_of_the_inbox_is_ignored(tmp_path):
    inbox = tmp_path / "2026-11-20" / "inbox"
    add(inbox, "a.csv")
    params = Params(sources=["files"], on_broken_file="stop", files=inbox_params())
    (batch,) = read_sources(params, Places(LOCK, inbox, tmp_path), {})
    assert batch.column("received_at").to_pylist() == [None]


# ---- feedback


def test_feedback_is_ordered_by_file_name_the_latest_last(inbox, read):
    assert read("feedback").num_rows == 0
    names = ["2026-11-21.csv", "b/2026-11-19.csv", "a/2026-11-20.csv"]
    add(inbox / "feedback", *names)
    assert read("feedback")["source"].to_pylist() == [
        "feedback/b/2026-11-19.csv",
        "feedback/a/2026-11-20.csv",
        "feedback/2026-11-21.csv",
    ]


# ---- pinned sources


@pytest.fixture
def lock(tmp_path):
    """Writes a lock with one source `mine`."""

    def lock(pin, **declared):
        path = tmp_path / "lock.json"
        path.write_text(json.dumps({"mine": {"declared": declared, **pin}}))
        return path

    return lock


@pytest.fixture
def read_download(tmp_path, inbox, read, lock):
    """The rows of a pinned download with these bytes."""

    def read_download(content, member=None, **options):
        sha256 = hashlib.sha256(content).hexdigest()
        (tmp_path / ".downloads").mkdir()
        (tmp_path / ".downloads" / sha256).write_bytes(content)
        declared = {"kind": "url", "url": "/nowhere", "read": options}
        if member:
            declared["member"] = member
        return read("mine", lock=lock({"sha256": sha256}, **declared))

    return read_download


def test_download_is_read_as_its_declaration_says(read_download):
    table = read_download(b"junk\thello\n", header=["label", "text"], format="tsv")
    [row] = table.select(["text", "label", "source", "row"]).to_pylist()
    assert row == {"text": "hello", "label": "spam", "source": "mine", "row": 1}


def test_unreadable_download_points_to_its_declaration(read_download, tmp_path):
    line = error_of(read_download, b"body\thello\n", format="tsv")
    setting = f"set {tmp_path}/lock.json: mine.read.columns"
    assert line.endswith(f": mine: no column 'text' among body, hello; {setting}")


def test_unknown_member_is_refused_with_the_choices(read_download, tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as package:
        package.writestr("data.csv", "label,text\n")
    line = error_of(read_download, (tmp_path / "a.zip").read_bytes(), "dota.csv")
    assert line.endswith("lock.json: mine.member: unknown 'dota.csv'; choose from data.csv")


def test_exactly_the_pinned_files_are_read(inbox, read, lock):
    folder = inbox / "tickets"
    folder.mkdir()
    for name, text in (("1.parquet", "old"), ("2.parquet", "new")):
        pq.write_table(pa.table({"text": [text], "label": ["spam"]}), folder / name)
    pin = {"files": {"tickets/2.parquet": file_sha256(folder / "2.parquet")}}
    path = lock(pin, kind="sql", url="sqlite://", query="SELECT 1")
    [row] = read("mine", lock=path).select(["text", "source"]).to_pylist()
    assert row == {"text": "new", "source": "tickets/2.parquet"}
    (folder / "2.parquet").write_bytes(b"tampered with")
    line = error_of(read, "mine", lock=path)
    assert line.startswith("data/inbox/tickets/2.parquet: changed since it was saved; ")
