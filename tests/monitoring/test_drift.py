"""The drift command writes both reports; its benchmark finds changes in the default messages."""

import json
import re
import shutil

import pandas as pd
import pytest

from benchmarks import drift as benchmark
from pipeline.monitoring import drift
from pipeline.monitoring.drift_checks import DRIFT_CHECKS
from tests.harness.drift_messages import CHANGES, NEW, RARE_WORDS, REFERENCE, draw
from tests.harness.errors import error_of
from tests.harness.message_tables import message_table
from tests.harness.prediction_logs import write_log
from tests.harness.small_project import ROOT


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The project's params, the reference, and new messages with drift, without labels."""
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    REFERENCE.to_csv("reference.csv", index=False)
    CHANGES["terms"][["text"]].to_csv("new.csv", index=False)
    return tmp_path


def test_the_command_writes_both_reports(folder, caplog):
    caplog.set_level("INFO")
    drift.main(["reference.csv", "new.csv"])
    text = (folder / "data" / "review" / "drift.json").read_text()
    report = json.loads(text)
    assert (report["rows"], report["alarm"], list(report["alarms"])) == (400, True, ["terms"])
    assert list(report["figures"]) == [name for name in DRIFT_CHECKS if name != "label_share"]
    assert not [one for one in [*REFERENCE["text"], *CHANGES["terms"]["text"]] if one in text]
    page = (folder / "data" / "review" / "drift.html").read_text(encoding="utf-8")
    for output in (page, caplog.text):
        assert "400 new messages against 1,200: alarm: terms (p " in output
        assert "parcel in 5.0% of the messages against 0.0%" in output
        assert "Not checked, as there are too few labels, words or campaigns: label" in output
    assert "<td>rows</td><td>1,200</td><td>400</td>" in page
    words = r"p, corrected for all words</th></tr>\s+<tr><td>parcel</td><td>0</td><td>0.05</td>"
    assert re.search(words, page)


def test_log_of_predictions_with_texts_is_compared(folder, caplog):
    """A text that was served twice counts once."""
    caplog.set_level("INFO")
    texts = CHANGES["terms"]["text"].tolist()
    write_log(folder / "log", [{"text": text, "source": None} for text in [*texts, texts[0]]])
    drift.main(["reference.csv", "log"])
    assert f"{len(set(texts))} new messages against 1,200: alarm: terms (p " in caplog.text


def test_log_without_texts_is_an_error(folder):
    write_log(folder / "log", [{"text": None}])
    assert error_of(drift.main, ["reference.csv", "log"]) == (
        "log: 0 messages, but drift.fewest_rows is 100; serve more with --keep-text"
    )


def test_equal_files_give_equal_reports(folder):
    for output in ("one", "two"):
        drift.main(["reference.csv", "reference.csv", "--output", output])
    for name in ("drift.json", "drift.html"):
        assert (folder / "one" / name).read_bytes() == (folder / "two" / name).read_bytes()
    assert json.loads((folder / "one" / "drift.json").read_text())["alarm"] is False
    page = (folder / "one" / "drift.html").read_text()
    assert "no alarm from 6 checks" in page
    assert "Not checked" not in page


def test_a_source_is_compared_with_itself():
    """The mix of sources changes, and one of them; the third is new."""
    texts = dict(zip(("a", "b", "c"), (REFERENCE, draw(5, 1200), NEW), strict=True))
    a, b, c = (table.assign(source=f"{name}/x.csv") for name, table in texts.items())
    pairs = drift.pairs_by_source(pd.concat([a, b[:99]]), pd.concat([a[:200], b, c[:100]]), 100)
    sizes = {name: tuple(map(len, pair)) for name, pair in pairs.items()}
    assert sizes == {"a": (1200, 200), "": (1299, 1300)}
    pairs = drift.pairs_by_source(pd.concat([a, b]), pd.concat([a, b[:500], c[:99]]), 100)
    assert list(pairs) == ["a", "b"]
    assert list(drift.pairs_by_source(a, c[:50], 100)) == [""]


def test_a_change_of_one_source_is_not_hidden_by_the_others(folder, caplog):
    caplog.set_level("INFO")
    texts = {"a": REFERENCE, "b": draw(5, 1200, words=RARE_WORDS)}
    tables = [
        message_table(table["text"].tolist(), table["label"].tolist()).assign(source=name)
        for name, table in texts.items()
    ]
    pd.concat(tables).to_parquet("known.parquet")
    CHANGES["terms"].to_csv("new.csv", index=False)
    drift.main(["known.parquet", "new.csv", "--source", "a"])
    report = json.loads((folder / "data" / "review" / "drift.json").read_text())
    assert list(report["alarms"]) == ["a.terms"]
    assert "Words of a" in (folder / "data" / "review" / "drift.html").read_text()


def test_too_few_messages_are_one_line(folder):
    REFERENCE[:99].to_csv("few.csv", index=False)
    line = "few.csv: 99 messages, but drift.fewest_rows is 100; add messages"
    assert error_of(drift.main, ["reference.csv", "few.csv", "--output", "out"]) == line
    assert not (folder / "out").exists()


# ---- the benchmark


def test_an_email_is_its_first_plain_text():
    mail = "From: a@b.example\nSubject: hi\n\n{}"
    assert benchmark.plain_text(mail.format(" see you\n")) == "see you"
    assert len(benchmark.plain_text(mail.format("x" * 3000))) == 2000
    assert benchmark.plain_text("Content-Type: text/html\n\n<b>see</b>") == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("nothing changed", set()),
        ("spam share doubled", {"label_share"}),
        ("a new campaign, 5 %", {"terms"}),
        ("e-mail, 20 %", {"length", "domain_classifier"}),
    ],
)
def test_a_change_in_the_default_messages_is_found(
    sms_messages, tmp_path, monkeypatch, setting, expected
):
    monkeypatch.chdir(ROOT)
    downloaded = (ROOT / ".downloads" / benchmark.SHA256).exists()
    if setting.startswith("e-mail") and not (downloaded or shutil.which("npm")):
        pytest.skip("npm, which downloads the e-mails, is not installed")
    path = tmp_path / "messages.parquet"
    sms_messages[["text", "label"]].drop_duplicates("text").to_parquet(path)
    for seed in range(2):
        alarms = set(benchmark.alarms_of_draw(path, setting, seed))
        assert expected <= alarms
        assert expected or not alarms
