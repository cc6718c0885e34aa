"""A forgotten message is in no file of the project, and others stay; who learned it is said."""

import csv
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import file_sha256, message_id
from pipeline.retraining import forget
from pipeline.retraining.forget import NOT_FORGOTTEN, main
from pipeline.retraining.row_removal import write_without
from pipeline.sources.inbox_copies import InboxPlaces, collect_files
from tests.harness.errors import error_of
from tests.harness.small_project import ROOT

pytestmark = pytest.mark.slow  # each in a repository of its own

GONE, KEPT = "call me at 555", "lunch?"
ID = message_id(GONE)
PLACES = InboxPlaces()


@pytest.fixture
def root(store, tmp_path):
    """A project without DVC and versions, whose inbox has the message in two files."""
    data = tmp_path / "data"
    (data / "inbox" / "feedback").mkdir(parents=True)
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (data / "sources.lock.json").write_text("{}")
    (data / "reviewed.csv").write_text("message_id,verdict,why\n")
    (data / "inbox" / "a.csv").write_text(f"text,label\n{GONE},ham\n{KEPT},ham\n")
    (data / "inbox" / "feedback" / "b.jsonl").write_text(json.dumps({"text": GONE, "label": "x"}))
    collect_files(PLACES)
    return tmp_path


def contents(root):
    """Every file's bytes, but those of MLflow and of locks."""
    files = [path for path in (root / "data").rglob("*") if path.is_file()]
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def write_table(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)


def test_message_leaves_the_inbox_and_its_copies(root, capsys):
    main([ID])
    assert (root / "data" / "inbox" / "a.csv").read_text() == f"text,label\n{KEPT},ham\n"
    assert not [name for name, content in contents(root).items() if GONE.encode() in content]
    copies = collect_files(PLACES)
    assert list(copies.files) == ["a.csv", "feedback/b.jsonl"]
    assert (root / "data" / "reviewed.csv").read_text() == (
        f"message_id,verdict,why\n{ID},ban,forgotten\n"
    )
    assert capsys.readouterr().out.splitlines() == [
        "data/inbox/a.csv: 1 row",
        "data/inbox/feedback/b.jsonl: 1 row",
        "data/reviewed.csv: 1 banned",
        "versions that learned from it: none",
        NOT_FORGOTTEN,
    ]


def test_dry_run_changes_nothing(root, capsys):
    (root / "data" / "inbox" / "new.csv").write_text("text,label\nhi,ham\n")
    before = contents(root)
    main(["--text", GONE, "--dry-run"])
    assert contents(root) == before
    assert "would change: data/inbox/a.csv: 1 row\n" in capsys.readouterr().out


def test_message_leaves_the_prediction_log(root):
    path = root / "data" / "predictions" / "day" / "1.parquet"
    ids = [ID, message_id(KEPT), ID]
    write_table(path, text_id=ids, text=[GONE, KEPT, None], label=["ham"] * 3)
    main([ID])
    rows = pq.read_table(path).to_pylist()
    assert rows == [{"text_id": message_id(KEPT), "text": KEPT, "label": "ham"}]


def test_private_page_with_the_message_is_deleted_and_others_stay(root):
    folder = root / "data" / "review"
    folder.mkdir()
    (folder / "report.html").write_text(f"<p>Message {ID}</p><p>{GONE}</p>")
    (folder / "other.html").write_text(f"<p>Message {message_id(KEPT)}</p>")
    main([ID])
    assert [path.name for path in folder.iterdir()] == ["other.html"]


def test_tables_with_the_message_are_deleted_and_others_stay(root, capsys):
    data = root / "data"
    (gone_id, kept_id), tokens = ([ID], [message_id(KEPT)]), [[1]]
    source = ["sms"]
    write_table(
        data / "ingested" / "messages.parquet", message_id=gone_id, text=[""], source=source
    )
    write_table(data / "vectorized" / "train" / "0.parquet", message_id=gone_id, token_ids=tokens)
    write_table(data / "vectorized" / "train" / "1.parquet", message_id=kept_id, token_ids=tokens)
    write_table(data / "vectorized" / "splits.parquet", message_id=gone_id, split=["train"])
    main([ID])
    tables = sorted(str(path.relative_to(data)) for path in data.rglob("*.parquet"))
    assert tables == ["vectorized/splits.parquet", "vectorized/train/1.parquet"]
    output = capsys.readouterr().out
    assert "data/ingested/messages.parquet: 1 row; the file is deleted\n" in output
    assert "stays in: sms; the ban keeps it from being learned\n" in output


