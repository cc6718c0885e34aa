"""Extracts and feedback land in the inbox as files that are only ever added to."""

import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import sqlalchemy

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import file_sha256
from pipeline.sources import inbox as inbox_
from pipeline.sources.inbox import APPEND, BACK, MEND, Feedback, Sql, checked, feedback, sql
from tests.harness import servers
from tests.harness.servers import bucket, s3

__all__ = ["bucket", "s3"]

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALL = "SELECT body AS text, verdict AS label, received_at FROM tickets ORDER BY id"
NEWS = "SELECT body AS text, verdict AS label, received_at FROM tickets WHERE received_at > :since ORDER BY id"


@pytest.fixture
def inbox(tmp_path):
    return tmp_path / "inbox"


@pytest.fixture
def clock():
    """A second later at each look."""
    times = (NOON + timedelta(seconds=n) for n in range(99))
    return lambda: next(times)


@pytest.fixture
def sqlite(tmp_path):
    """The address of a database with two tickets."""
    path = tmp_path / "tickets.db"
    with sqlite3.connect(path) as database:
        database.execute(
            "CREATE TABLE tickets (id INTEGER, body TEXT, verdict TEXT, received_at TEXT)"
        )
    add(path, (1, "hello", "ok", "2026-11-01 10:00:00"), (2, "WIN", "junk", None))
    return f"sqlite:///{path}"


def add(path, *rows):
    with sqlite3.connect(str(path).removeprefix("sqlite:///")) as database:
        database.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?)", rows)
    database.close()


def rows(inbox, files):
    return [
        tuple(row.values()) for path in files for row in pq.read_table(inbox / path).to_pylist()
    ]


def refusal(call, *arguments, **keywords):
    with pytest.raises(PipelineError) as refused:
        call(*arguments, **keywords)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def lies_in(inbox):
    return sorted(path.relative_to(inbox).as_posix() for path in inbox.rglob("*") if path.is_file())


# ---- databases


