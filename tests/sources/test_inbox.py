"""Extracts and feedback are saved in the inbox as files that never change."""

from datetime import UTC, datetime, timedelta

import pandas as pd
import pyarrow.parquet as pq
import pytest
import sqlalchemy

from pipeline.core.hashing import file_sha256
from pipeline.sources import inbox as saved
from tests.harness import servers
from tests.harness.errors import error_of

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ALL = "SELECT body AS text, verdict AS label, received_at FROM tickets ORDER BY id"
NEWS = ALL.replace("ORDER", "WHERE received_at > :since ORDER")


@pytest.fixture
def inbox(tmp_path):
    return tmp_path / "inbox"


def extract(inbox, url, query, pinned=None, update=False):
    """Saves an extract of `tickets`, later than the extracts before it."""
    declared = saved.SqlDeclaration(url=url, query=query)
    now = NOON + timedelta(seconds=len(saved_in(inbox)))
    return saved.save_extract("tickets", declared, inbox, pinned or {}, update, lambda: now)


@pytest.fixture
def sqlite(tmp_path):
    """The address of a database with two tickets."""
    url = f"sqlite:///{tmp_path}/tickets.db"
    add(url, (1, "hello", "ok", "2026-11-01 10:00:00"), (2, "WIN", "junk", None))
    return url


def add(url, *rows):
    tickets = pd.DataFrame(rows, columns=["id", "body", "verdict", "received_at"])
    tickets.to_sql("tickets", url, if_exists="append", index=False)


def rows(inbox, files):
    tables = [pq.read_table(inbox / path).to_pylist() for path in files]
    return [tuple(row.values()) for table in tables for row in table]


def saved_in(inbox):
    return sorted(path.relative_to(inbox).as_posix() for path in inbox.rglob("*") if path.is_file())


# ---- databases


def test_full_extract_replaces_the_last_one(inbox, sqlite, monkeypatch):
    monkeypatch.setattr(saved, "EXTRACT_ROWS", 1)
    old = extract(inbox, sqlite, ALL)
    assert list(old) == ["tickets/2026-11-20T120000Z.parquet"] == saved_in(inbox)
    assert old == {path: file_sha256(inbox / path) for path in old}
    two = [("hello", "ok", datetime(2026, 11, 1, 10, tzinfo=UTC)), ("WIN", "junk", None)]
    assert rows(inbox, old) == two
    assert extract(inbox, sqlite, ALL, old, update=True) == old
    assert saved_in(inbox) == list(old)  # equal rows are no news
    add(sqlite, (3, "new", "ok", None))
    new = extract(inbox, sqlite, ALL, old, update=True)
    assert rows(inbox, new) == [*two, ("new", "ok", None)]
    add(sqlite, (4, "broken", "ok", "no time"))
    error_of(extract, inbox, sqlite, ALL, new, update=True)
    assert saved_in(inbox) == [*old, *new]


def test_incremental_extract_adds_newer_rows(inbox, sqlite):
    first = extract(inbox, sqlite, NEWS)
    assert [text for text, _, _ in rows(inbox, first)] == ["hello"]
    assert extract(inbox, sqlite, NEWS, first, update=True) == first
    assert saved_in(inbox) == list(first)
    add(sqlite, (3, "new", "ok", "2026-11-02 00:00:00"), (4, "old", "ok", "2026-10-01 00:00:00"))
    second = extract(inbox, sqlite, NEWS, first, update=True)
    assert list(second)[: len(first)] == list(first)
    assert [text for text, _, _ in rows(inbox, second)] == ["hello", "new"]


def test_row_of_the_future_hides_no_later_rows(inbox, sqlite, caplog):
    add(sqlite, (3, "typo", "ok", "2099-01-01 00:00:00"))
    first = extract(inbox, sqlite, NEWS)
    assert [text for text, _, _ in rows(inbox, first)] == ["hello", "typo"]
    add(sqlite, (4, "new", "ok", "2026-11-20 11:59:00"))
    second = extract(inbox, sqlite, NEWS, first, update=True)
    assert [text for text, _, _ in rows(inbox, second)] == ["hello", "typo", "new"]
    assert caplog.messages == [
        "warning: tickets: a received_at is in the future, 2099-01-01T00:00:00+00:00; "
        "correct the row in the database"
    ]