def test_pinned_file_is_pinned_as_it_is_then(root, caplog):
    path = root / "data" / "inbox" / "tickets" / "1.parquet"
    write_table(path, text=[GONE, KEPT], label=["ham", "ham"])
    pin = {"declared": {"kind": "sql"}, "files": {"tickets/1.parquet": file_sha256(path)}}
    lock = root / "data" / "sources.lock.json"
    lock.write_text(json.dumps({"tickets": pin}))
    main([ID])
    pinned = json.loads(lock.read_text())["tickets"]["files"]
    assert pinned == {"tickets/1.parquet": file_sha256(path)}
    assert pq.read_table(path)["text"].to_pylist() == [KEPT]
    assert "data/inbox/tickets/1.parquet: is saved from tickets: remove it there" in caplog.text


def test_interrupted_run_can_be_repeated(root, monkeypatch):
    first, second = [root / "data" / "inbox" / name for name in ("a.csv", "feedback/b.jsonl")]

    def interrupt(path, mode):
        if path == second.relative_to(root):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(forget.shutil, "copymode", interrupt)
        with pytest.raises(KeyboardInterrupt):
            main([ID])
    assert [GONE in path.read_text() for path in (first, second)] == [False, True]
    main([ID])
    main([ID])
    assert not [name for name, content in contents(root).items() if GONE.encode() in content]


def test_release_becomes_a_ban(root):
    reviewed = root / "data" / "reviewed.csv"
    other = message_id(KEPT)
    reviewed.write_text(f"message_id,verdict,why\n{other},release,\n{ID[:16]},release,ok\n")
    main([ID])
    rows = list(csv.reader(io.StringIO(reviewed.read_text())))[1:]
    assert rows == [[other, "release", ""], [ID, "ban", "forgotten"]]


def test_file_that_cannot_be_rewritten_stops_before_any_change(root, monkeypatch):
    params = (root / "params.yaml").read_text().replace("encoding: utf-8", "encoding: utf-16")
    (root / "params.yaml").write_text(params)
    for name in ("a.csv", "feedback/b.jsonl"):
        path = root / "data" / "inbox" / name
        path.write_bytes(path.read_text().encode("utf-16"))
    collect_files(PLACES)
    before = contents(root)
    line = error_of(main, [ID])
    assert line.startswith("data/inbox/a.csv: row 1 cannot be removed without a change of others")
    assert contents(root) == before


def test_file_that_changes_meanwhile_is_left_alone(root, monkeypatch):
    path = root / "data" / "inbox" / "a.csv"

    def write_late(*arguments):
        path.write_text(f"text,label\n{GONE},ham\nlate,ham\n")
        return write_without(*arguments)

    monkeypatch.setattr(forget, "write_without", write_late)
    assert error_of(main, [ID]) == "data/inbox/a.csv: changed meanwhile; run it again"
    assert "late" in path.read_text()


def test_file_that_is_not_searched_is_named(root, caplog):
    (root / "data" / "inbox" / "README").write_text(GONE)
    main([ID])
    assert "warning: not searched: data/inbox/README: format: unknown ''" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "forget: no message; give its MESSAGE_ID, or --text"),
        (
            ["358606D9"],
            "forget: '358606D9' is not a message_id; give its 32 hexadecimal digits, or",
        ),
        (["0" * 32], "forget: no file and no version has such a message; check the id"),
    ],
)
def test_bad_id_is_one_line(arguments, line, root):
    before = contents(root)
    assert error_of(main, arguments).startswith(line)
    assert contents(root) == before


# ---- a whole project


def holders(folder, one):
    """The files with tables that have the text of a message, and the copies of its files."""
    found = []
    for path in [*(folder / ".dvc" / "cache").rglob("*"), *(folder / "data").rglob("*")]:
        if path.is_file():
            content = path.read_bytes()
            if content.startswith(b"PAR1"):
                names = pq.read_schema(path).names
                if {"message_id", "text"} <= set(names):
                    texts = pq.read_table(path, columns=["text"])["text"].to_pylist()
                    content = "\n".join(filter(None, texts)).encode()
            if one.encode() in content:
                found.append(str(path.relative_to(folder)))
    return found


def test_forgotten_message_leaves_the_cache_and_is_not_learned_again(copied):
    folder, run = copied
    validated = folder / "data" / "validated" / "messages.parquet"
    splits = pq.read_table(folder / "data" / "vectorized" / "splits.parquet").to_pandas()
    train = splits[(splits["split"] == "train") & ~splits["left_out"]]
    messages = pq.read_table(validated).to_pandas().set_index("message_id")
    text = messages["text"][train["message_id"].iloc[0]]
    assert len(holders(folder, text)) >= 6
    done = run("python", "-m", "pipeline", "forget", "--text", text)
    assert holders(folder, text) == []
    assert "versions that learned from it: 1 (champion)\n" in done.stdout
    run("dvc", "repro")
    assert holders(folder, text) == []
    left = pq.read_table(validated)["text"].to_pylist()
    assert (len(left), text in left) == (len(messages) - 1, False)