def test_an_extract_lands_as_a_dated_parquet_with_its_checksum(inbox, sqlite, clock):
    files = sql("tickets", Sql(sqlite, ALL), inbox, {}, False, clock)
    assert list(files) == ["tickets/2026-11-20T120000Z.parquet"] == lies_in(inbox)
    assert files == {path: file_sha256(inbox / path) for path in files}
    assert rows(inbox, files) == [
        ("hello", "ok", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("WIN", "junk", None),
    ]


def test_a_full_extract_takes_the_place_of_the_last_which_stays(inbox, sqlite, clock):
    old = sql("tickets", Sql(sqlite, ALL), inbox, {}, False, clock)
    assert sql("tickets", Sql(sqlite, ALL), inbox, old, True, clock) == old
    assert lies_in(inbox) == list(old)  # equal rows are no news
    add(sqlite, (3, "new", "ok", None))
    new = sql("tickets", Sql(sqlite, ALL), inbox, old, True, clock)
    assert [text for text, _, _ in rows(inbox, new)] == ["hello", "WIN", "new"]
    assert lies_in(inbox) == [*old, *new]


def test_an_incremental_extract_adds_what_is_newer(inbox, sqlite, clock):
    first = sql("tickets", Sql(sqlite, NEWS), inbox, {}, False, clock)
    assert [text for text, _, _ in rows(inbox, first)] == ["hello"]
    assert sql("tickets", Sql(sqlite, NEWS), inbox, first, True, clock) == first
    assert lies_in(inbox) == list(first)
    add(sqlite, (3, "new", "ok", "2026-11-02 00:00:00"), (4, "old", "ok", "2026-10-01 00:00:00"))
    second = sql("tickets", Sql(sqlite, NEWS), inbox, first, True, clock)
    assert list(second)[: len(first)] == list(first)
    assert [text for text, _, _ in rows(inbox, second)] == ["hello", "new"]


def test_what_has_landed_stays_without_update_and_needs_no_database(inbox, sqlite, clock):
    files = sql("tickets", Sql(sqlite, ALL), inbox, {}, False, clock)
    assert sql("tickets", Sql("sqlite:////nowhere/x", ALL), inbox, files, False, clock) == files
    [path] = [inbox / path for path in files]
    path.write_bytes(b"other")
    line = refusal(sql, "tickets", Sql(sqlite, ALL), inbox, files, False, clock)
    assert line == f"{path}: changed since it landed; {BACK}"
    path.unlink()
    line = refusal(sql, "tickets", Sql(sqlite, ALL), inbox, files, False, clock)
    assert line == f"{path}: missing; {BACK}"


def test_many_rows_come_in_chunks_whatever_their_types(inbox, tmp_path, clock, monkeypatch):
    monkeypatch.setattr(inbox_, "CHUNK", 2)
    query = (
        "SELECT NULL AS text, NULL AS label UNION ALL SELECT NULL, 1 UNION ALL SELECT x'ff41', 0 "
        "UNION ALL SELECT 7, 'ok' UNION ALL SELECT 1.5, NULL"
    )
    files = sql("tickets", Sql("sqlite://", query), inbox, {}, False, clock)
    assert [row[:2] for row in rows(inbox, files)] == [
        (None, None),
        (None, "1"),
        ("\ufffdA", "0"),
        ("7", "ok"),
        ("1.5", None),
    ]


@pytest.mark.parametrize(
    ("url", "query", "line"),
    [
        ("sqlite:////nowhere/x.db", ALL, f"tickets: unable to open database file; {MEND}"),
        ("sqlite://", "SELEKT 1", f'tickets: near "SELEKT": syntax error; {MEND}'),
        ("sqlite://", ALL, f"tickets: no such table: tickets; {MEND}"),
        ("sqlite", ALL, f"tickets: Could not parse SQLAlchemy URL from given URL string; {MEND}"),
        (
            "dbase://x",
            ALL,
            f"tickets: Can't load plugin: sqlalchemy.dialects:dbase; {MEND}",
        ),
        ("mysql://x", ALL, "tickets: the database's driver MySQLdb is missing; install it"),
        (
            "sqlite://",
            "SELECT 1 AS text",
            "tickets: the query returns text, not one 'label'; name it with AS",
        ),
        (
            "sqlite://",
            "SELECT 1 AS text, 1 AS text, 1 AS label",
            "tickets: the query returns text, text, label, not one 'text'; name it with AS",
        ),
        (
            "sqlite://",
            "SELECT 1 AS text, 1 AS label WHERE 0",
            "tickets: the query returns no rows; mend it",
        ),
        (
            "sqlite://",
            "SELECT 1 AS text, 1 AS label, 'noon' AS received_at",
            "tickets: received_at is not a time; cast it in the query",
        ),
        ("$NOT_SET", ALL, "tickets.url: $NOT_SET is not set in the environment; set it"),
    ],
)
def test_a_query_that_cannot_be_run_is_one_line_and_lands_nothing(inbox, clock, url, query, line):
    assert refusal(sql, "tickets", Sql(url, query), inbox, {}, False, clock).startswith(line)
    assert lies_in(inbox) == []


def test_an_extract_that_breaks_half_way_leaves_what_was_there(inbox, sqlite, clock, monkeypatch):
    monkeypatch.setattr(inbox_, "CHUNK", 1)
    files = sql("tickets", Sql(sqlite, ALL), inbox, {}, False, clock)
    add(sqlite, (3, "new", "ok", "no time"))
    refusal(sql, "tickets", Sql(sqlite, ALL), inbox, files, True, clock)
    assert lies_in(inbox) == list(files)


@pytest.fixture(scope="module")
def postgres():
    if reason := servers.missing():
        pytest.skip(reason)
    with servers.postgres() as database:
        yield database


@pytest.mark.server
def test_a_real_postgresql_is_read_with_its_own_types(inbox, postgres, clock, monkeypatch):
    monkeypatch.setattr(inbox_, "CHUNK", 3)
    address = postgres.address("postgres")
    with sqlalchemy.create_engine(address).begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "CREATE TABLE tickets AS SELECT n AS id, 'message ' || n AS body, "
                "(n % 2)::numeric AS verdict, "
                "timestamptz '2026-11-01 00:00+02' + n * interval '1 hour' AS received_at "
                "FROM generate_series(1, 10) AS n"
            )
        )
    files = sql("tickets", Sql(address, NEWS), inbox, {}, False, clock)
    found = rows(inbox, files)
    assert len(found) == 10
    assert found[0] == ("message 1", str(Decimal(1)), datetime(2026, 10, 31, 23, tzinfo=UTC))
    assert sql("tickets", Sql(address, NEWS), inbox, files, True, clock) == files
    with sqlalchemy.create_engine(address).begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO tickets VALUES (11, 'late', 1, now())"))
    more = sql("tickets", Sql(address, NEWS), inbox, files, True, clock)
    assert [row[0] for row in rows(inbox, list(more)[1:])] == ["late"]


