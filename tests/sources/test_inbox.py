"""Extracts and feedback are saved in the inbox as files that never change."""

import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal

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


@pytest.fixture
def extract(inbox):
    """Saves an extract of `tickets`, each a second later."""
    times = (NOON + timedelta(seconds=n) for n in range(99))

    def extract(url, query, pinned=None, update=False):
        declared = saved.SqlDeclaration(url=url, query=query)
        clock = times.__next__
        return saved.save_extract("tickets", declared, inbox, pinned or {}, update, clock)

    return extract


@pytest.fixture
def sqlite(tmp_path):
    """The address of a database with two tickets."""
    path = tmp_path / "tickets.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE tickets (id INTEGER, body, verdict, received_at)")
    add(path, (1, "hello", "ok", "2026-11-01 10:00:00"), (2, "WIN", "junk", None))
    return f"sqlite:///{path}"


def add(path, *rows):
    with sqlite3.connect(str(path).removeprefix("sqlite:///")) as database:
        database.executemany("INSERT INTO tickets VALUES (?, ?, ?, ?)", rows)
    database.close()


def rows(inbox, files):
    tables = [pq.read_table(inbox / path).to_pylist() for path in files]
    return [tuple(row.values()) for table in tables for row in table]


def saved_in(inbox):
    return sorted(path.relative_to(inbox).as_posix() for path in inbox.rglob("*") if path.is_file())


# ---- databases


def test_extract_is_a_parquet_named_by_its_time(inbox, sqlite, extract):
    files = extract(sqlite, ALL)
    assert list(files) == ["tickets/2026-11-20T120000Z.parquet"] == saved_in(inbox)
    assert files == {path: file_sha256(inbox / path) for path in files}
    assert rows(inbox, files) == [
        ("hello", "ok", datetime(2026, 11, 1, 10, tzinfo=UTC)),
        ("WIN", "junk", None),
    ]


def test_full_extract_replaces_the_last_one(inbox, sqlite, extract):
    old = extract(sqlite, ALL)
    assert extract(sqlite, ALL, old, update=True) == old
    assert saved_in(inbox) == list(old)  # equal rows are no news
    add(sqlite, (3, "new", "ok", None))
    new = extract(sqlite, ALL, old, update=True)
    assert [text for text, _, _ in rows(inbox, new)] == ["hello", "WIN", "new"]
    assert saved_in(inbox) == [*old, *new]


def test_incremental_extract_adds_newer_rows(inbox, sqlite, extract):
    first = extract(sqlite, NEWS)
    assert [text for text, _, _ in rows(inbox, first)] == ["hello"]
    assert extract(sqlite, NEWS, first, update=True) == first
    assert saved_in(inbox) == list(first)
    add(sqlite, (3, "new", "ok", "2026-11-02 00:00:00"), (4, "old", "ok", "2026-10-01 00:00:00"))
    second = extract(sqlite, NEWS, first, update=True)
    assert list(second)[: len(first)] == list(first)
    assert [text for text, _, _ in rows(inbox, second)] == ["hello", "new"]


def test_saved_extract_needs_no_database(inbox, sqlite, extract):
    files = extract(sqlite, ALL)
    assert extract("sqlite:////nowhere/x", ALL, files) == files
    [path] = [inbox / path for path in files]
    path.write_bytes(b"other")
    changed = f"{path}: changed since it was saved; {saved.RESTORE_REMEDY}"
    assert error_of(extract, sqlite, ALL, files) == changed
    path.unlink()
    missing = f"{path}: missing; {saved.RESTORE_REMEDY}"
    assert error_of(extract, sqlite, ALL, files) == missing


def test_values_of_any_type_become_text(inbox, monkeypatch, extract):
    monkeypatch.setattr(saved, "EXTRACT_ROWS", 2)
    query = (
        "SELECT NULL AS text, NULL AS label UNION ALL SELECT NULL, 1 UNION ALL SELECT x'ff41', 0 "
        "UNION ALL SELECT 7, 'ok' UNION ALL SELECT 1.5, NULL"
    )
    texts, labels, _ = zip(*rows(inbox, extract("sqlite://", query)), strict=True)
    assert texts == (None, None, "\ufffdA", "7", "1.5")
    assert labels == (None, "1", "0", "ok", None)


NO_URL = "Could not parse SQLAlchemy URL from given URL string"
NO_PLUGIN = "Can't load plugin: sqlalchemy.dialects:dbase"
NO_ONE = "the query returns {}, not one {!r}; name it with AS"
NO_ROWS = "SELECT 1 AS text, 1 AS label WHERE 0"
NO_TIME = "SELECT 1 AS text, 1 AS label, 'noon' AS received_at"
TEXTS = "SELECT 1 AS text, 1 AS text, 1 AS label"


@pytest.mark.parametrize(
    ("url", "query", "problem"),
    [
        ("sqlite:////nowhere/x", ALL, f"unable to open database file; {saved.DATABASE_REMEDY}"),
        ("sqlite://", "SELEKT 1", f'near "SELEKT": syntax error; {saved.DATABASE_REMEDY}'),
        ("sqlite://", ALL, f"no such table: tickets; {saved.DATABASE_REMEDY}"),
        ("sqlite", ALL, f"{NO_URL}; {saved.DATABASE_REMEDY}"),
        ("dbase://x", ALL, f"{NO_PLUGIN}; {saved.DATABASE_REMEDY}"),
        ("mysql://x", ALL, "the database's driver MySQLdb is missing; install it"),
        ("sqlite://", "SELECT 1 AS text", NO_ONE.format("text", "label")),
        ("sqlite://", TEXTS, NO_ONE.format("text, text, label", "text")),
        ("sqlite://", NO_ROWS, "the query returns no rows; correct it"),
        ("sqlite://", NO_TIME, "received_at is not a time; cast it in the query"),
    ],
)
def test_failing_query_is_one_line_and_saves_nothing(inbox, extract, url, query, problem):
    line = error_of(extract, url, query)
    assert line.startswith(f"tickets: {problem}")
    assert "\n" not in line
    assert saved_in(inbox) == []