def test_rows_written_late_come_once_and_no_row_comes_twice(inbox, sqlite):
    add(sqlite, (3, "t", "ok", "2026-11-01T23:30:00"), (4, "ours", "ok", "2026-11-02T00:30+02:00"))
    files = extract(inbox, sqlite, NEWS)
    late = (5, "late", "ok", "2026-11-01T08:00:00"), (6, "same", "ok", "2026-11-01T23:30:00")
    add(sqlite, *late, (7, "ours", "junk", "2026-11-02T00:30+02:00"))
    for _ in range(2):
        files = extract(inbox, sqlite, NEWS, files, update=True)
        texts = [text for text, _, _ in rows(inbox, files)]
        assert texts == ["hello", "t", "ours", "late", "same", "ours"]
    assert saved_in(inbox) == list(files)


@pytest.mark.parametrize("query", [ALL, NEWS])
def test_extracts_of_one_second_are_files_of_their_own(inbox, sqlite, query):
    declared = saved.SqlDeclaration(url=sqlite, query=query)
    old = saved.save_extract("tickets", declared, inbox, {}, False, lambda: NOON)
    for number in (3, 4):
        add(sqlite, (number, "new", "ok", f"2026-11-02 00:00:0{number}"))
        new = saved.save_extract("tickets", declared, inbox, old, True, lambda: NOON)
        assert saved.check_files(inbox, old | new) == old | new
        assert len(rows(inbox, new)) == number - (query == NEWS)
        old = new
    assert list(new)[-1] == "tickets/2026-11-20T120000Z-3.parquet"


def test_saved_extract_needs_no_database(inbox, sqlite):
    files = extract(inbox, sqlite, ALL)
    assert extract(inbox, "sqlite:////nowhere/x", ALL, files) == files
    [path] = [inbox / path for path in files]
    path.unlink()
    missing = f"{path}: missing; {saved.RESTORE_REMEDY}"
    assert error_of(extract, inbox, sqlite, ALL, files) == missing


def test_values_of_any_type_become_text(inbox, monkeypatch):
    monkeypatch.setattr(saved, "EXTRACT_ROWS", 2)
    query = (
        "SELECT NULL AS text, NULL AS label UNION ALL SELECT NULL, 1 UNION ALL SELECT x'ff41', 0 "
        "UNION ALL SELECT 7, 'ok' UNION ALL SELECT 1.5, NULL"
    )
    texts, labels, _ = zip(*rows(inbox, extract(inbox, "sqlite://", query)), strict=True)
    assert texts == (None, None, "\ufffdA", "7", "1.5")
    assert labels == (None, "1", "0", "ok", None)


REMEDY = saved.DATABASE_REMEDY
NO_LABEL = "SELECT 1 AS text"
TWO_TEXTS = "SELECT 1 AS text, 1 AS text, 1 AS label"
NO_ROWS = "SELECT 1 AS text, 1 AS label WHERE 0"
NO_TIME = "SELECT 1 AS text, 1 AS label, 'noon' AS received_at"


@pytest.mark.parametrize(
    ("url", "query", "line"),
    [
        ("$NOT_SET", ALL, "tickets.url: $NOT_SET is not set in the environment; set it"),
        ("sqlite:////nowhere/x", ALL, f"tickets: unable to open database file; {REMEDY}"),
        ("sqlite://", ALL, f"tickets: no such table: tickets; {REMEDY}"),
        ("sqlite", ALL, "tickets: Could not parse SQLAlchemy URL from given URL string; check"),
        ("mysql://x", ALL, "tickets: the database's driver MySQLdb is missing; install it"),
        ("sqlite://", NO_LABEL, "tickets: the query returns text, not one 'label'; name it with"),
        ("sqlite://", TWO_TEXTS, "tickets: the query returns text, text, label, not one 'text'; "),
        ("sqlite://", NO_ROWS, "tickets: the query returns no rows; correct it"),
        ("sqlite://", NO_TIME, "tickets: received_at is not a time; cast it in the query"),
    ],
)
def test_failing_query_is_one_line_and_saves_nothing(inbox, url, query, line):
    error = error_of(extract, inbox, url, query)
    assert error.startswith(line)
    assert "\n" not in error
    assert saved_in(inbox) == []