@pytest.mark.server
def test_a_wrong_password_is_one_line_without_it(inbox, postgres, clock):
    wrong = postgres.address("postgres").replace(postgres.password, "secret")
    line = refusal(sql, "tickets", Sql(wrong, ALL), inbox, {}, False, clock)
    assert "password authentication failed" in line
    assert "secret" not in line


# ---- feedback


@pytest.fixture
def said(tmp_path):
    folder = tmp_path / "said"
    (folder / "deep").mkdir(parents=True)
    (folder / "2026-11-20.csv").write_text("text,label\nhi,ham\n")
    (folder / "deep" / "2026-11-21.csv").write_text("text,label\nhi,spam\n")
    return folder


FOLDER = "feedback/analysts"


def test_feedback_lands_under_its_own_names(inbox, said):
    files = feedback("analysts", Feedback(str(said)), inbox, {}, False)
    assert (
        list(files)
        == [f"{FOLDER}/2026-11-20.csv", f"{FOLDER}/deep/2026-11-21.csv"]
        == lies_in(inbox)
    )
    assert files == {path: file_sha256(inbox / path) for path in files}


def test_only_update_looks_for_more_and_what_is_gone_upstream_stays(inbox, said):
    old = feedback("analysts", Feedback(str(said)), inbox, {}, False)
    (said / "2026-11-20.csv").unlink()
    (said / "2026-11-22.csv").write_text("text,label\nyo,ham\n")
    assert feedback("analysts", Feedback(str(said)), inbox, old, False) == old
    new = feedback("analysts", Feedback(str(said)), inbox, old, True)
    assert {**old, f"{FOLDER}/2026-11-22.csv": new[f"{FOLDER}/2026-11-22.csv"]} == new
    assert lies_in(inbox) == list(new)


def test_a_landed_file_that_changes_upstream_is_refused_and_stays(inbox, said):
    old = feedback("analysts", Feedback(str(said)), inbox, {}, False)
    (said / "2026-11-20.csv").write_text("text,label\nhi,spam\n")
    line = refusal(feedback, "analysts", Feedback(str(said)), inbox, old, True)
    assert line == f"analysts: {FOLDER}/2026-11-20.csv has changed since it landed; {APPEND}"
    assert checked(inbox, old) == old


def test_a_landed_file_that_is_lost_here_comes_again_and_a_changed_one_is_refused(inbox, said):
    files = feedback("analysts", Feedback(str(said)), inbox, {}, False)
    (inbox / FOLDER / "2026-11-20.csv").unlink()
    (said / "2026-11-22.csv").write_text("text,label\nyo,ham\n")
    assert feedback("analysts", Feedback(str(said)), inbox, files, False) == files
    assert lies_in(inbox) == list(files)
    (inbox / FOLDER / "2026-11-20.csv").write_text("edited")
    line = refusal(feedback, "analysts", Feedback(str(said)), inbox, files, False)
    assert line == f"{inbox / FOLDER}/2026-11-20.csv: changed since it landed; {BACK}"


def test_feedback_comes_from_a_real_s3(inbox, bucket):
    for name in ("corrections/2026-11-20.csv", "corrections/users/2026-11-21.jsonl", "other/x.csv"):
        bucket.put_object(Bucket="spam", Key=name, Body=name.encode())
    files = feedback("analysts", Feedback("s3://spam/corrections"), inbox, {}, False)
    assert list(files) == [f"{FOLDER}/2026-11-20.csv", f"{FOLDER}/users/2026-11-21.jsonl"]
    assert (
        inbox / FOLDER / "users/2026-11-21.jsonl"
    ).read_text() == "corrections/users/2026-11-21.jsonl"
    only = feedback(
        "analysts", Feedback("s3://spam/corrections/*.csv"), Path(inbox, "b"), {}, False
    )
    assert list(only) == [f"{FOLDER}/2026-11-20.csv"]


def test_a_name_that_leads_out_of_the_folder_is_refused(inbox, bucket):
    bucket.put_object(Bucket="spam", Key="in/../../x.csv", Body=b"x")
    line = refusal(feedback, "analysts", Feedback("s3://spam/in"), inbox, {}, False)
    assert line == "s3://spam/in: '../../x.csv' leads out of the folder; rename it"
    assert lies_in(inbox) == []
