"""`score` keeps the columns of any format, adds answers, and can be interrupted."""

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.schemas import SCORES
from pipeline.registry import versions
from pipeline.serving import resumable, scoring
from pipeline.serving.batch import main
from pipeline.sources.file_formats import FORMATS
from pipeline.tracking.mlflow_client import MODEL_NAME
from pipeline.validation import runner
from tests.harness.errors import error_of
from tests.harness.ledger_entries import make_champion
from tests.harness.small_project import ROOT
from tests.harness.word_model import WordModel

TIME, NOW = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"), "NOW"
HEADER = ",".join(SCORES.names)


class Model:
    """Like MLflow's model: spam if the text contains `win`, its length as probability."""

    def __init__(self):
        self.texts, self.sources = [], []
        self.ends_after = None  # so many texts

    def predict(self, table):
        if len(self.texts) == self.ends_after:
            raise KeyboardInterrupt
        assert list(table) in (["text"], ["text", "source"])
        assert table["text"].dtype == "str"
        assert not table["text"].isna().any()
        texts = table["text"].tolist()
        self.texts += texts
        self.sources += table["source"].tolist() if "source" in table else [None] * len(texts)
        label = pd.Series(["spam" if "win" in text.lower() else "ham" for text in texts], dtype=str)
        probability = pd.Series([len(text) / 64 for text in texts], dtype="float64")
        columns = {"label": label, "probability": probability, "threshold": 0.5, "confident": True}
        return pd.DataFrame(columns)

    def unwrap_python_model(self):
        return SimpleNamespace(decision={"sources": {"sms": {}, "chat": {}}})


@pytest.fixture
def model():
    return Model()


def scored(path):
    """The content of an output, with NOW for each time."""
    if path.suffix != ".parquet":
        return TIME.sub(NOW, path.read_bytes().decode())
    return [row | {"scored_at": NOW} for row in pq.read_table(path).to_pylist()]


def refuse_empty(texts, params):
    """Replaces the guard, as Great Expectations takes 0.2 s a batch."""
    reasons = ["" if text and text.strip() else "text_is_not_null" for text in texts]
    return pd.Series(reasons, dtype="str")


@pytest.fixture
def run(tmp_path, monkeypatch, model):
    """Runs `python -m pipeline score INPUT OUTPUT` with the model above as champion."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    monkeypatch.setattr(runner, "refusals", refuse_empty)
    monkeypatch.setattr(versions, "load_champion", lambda: (model, "3"))
    monkeypatch.setattr(versions, "load_version", {"3": model}.__getitem__)

    def run(given, wanted, *options, content=None):
        content = content.encode() if isinstance(content, str) else content
        if given == "-":
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "utf-8"))
        elif content is not None:
            Path(given).write_bytes(content)
        main([given, wanted, *options])
        return None if wanted == "-" else scored(Path(wanted))

    return run


def files(folder):
    """The names of the files in a folder, without params.yaml."""
    return sorted(path.name for path in folder.iterdir() if path.name != "params.yaml")


def write_input(folder, suffix, rows):
    """Writes rows as an input of this format. Returns its name."""
    path = folder / f"in{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        rule = {"sep": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {}
        pd.DataFrame(rows).to_csv(path, index=False, **rule)
    return path.name


# ---- formats

ROWS = [
    {"id": "007", "text": 'Win "it" now'},
    {"id": "", "text": "hé"},
    {"id": " 1 ", "text": "NA"},
]
SAME = {
    "threshold": 0.5,
    "confident": True,
    "model_version": "3",
    "scored_at": NOW,
    "refused": None,
}
SCORED = [
    ROWS[0] | {"label": "spam", "probability": 0.1875} | SAME,
    ROWS[1] | {"label": "ham", "probability": 0.03125} | SAME,
    ROWS[2] | {"label": "ham", "probability": 0.03125} | SAME,
]
CSV = f"""id,text,{HEADER}
007,"Win ""it"" now",spam,0.1875,0.5,True,3,NOW,
,hé,ham,0.03125,0.5,True,3,NOW,
 1 ,NA,ham,0.03125,0.5,True,3,NOW,