def test_variable_of_the_address_must_be_set(extract):
    line = "tickets.url: $NOT_SET is not set in the environment; set it"
    assert error_of(extract, "$NOT_SET", ALL) == line


def test_broken_extract_leaves_the_saved_files(inbox, sqlite, monkeypatch, extract):
    monkeypatch.setattr(saved, "EXTRACT_ROWS", 1)
    files = extract(sqlite, ALL)
    add(sqlite, (3, "new", "ok", "no time"))
    error_of(extract, sqlite, ALL, files, update=True)
    assert saved_in(inbox) == list(files)


TICKETS = """
CREATE TABLE tickets AS SELECT n AS id, 'message ' || n AS body, (n % 2)::numeric AS verdict,
timestamptz '2026-11-01 00:00+02' + n * interval '1 hour' AS received_at
FROM generate_series(1, 10) AS n
"""


@pytest.fixture(scope="module")
def postgres():
    if reason := servers.missing():
        pytest.skip(reason)
    with servers.postgres() as database:
        yield database


@pytest.mark.server
def test_postgresql_is_read_with_its_own_types(inbox, postgres, monkeypatch, extract):
    monkeypatch.setattr(saved, "EXTRACT_ROWS", 3)
    address = postgres.address("postgres")
    with sqlalchemy.create_engine(address).begin() as connection:
        connection.execute(sqlalchemy.text(TICKETS))
    files = extract(address, NEWS)
    table = rows(inbox, files)
    assert len(table) == 10
    assert table[0] == ("message 1", str(Decimal(1)), datetime(2026, 10, 31, 23, tzinfo=UTC))
    assert extract(address, NEWS, files, update=True) == files
    with sqlalchemy.create_engine(address).begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO tickets VALUES (11, 'late', 1, now())"))
    more = extract(address, NEWS, files, update=True)
    assert [row[0] for row in rows(inbox, list(more)[1:])] == ["late"]


@pytest.mark.server
def test_wrong_password_is_one_line_without_it(postgres, extract):
    wrong = postgres.address("postgres").replace(postgres.password, "secret")
    line = error_of(extract, wrong, ALL)
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


@pytest.fixture
def fetch_feedback(inbox):
    """Saves the feedback of `analysts`."""

    def fetch_feedback(url, pinned=None, update=False):
        declared = saved.FeedbackDeclaration(url=str(url))
        return saved.save_feedback("analysts", declared, inbox, pinned or {}, update)

    return fetch_feedback


def test_feedback_keeps_its_file_names(inbox, remote, fetch_feedback):
    files = fetch_feedback(remote)
    assert list(files) == [f"{FOLDER}/2026-11-20.csv", f"{FOLDER}/deep/2026-11-21.csv"]
    assert saved_in(inbox) == list(files)
    assert files == {path: file_sha256(inbox / path) for path in files}


def test_only_update_adds_files_and_none_is_removed(inbox, remote, fetch_feedback):
    old = fetch_feedback(remote)
    (remote / "2026-11-20.csv").unlink()
    (remote / "2026-11-22.csv").write_text("text,label\nyo,ham\n")
    assert fetch_feedback(remote, old) == old
    new = fetch_feedback(remote, old, update=True)
    assert {**old, f"{FOLDER}/2026-11-22.csv": new[f"{FOLDER}/2026-11-22.csv"]} == new
    assert saved_in(inbox) == list(new)


def test_file_that_changes_at_its_source_is_refused(inbox, remote, fetch_feedback):
    old = fetch_feedback(remote)
    (remote / "2026-11-20.csv").write_text("text,label\nhi,spam\n")
    line = error_of(fetch_feedback, remote, old, update=True)
    assert (
        line
        == f"analysts: {FOLDER}/2026-11-20.csv has changed at its source; {saved.CHANGED_REMEDY}"
    )
    assert saved.check_files(inbox, old) == old


def test_missing_file_is_fetched_again(inbox, remote, fetch_feedback):
    files = fetch_feedback(remote)
    (inbox / FOLDER / "2026-11-20.csv").unlink()
    (remote / "2026-11-22.csv").write_text("text,label\nyo,ham\n")
    assert fetch_feedback(remote, files) == files
    assert saved_in(inbox) == list(files)
    (inbox / FOLDER / "2026-11-20.csv").write_text("edited")
    line = error_of(fetch_feedback, remote, files)
    assert (
        line
        == f"{inbox / FOLDER}/2026-11-20.csv: changed since it was saved; {saved.RESTORE_REMEDY}"
    )


def test_name_that_leads_out_of_the_folder_is_refused(inbox, bucket, fetch_feedback):
    bucket.put_object(Bucket="spam", Key="in/../../x.csv", Body=b"x")
    line = error_of(fetch_feedback, "s3://spam/in")
    assert line == "s3://spam/in: '../../x.csv' leads out of the folder; rename it"
    assert saved_in(inbox) == []
