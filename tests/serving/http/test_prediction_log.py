"""The log has a row for each answer, in whole files, and no problem of it stops answers."""

import argparse
import os
import queue
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

from pipeline.core.hashing import message_id
from pipeline.monitoring.predictions import PREDICTIONS, prediction_files
from pipeline.registry import subprocesses
from pipeline.serving.http import prediction_log as module
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.micro_batches import MicroBatcher
from pipeline.serving.http.prediction_log import PredictionLog, add_log_options, prediction_log
from pipeline.serving.http.request_bodies import Messages
from pipeline.serving.http.server_metrics import ServerMetrics
from tests.harness.errors import error_of
from tests.harness.model_server import CHECKS, champion_server
from tests.harness.prediction_logs import write_log
from tests.serving import test_batch

MESSAGES = Messages(["win", "lunch?"], ["sms", None])
ANSWERS = [
    {"label": "spam", "probability": 0.75, "threshold": 0.5, "confident": False},
    {"label": "ham", "probability": 0.25, "threshold": 0.5, "confident": True},
]


def served(predictions, *requests):
    """Sends requests of texts to a server with a log."""
    champion = ServedChampion(LoadedVersion(test_batch.Model(), "3"))
    with (
        champion_server(champion, predictions=predictions) as address,
        subprocesses.local_session() as session,
    ):
        for texts in requests:
            body = [{"text": text, "source": "sms"} for text in texts]
            assert session.post(f"{address}/score", json=body, timeout=60).status_code == 200


def read_files(folder):
    return [pq.read_table(path).to_pandas() for path in prediction_files(folder)]


# ---- rows


def test_row_has_the_answer_and_no_text(tmp_path):
    predictions = PredictionLog(tmp_path)
    predictions.start()
    predictions.add("3", MESSAGES, ANSWERS)
    predictions.close()
    (path,) = prediction_files(tmp_path)
    table = pq.read_table(path)
    assert table.schema == PREDICTIONS
    rows = table.to_pylist()
    assert all(timedelta(0) <= datetime.now(UTC) - row.pop("scored_at") for row in rows)
    assert rows == [
        {
            **answer,
            "model_version": "3",
            "source": source,
            "text_id": message_id(text),
            "text": None,
        }
        for text, source, answer in zip(*MESSAGES[:2], ANSWERS, strict=True)
    ]
    assert (predictions.written, predictions.lost) == (2, 0)


def test_text_is_kept_on_request_as_far_as_it_is_read(tmp_path):
    long = "a" * 30_000
    predictions = PredictionLog(tmp_path, keep_text=True)
    predictions.start()
    predictions.add("3", Messages([long, "b"], ["s" * 200, None]), ANSWERS)
    predictions.close()
    (rows,) = read_files(tmp_path)
    assert rows["text"].tolist() == ["a" * 20_000, "b"]
    assert rows["text_id"][0] == message_id(long)
    assert rows["source"][0] == "s" * 100


# ---- files


def test_each_answer_of_a_server_is_logged_when_it_stops(tmp_path):
    served(PredictionLog(tmp_path, keep_text=True), ["win", "a"], ["b"])
    (rows,) = read_files(tmp_path)
    assert rows["text"].tolist() == ["win", "a", "b"]
    assert rows["label"].tolist() == ["spam", "ham", "ham"]
    assert set(rows["model_version"]) == {"3"}


def test_file_is_written_after_so_many_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_ROWS", 4)
    predictions = PredictionLog(tmp_path)
    predictions.start()
    for _ in range(3):
        predictions.add("3", MESSAGES, ANSWERS)
    predictions.close()
    assert [len(rows) for rows in read_files(tmp_path)] == [4, 2]


def test_file_is_written_after_some_time(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FILE_SECONDS", 0)
    written = queue.SimpleQueue()
    monkeypatch.setattr(PredictionLog, "_write", lambda _, rows: written.put(len(rows)))
    predictions = PredictionLog(tmp_path)
    predictions.start()
    predictions.add("3", MESSAGES, ANSWERS)
    assert written.get(timeout=60) == 2
    predictions.close()


def test_old_files_are_removed_and_files_of_others_stay(tmp_path):
    now = datetime.now(UTC)
    kept = write_log(tmp_path, [{}], now - timedelta(days=6))
    old = write_log(tmp_path, [{}], now - timedelta(days=8))
    orphan = tmp_path / f".{old.name}.7.tmp"
    orphan.write_bytes(b"PAR1")
    other = tmp_path / "a.parquet"
    other.write_bytes(b"")
    predictions = PredictionLog(tmp_path, retention_days=7)
    predictions.start()
    predictions.close()
    assert sorted(tmp_path.iterdir()) == sorted([kept, other])


# ---- problems


def test_lost_folder_stops_no_answer_and_is_logged_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(module, "FILE_ROWS", 1)
    folder = tmp_path / "log"
    predictions = PredictionLog(folder)
    shutil.rmtree(folder)
    folder.touch()
    served(predictions, ["a", "b"], ["c"])
    assert (predictions.written, predictions.lost) == (0, 3)
    (warning,) = [one.getMessage() for one in caplog.records if "not logged" in one.getMessage()]
    assert f"{folder}: File exists; " in warning


def test_full_disk_is_counted_and_the_log_goes_on(tmp_path, monkeypatch, caplog):
    """The temporary file of the first write leads to /dev/full."""
    monkeypatch.setattr(module, "FILE_ROWS", 1)
    monkeypatch.setattr(module, "file_name", lambda _, suffix: f"predictions-9{suffix}")
    full = tmp_path / f".predictions-9-{os.getpid()}.parquet.{os.getpid()}.tmp"
    full.symlink_to("/dev/full")
    predictions = PredictionLog(tmp_path)
    served(predictions, ["a", "b"], ["c"])
    assert (predictions.written, predictions.lost) == (1, 2)
    assert "No space left on device; free space" in caplog.text
    assert [rows["text_id"].tolist() for rows in read_files(tmp_path)] == [[message_id("c")]]


def test_what_the_thread_cannot_take_is_lost_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WAITING_REQUESTS", 1)
    predictions = PredictionLog(tmp_path)  # whose thread does not run yet
    predictions.add("3", MESSAGES, ANSWERS)
    predictions.add("3", MESSAGES, ANSWERS)
    metrics = ServerMetrics(ServedChampion(LoadedVersion(None, "3")), MicroBatcher(CHECKS.reasons))
    metrics.watch_log(predictions)
    assert b"spam_unlogged_messages 2.0\n" in metrics.page()
    predictions.start()
    predictions.close()
    assert b"spam_logged_messages 2.0\n" in metrics.page()


# ---- options


def log_of(*options):
    parser = argparse.ArgumentParser()
    add_log_options(parser)
    return prediction_log(parser.parse_args(options))


def test_log_is_off_by_default():
    assert log_of() is None


@pytest.mark.parametrize("options", [["--keep-text"], ["--retention-days", "3"]])
def test_options_of_a_log_need_one(options):
    assert error_of(log_of, *options).endswith("give --log FOLDER, too")


@pytest.mark.parametrize("days", ["0", "40000"])
def test_retention_out_of_range_is_an_error(days, tmp_path):
    problem = error_of(log_of, "--log", str(tmp_path), "--retention-days", days)
    assert problem == f"--retention-days: {days}: give a number between 1 and 36,500 days"


def test_folder_that_cannot_be_used_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    problem = error_of(log_of, "--log", str(tmp_path / "file"))
    assert problem == f"{tmp_path / 'file'}: File exists; move it out of the way, then run it again"