"""
WRITTEN = {
    ".csv": CSV,
    ".tsv": CSV.replace(",", "\t").replace('"Win ""it"" now"', 'Win "it" now'),
    ".jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in SCORED),
    ".parquet": SCORED,
}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_every_format_becomes_every_other(tmp_path, run, monkeypatch, given, wanted):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    given = write_input(tmp_path, given, ROWS)
    assert run(given, f"out{wanted}") == WRITTEN[wanted]
    assert files(tmp_path) == [given, f"out{wanted}"]


def test_mails_are_labelled_with_what_people_need_to_find_them(run):
    mail = "Message-ID: <1@a>\nFrom: <x@b.example>\nSubject: Win\n\nat http://c.example/\n"
    written = run("in.mbox", "out.jsonl", content=f"From a 10:00\n{mail}\nFrom a 10:00\n\n")
    first, second = map(json.loads, written.splitlines())
    assert (first["text"], first["label"]) == ("Win\n\nat http://c.example/", "spam")
    facts = ("mail_id", "received_at", "sender_domain", "link_hosts", "attachments")
    assert [first[fact] for fact in facts] == ["<1@a>", None, "b.example", "c.example", ""]
    assert second["refused"] == "text_is_not_null"


@pytest.fixture
def box(tmp_path):
    """The name of a folder of seven mails."""
    (tmp_path / "box").mkdir()
    for n in range(7):
        mail = f"Subject: {'Win' if n % 2 else 'hi'}\nX-Spam-Flag: NO\n\nmail {n}\n"
        (tmp_path / "box" / f"{n}.eml").write_text(mail)
    return "box"


def test_mails_of_a_folder_are_rows_with_the_names_of_their_files(run, box, caplog):
    Path("box/notes.txt").touch()
    rows = [json.loads(line) for line in run(box, "out.jsonl").splitlines()]
    assert [row["file"] for row in rows] == [f"{n}.eml" for n in range(7)]
    assert [row["label"] for row in rows] == ["ham", "spam"] * 3 + ["ham"]
    assert caplog.messages == ["warning: box: not read: files with another ending 1"]


def test_resumed_run_on_a_folder_equals_an_undisturbed_one(run, interrupt, model, box):
    whole = run(box, "out.csv")
    interrupt(box, "out.csv")
    Path("box/7.eml").touch()
    line = "out.csv: was started with another input; restore it, or start again without --resume"
    assert error_of(run, box, "out.csv", "--resume") == line
    Path("box/7.eml").unlink()
    assert run(box, "out.csv", "--resume") == whole
    assert model.texts == [f"{'Win' if n % 2 else 'hi'}\n\nmail {n}" for n in range(4, 7)]


def test_headers_of_a_folder_of_mails_have_the_verdicts(tmp_path, run, box, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    main([box, "marked", "--headers"])
    for n in range(7):
        flag, score = ("YES", 11 / 64) if n % 2 else ("NO", 10 / 64)
        assert Path(f"marked/{n}.eml").read_text() == (
            f"X-Spam-Flag: {flag}\nX-Spam-Score: {score:.4f}\n"
            "X-Spam-Report: version=3; threshold=0.5000;\n\tconfident=yes; refused=none\n"
            f"Subject: {'Win' if n % 2 else 'hi'}\n\nmail {n}\n"
        )
    assert files(tmp_path) == ["box", "marked"]


def test_headers_of_an_mbox_have_the_verdicts(run):
    start = "From a Thu Nov 26 10:00:00 2026\n"
    content = f"{start}Subject: Win\n\n>From b\n\n{start}\n"
    marked = run("in.mbox", "out.mbox", "--headers", content=content)
    added = "X-Spam-Report: version=3; threshold=0.5000;\n\tconfident=yes; refused="
    assert marked == (
        f"{start}X-Spam-Flag: YES\nX-Spam-Score: 0.1719\n{added}none\n"
        f"Subject: Win\n\n>From b\n\n"
        f"{start}X-Spam-Flag: NO\nX-Spam-Score: 0.0000\n{added}text_is_not_null\n\n"
    )


def test_interrupted_headers_leave_nothing(tmp_path, run, box, model, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    model.ends_after = 4
    with pytest.raises(KeyboardInterrupt):
        main([box, "marked", "--headers"])
    assert files(tmp_path) == ["box"]


@pytest.mark.parametrize(
    ("names", "line"),
    [
        (("-", "out.mbox"), "--headers: - is not mail; name two files or folders"),
        (("box", "box"), "box: exists; name a folder that --headers can make"),
        (
            ("box", "out", "--resume"),
            "--resume: --headers writes all mails at once; leave one of both out",
        ),
        (("box", "out", "--source", "chta"), None),
    ],
)
def test_headers_that_cannot_be_written_leave_nothing(tmp_path, run, box, names, line):
    problem = error_of(main, [*names, "--headers"])
    assert problem == line or (line is None and "no threshold for 'chta'" in problem)
    assert files(tmp_path) == ["box"]


def test_json_lines_keep_their_values_and_hold_no_nan(run, model):
    lines = [
        {"text": "a\ud83d", "id": 1, "tags": ["x", {"y": None}]},  # half of a surrogate pair
        {"id": 12345678901234567890, "text": 7, "ok": True},
    ]
    written = run("in.jsonl", "out.jsonl", content="\n".join(map(json.dumps, lines)))
    every = {"id": None, "tags": None, "ok": None, "label": "ham"} | SAME
    assert [json.loads(line) for line in written.splitlines()] == [
        every | lines[0] | {"text": "a?", "probability": 2 / 64},
        every | lines[1] | {"probability": 1 / 64},
    ]
    assert model.texts == ["a?", "7"]


def test_parquet_keeps_its_types(tmp_path, run, model):
    kept = pa.table(
        {
            "text": pa.array(["Win", None]),
            "id": pa.array([12345678901234567, None], pa.int64()),
            "at": pa.array([datetime(2024, 2, 29, 12), None], pa.timestamp("us")),
            "tags": pa.array([[2, 3], None], pa.list_(pa.int32())),
            "none": pa.nulls(2),
        }
    )
    given = kept.append_column("share", pa.array([0.25, float("nan")]))
    pq.write_table(given, tmp_path / "in.parquet")
    run("in.parquet", "out.parquet")
    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema.names == [*given.schema.names, *SCORES.names]
    assert out.select(kept.schema.names).equals(kept)
    assert model.texts == ["Win"]
    lines = [json.loads(line) for line in run("in.parquet", "out.jsonl").splitlines()]
    values = [[line[name] for name in ("id", "at", "tags", "share")] for line in lines]
    assert values == [[12345678901234567, "2024-02-29 12:00:00", [2, 3], 0.25], [None] * 4]


def test_later_lines_keep_their_columns(run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    content = '{"id": "1", "text": "a"}\n{"text": "b", "id": "2"}\n{"text": "c"}\n'
    rows = run("in.jsonl", "out.parquet", content=content)
    assert [(row["id"], row["text"]) for row in rows] == [("1", "a"), ("2", "b"), (None, "c")]


def test_message_with_any_line_end_stays_one_row(run):
    written = run("in.jsonl", "out.csv", content='{"text": "a\\rb"}\n{"text": "c\\n"}\n')
    answer = f"ham,{{}},0.5,True,3,{NOW},\n"
    first, second = answer.format(3 / 64), answer.format(2 / 64)
    assert written == f'text,{HEADER}\n"a\rb",{first}"c\n",{second}'


@pytest.mark.parametrize("wanted", FORMATS)
def test_file_of_null_texts_has_only_reasons(run, model, wanted):
    written = run("in.jsonl", f"out{wanted}", content='{"text": null}\n{"text": null}\n')
    assert model.texts == []
    assert "text_is_not_null" in str(written)


def test_each_batch_has_its_own_scoring_time(tmp_path, run, monkeypatch):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
    times = [pd.Timestamp(2026, 11, 25, 14, 20, second, tz="UTC") for second in (0, 7)]
    monkeypatch.setattr(scoring, "scoring_time", iter(times).__next__)
    run("in.csv", "out.parquet", content="text\na\nb\nc\n")
    rows = pq.read_table(tmp_path / "out.parquet")["scored_at"]
    assert rows.to_pylist() == [times[0], times[0], times[1]]


EMPTY = {
    "in.csv": "id,text\n",
    "in.tsv": "id\ttext\n",
    "in.jsonl": "",
    "in.parquet": pd.DataFrame({"id": [], "text": []}, dtype="str").to_parquet(),
}


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", EMPTY)
def test_input_without_rows_gives_a_header_only(tmp_path, run, given, wanted):
    columns = [*(["text"] if given == "in.jsonl" else ["id", "text"]), *SCORES.names]
    header = {".csv": ",".join(columns) + "\n", ".tsv": "\t".join(columns) + "\n", ".jsonl": ""}
    assert run(given, f"out{wanted}", content=EMPTY[given]) == header.get(wanted, [])
    if wanted == ".parquet":
        schema = pq.read_schema(tmp_path / "out.parquet")
        assert schema.names == columns
        assert schema.field("scored_at").type == pa.timestamp("us", "UTC")


# ---- standard input and output


def test_standard_streams_are_lines_and_json_lines(run, capsys):
    run("-", "-", content='Win é\r\n\nsay\r"hi"\r\r\n')
    added = '"threshold": 0.5, "confident": true, "model_version": "3", "scored_at": "NOW", '
    added += '"refused": null}'
    refused = added.replace("null", '"text_is_not_null"')
    assert TIME.sub(NOW, capsys.readouterr().out).splitlines() == [
        f'{{"text": "Win é", "label": "spam", "probability": 0.078125, {added}',
        f'{{"text": "", "label": "ham", "probability": 0.0, {refused}',
        f'{{"text": "say\\r\\"hi\\"\\r", "label": "ham", "probability": 0.140625, {added}',
    ]


def test_standard_stream_and_file_can_be_combined(run, capsys):
    written = run("-", "out.csv", "--text", "body", content="hi\n")
    assert written == f"body,{HEADER}\nhi,ham,0.03125,0.5,True,3,NOW,\n"
    run("in.csv", "-", content="\ufefftext,n\r\nhi,007\r\n")
    assert json.loads(capsys.readouterr().out)["n"] == "007"


def test_a_known_source_may_be_named(run, model):
    run("in.csv", "out.csv", "--source", "chat", content="text\nhi\n")
    assert model.sources == ["chat"]
    problem = "version 3 has no threshold for 'chta'; choose from chat, sms"
    hint = "or see `python -m pipeline calibrate --help`"
    for wanted in ("-", "new.csv"):
        line = error_of(run, "in.csv", wanted, "--source", "chta", content="text\nhi\n")
        assert line == f"--source: {problem}, {hint}"
    assert not Path("new.csv").exists()


@pytest.mark.parametrize("wanted", ["out.csv", "out.jsonl", "out.parquet"])
def test_explain_adds_a_column_with_the_heaviest_words(run, monkeypatch, wanted):
    monkeypatch.setattr(versions, "load_champion", lambda: (WordModel(), "3"))
    rows = [{"text": text} for text in ("free lunch", None, "see you")]
    pq.write_table(pa.Table.from_pylist(rows), "in.parquet")
    run("in.parquet", wanted, "--explain")
    readers = {"out.csv": pd.read_csv, "out.parquet": pd.read_parquet}
    table = readers.get(wanted, partial(pd.read_json, lines=True))(wanted)
    assert list(table) == ["text", *SCORES.names, "reasons"]
    assert table["reasons"].fillna("").tolist() == ["lunch -3.0, free +2.0", "", ""]


def test_explain_needs_a_name_that_is_free_and_a_place_for_reasons(run):
    line = error_of(run, "in.csv", "out.csv", "--explain", content="text,reasons\na,b\n")
    assert line == "in.csv: already has a column 'reasons'; rename it"
    assert run("in.csv", "out.csv").startswith("text,reasons,label,")
    line = error_of(run, "in.eml", "out.eml", "--explain", "--headers", content="Subject: a\n\na")
    assert line == "--explain: --headers has no place for reasons; leave one of both out"


def test_standard_input_must_be_utf_8(run):
    problem = "'utf-8' codec can't decode byte 0xff in position 3: invalid start byte"
    line = error_of(run, "-", "-", content=b"hi\n\xff\n")
    assert line == f"-: {problem}; save it as UTF-8"


# ---- what is refused, and leaves no output

BAD_BYTE = "'utf-8' codec can't decode byte 0xe9 in position 5: invalid continuation byte"
HIDDEN = "in.csv: no column 'text' among id and 1 other; name it with --text"
TWICE = "in.csv: two columns of one name among text, id, id; rename one"
XLSX = "out.xlsx: format: unknown '.xlsx'; choose from .csv, .tsv, .jsonl, .parquet"


@pytest.mark.parametrize(
    ("content", "wanted", "line"),
    [
        ("id,see you\n1,a\n", "out.csv", HIDDEN),
        ("text,label\na,1\n", "out.csv", "in.csv: already has a column 'label'; rename it"),
        ("text,id,id\na,1,2\n", "out.csv", TWICE),
        (b"text\n\xe9\xe9\n", "out.csv", f"in.csv: {BAD_BYTE}; save it as UTF-8"),
        (None, "out.csv", "in.csv: No such file or directory; correct or remove the file"),
        ("text\na\n", "out.xlsx", XLSX),
    ],
)
def test_wrong_input_is_refused_before_the_model_loads(
    tmp_path, run, monkeypatch, content, wanted, line
):
    monkeypatch.setattr(versions, "load_champion", None)
    assert error_of(run, "in.csv", wanted, content=content) == line
    assert not list(tmp_path.glob("*out*"))


NEW = "the input has a column 'new' that its first 1 rows do not have; write .jsonl"
TAB = "out.tsv: a cell holds a tab or a line break; write .jsonl"
TYPE = "out.parquet: Failed to parse string: 'x' as a scalar of type int64; write .jsonl"
PAIR = "'utf-8' codec can't encode character '\\ud83d' in position 1: surrogates not allowed"


@pytest.mark.parametrize(
    ("content", "wanted", "line"),
    [
        ('{"text": "a"}\n[]', "out.csv", "in.jsonl: line 2: not an object; correct the line"),
        ('{"text": "a"}\n{"text": "b", "new": 1}\n', "out.csv", NEW),
        ('{"text": "a\\tb"}\n', "out.tsv", TAB),
        ('{"text": "a\\rb"}\n', "out.tsv", TAB),
        ('{"text": "a", "id": 1}\n{"text": "b", "id": "x"}\n', "out.parquet", TYPE),
        ('{"text": "a\\ud83d"}\n', "out.parquet", f"out.parquet: {PAIR}; write .jsonl"),
    ],
)
def test_format_error_leaves_nothing_to_resume(tmp_path, run, monkeypatch, content, wanted, line):
    monkeypatch.setattr(scoring, "SCORED_ROWS", 1)
    assert error_of(run, "in.jsonl", wanted, content=content) == line
    assert files(tmp_path) == ["in.jsonl"]


# ---- interruptions

SEVEN = [{"id": str(n), "text": f"Win {n}" if n % 2 else f"{n}", "n": n} for n in range(7)]


@pytest.fixture
def seven(run, tmp_path):
    """The name of a CSV of seven rows."""
    return write_input(tmp_path, ".csv", SEVEN)


@pytest.fixture
def interrupt(tmp_path, run, monkeypatch, model):
    """Makes a run, two rows at a time, that ends before the fifth and keeps the old output."""

    def interrupt(given, wanted, content=None):
        (tmp_path / wanted).write_text("the last good one")
        monkeypatch.setattr(scoring, "SCORED_ROWS", 2)
        model.texts, model.ends_after = [], 4
        with pytest.raises(KeyboardInterrupt):
            run(given, wanted, content=content)
        assert (tmp_path / wanted).read_text() == "the last good one"
        model.texts, model.ends_after = [], None

    return interrupt


@pytest.mark.parametrize("wanted", FORMATS)
@pytest.mark.parametrize("given", FORMATS)
def test_resumed_run_equals_an_undisturbed_one(
    tmp_path, run, interrupt, monkeypatch, model, caplog, given, wanted
):
    """With the model that it began with, whichever is the champion now, and other batches."""
    given, wanted = write_input(tmp_path, given, SEVEN), f"out{wanted}"
    whole = run(given, wanted)
    interrupt(given, wanted)
    assert caplog.messages == [f"{wanted}: keeps 4 rows for --resume"]
    monkeypatch.setattr(versions, "load_champion", lambda: (None, "4"))
    monkeypatch.setattr(scoring, "SCORED_ROWS", 3)
    caplog.set_level("INFO")
    assert run(given, wanted, "--resume") == whole
    assert caplog.messages[1:] == [f"{wanted}: continues after row 4, with version 3"]
    assert model.texts == [row["text"] for row in SEVEN[4:]]
    assert files(tmp_path) == [given, wanted]


def test_progress_bar_counts_finished_rows(run, seven, interrupt, monkeypatch):
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    interrupt(seven, "out.csv")
    monkeypatch.setattr(sys, "stderr", terminal)
    run(seven, "out.csv", "--resume")
    first, *_, last = terminal.getvalue().strip().split("\r")
    assert first.startswith("4 messages")
    assert last.startswith("7 messages")


def test_run_without_resume_logs_what_it_removes(tmp_path, run, seven, interrupt, model, caplog):
    interrupt(seven, "out.csv")
    caplog.clear()
    assert run(seven, "out.csv").count("\n") == 8
    assert len(model.texts) == 7
    line = "removes 4 rows of an interrupted run"
    assert caplog.messages == [f"out.csv: {line}; --resume would have kept them"]
    interrupt(seven, "out.tsv")
    caplog.clear()
    run("other.csv", "out.tsv", content="text\na\n")
    assert caplog.messages == [f"out.tsv: {line}"]
    assert files(tmp_path) == ["in.csv", "other.csv", "out.csv", "out.tsv"]


def test_run_that_cannot_start_keeps_the_parts(run, seven, interrupt, monkeypatch):
    interrupt(seven, "out.csv")
    resume = (seven, "out.csv", "--resume")
    line = "out.csv: was started with another {}; restore it, or start again without --resume"
    assert error_of(run, *resume, "--text", "id") == line.format("--text")
    assert error_of(run, *resume, "--explain") == line.format("--explain")
    section = "section validate of params.yaml"
    for file, old, new, setting in (
        (seven, "6,6", "6,7", "input"),
        ("params.yaml", "warnings: []", "warnings: [text_decodes]", section),
    ):
        before = Path(file).read_text()
        Path(file).write_text(before.replace(old, new))
        assert error_of(run, *resume) == line.format(setting)
        Path(file).write_text(before)
    monkeypatch.setattr(versions, "load_champion", None)
    with pytest.raises(TypeError):
        run(seven, "out.csv")
    assert run(*resume).count("\n") == 8


def test_same_bytes_in_another_format_are_another_input(run, interrupt):
    interrupt("in.csv", "out.csv", content="text\na\nb\nc\nd\ne\n")
    shutil.copyfile("in.csv", "in.tsv")
    line = error_of(run, "in.tsv", "out.csv", "--resume")
    assert line.startswith("out.csv: was started with another input; ")


def test_resume_without_an_interrupted_run_is_a_new_run(run):
    """Whose output may be its input."""
    assert run("in.csv", "in.csv", "--resume", content="text\na\nb\n").count("\n") == 3


@pytest.mark.parametrize("files", [("-", "out.csv"), ("in.csv", "-")])
def test_standard_streams_cannot_be_resumed(run, files):
    line = "--resume: - cannot be read or written again; name two files"
    assert error_of(run, *files, "--resume") == line


def test_interrupted_standard_input_leaves_nothing(tmp_path, interrupt, caplog):
    interrupt("-", "out.csv", content="a\nb\nc\nd\ne\n")
    assert caplog.messages == []
    assert files(tmp_path) == ["out.csv"]


# ---- a real process, and a real registry

ANSWER = 'return pandas.DataFrame({"label": "ham", "probability": %s, "threshold": 1}, texts.index)'


def answer_with(store, folder, probability, before=""):
    """Makes a version with this answer the champion; it runs a statement before each answer."""
    from tests.harness.small_models import save_hand_written  # which imports TensorFlow

    folder.mkdir()
    predict = f"{before}\n        {ANSWER % probability}"
    model = Path(save_hand_written(folder, predict))
    version = str(store.create_model_version(MODEL_NAME, model.as_uri()).version)
    make_champion(store, version, model)


@pytest.mark.slow
def test_killed_run_is_resumed_without_lost_rows(store, tmp_path):
    rows, whole, output = 40_000, tmp_path / "whole.csv", tmp_path / "out.csv"
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    table = pd.DataFrame({"n": range(rows), "text": [f"Win {n:x}" for n in range(rows)]})
    table.to_csv("in.csv", index=False)
    command = [sys.executable, "-m", "pipeline", "score", "in.csv"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    store.create_registered_model(MODEL_NAME)
    answer_with(store, tmp_path / "first", 0.25)
    subprocess.run([*command, whole], env=environment, check=True)

    child = subprocess.Popen([*command, output], env=environment)
    while not resumable.part_files(output):
        with suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {child.wait(timeout=0.01)}")
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert not output.exists()
    assert 0 < resumable.finished_rows(output) < rows

    answer_with(store, tmp_path / "second", 0.5)
    subprocess.run([*command, output, "--resume"], env=environment, check=True)
    assert scored(output) == scored(whole)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


PARTS = f".out.csv.parts/rows-{scoring.SCORED_ROWS:015}.csv"  # the first part of out.csv


@pytest.fixture
def score_process(store, tmp_path):
    """Runs `score` in a process, with a model that runs a statement once a part is written."""
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    store.create_registered_model(MODEL_NAME)

    def start(given, wanted, before, **options):
        answer_with(store, tmp_path / "model", 0.25, before)
        command = [sys.executable, "-m", "pipeline", "score", given, wanted]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            command, env=environment, stderr=subprocess.PIPE, text=True, **options
        )

    return start


@pytest.fixture
def three_tables(tmp_path):
    """The name of a CSV of three full tables."""
    table = pd.DataFrame({"text": [f"Win {n:x}" for n in range(3 * scoring.SCORED_ROWS)]})
    table.to_csv(tmp_path / "in.csv", index=False)
    return "in.csv"


INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"  # as Ctrl-C does
ONCE_WRITTEN = f"if os.path.exists({PARTS!r}): "
KEPT = f"out.csv: keeps {scoring.SCORED_ROWS:,} rows for --resume"


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_rows(three_tables, score_process):
    child = score_process(three_tables, "out.csv", ONCE_WRITTEN + INTERRUPT)
    _, errors = child.communicate()
    assert child.returncode == 1
    assert errors.splitlines()[-2:] == [KEPT, "interrupted"]
    assert resumable.finished_rows(Path("out.csv")) == scoring.SCORED_ROWS


@pytest.mark.slow
def test_full_disk_is_one_line_and_keeps_the_finished_rows(three_tables, score_process):
    fill = f"{ONCE_WRITTEN}os.symlink('/dev/full', '.out.csv.parts/unfinished.csv')"
    child = score_process(three_tables, "out.csv", fill)
    _, errors = child.communicate()
    assert child.returncode == 1
    problem = "No space left on device; free space, then run it again"
    assert errors.splitlines()[-2:] == [KEPT, f"error: out.csv: {problem}"]
    assert resumable.finished_rows(Path("out.csv")) == scoring.SCORED_ROWS


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_standard_input(score_process):
    lines = "".join(f"Win {n:x}\n" for n in range(scoring.SCORED_ROWS + 1))
    with score_process("-", "out.csv", INTERRUPT, stdin=subprocess.PIPE) as child:
        child.stdin.write(lines)
        child.stdin.flush()
        try:
            assert child.wait(timeout=120) == 1  # for ever, if it waited for more lines
        finally:
            child.kill()
        assert child.stderr.read().splitlines()[-1] == "interrupted"


# ---- on Spark


@pytest.mark.parametrize("option", ["--headers", "--explain", "--resume"])
def test_options_that_spark_does_not_have_are_refused(run, option):
    problem = f"{option}: not with --engine spark; leave one of both out"
    assert error_of(run, "in.csv", "out", "--engine", "spark", option) == problem


@pytest.mark.parametrize("names", [("-", "out"), ("in.csv", "-")])
def test_spark_has_no_standard_streams(run, names):
    problem = "--engine spark: - is no file or folder; name two"
    assert error_of(main, [*names, "--engine", "spark"]) == problem


def test_settings_of_spark_need_spark(run):
    problem = "--spark-conf: only with --engine spark; leave it out"
    assert error_of(run, "in.csv", "out.csv", "--spark-conf", "spark.conf") == problem


def test_missing_spark_is_one_line(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyspark", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "pipeline.serving.spark_scoring", raising=False)
    problem = "pyspark is not installed; run `make spark`"
    assert error_of(run, "in.csv", "out", "--engine", "spark") == problem