TICKETS = """
CREATE TABLE tickets AS SELECT n AS id, 'message ' || n AS body, (n % 2)::numeric AS verdict,
timestamptz '2026-11-01 00:00+02' + n * interval '1 hour' AS received_at
FROM generate_series(1, 10) AS n
"""


@pytest.mark.server
@pytest.mark.skipif(bool(servers.missing()), reason=str(servers.missing()))
def test_postgresql_is_read_with_its_own_types(inbox, monkeypatch):
    monkeypatch.setattr(saved, "EXTRACT_ROWS", 3)
    with servers.postgres() as database:
        address = database.address("postgres")
        with sqlalchemy.create_engine(address).begin() as connection:
            connection.execute(sqlalchemy.text(TICKETS))
        files = extract(inbox, address, NEWS)
        assert extract(inbox, address, NEWS, files, update=True) == files
        with sqlalchemy.create_engine(address).begin() as connection:
            connection.execute(sqlalchemy.text("INSERT INTO tickets VALUES (11, 'late', 1, now())"))
        more = extract(inbox, address, NEWS, files, update=True)
        line = error_of(extract, inbox, address.replace(database.password, "secret"), ALL)
    table = rows(inbox, more)
    assert (len(table), table[-1][0]) == (11, "late")
    assert table[0] == ("message 1", "1", datetime(2026, 10, 31, 23, tzinfo=UTC))
    assert "password authentication failed" in line
    assert "secret" not in line


# ---- feedback


@pytest.fixture
def remote(tmp_path):
    folder = tmp_path / "remote"
    (folder / "deep").mkdir(parents=True)
    (folder / "2026-11-20.csv").write_text("text,label\nhi,ham\n")
    (folder / "deep" / "2026-11-21.csv").write_text("text,label\nhi,spam\n")
    return folder


FOLDER = "feedback/analysts"


def fetch_feedback(inbox, url, pinned=None, update=False):
    """Saves the feedback of `analysts`."""
    declared = saved.FeedbackDeclaration(url=str(url))
    return saved.save_feedback("analysts", declared, inbox, pinned or {}, update)


def test_only_update_adds_files_and_none_may_change(inbox, remote):
    old = fetch_feedback(inbox, remote)
    assert list(old) == [f"{FOLDER}/2026-11-20.csv", f"{FOLDER}/deep/2026-11-21.csv"]
    assert old == {path: file_sha256(inbox / path) for path in saved_in(inbox)}
    (remote / "2026-11-20.csv").unlink()
    (remote / "2026-11-22.csv").write_text("text,label\nyo,ham\n")
    assert fetch_feedback(inbox, remote, old) == old
    new = fetch_feedback(inbox, remote, old, update=True)
    assert {**old, f"{FOLDER}/2026-11-22.csv": new[f"{FOLDER}/2026-11-22.csv"]} == new
    assert saved_in(inbox) == list(new)
    (remote / "2026-11-22.csv").write_text("text,label\nyo,spam\n")
    problem = f"{FOLDER}/2026-11-22.csv has changed at its source; {saved.CHANGED_REMEDY}"
    assert error_of(fetch_feedback, inbox, remote, new, update=True) == f"analysts: {problem}"
    assert saved.check_files(inbox, new) == new


def test_missing_file_is_fetched_again(inbox, remote):
    files = fetch_feedback(inbox, remote)
    path = inbox / FOLDER / "2026-11-20.csv"
    path.unlink()
    (remote / "2026-11-22.csv").write_text("text,label\nyo,ham\n")
    assert fetch_feedback(inbox, remote, files) == files
    assert saved_in(inbox) == list(files)
    path.write_text("edited")
    line = f"{path}: changed since it was saved; {saved.RESTORE_REMEDY}"
    assert error_of(fetch_feedback, inbox, remote, files) == line


def test_name_that_leads_out_of_the_folder_is_refused(inbox, bucket):
    bucket.put_object(Key="in/../../x.csv", Body=b"x")
    line = "s3://mlflow/in: '../../x.csv' leads out of the folder; rename it"
    assert error_of(fetch_feedback, inbox, "s3://mlflow/in") == line
    assert saved_in(inbox) == []
