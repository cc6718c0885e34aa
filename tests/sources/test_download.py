"""Files come from any address, with retries; errors are one line without a password."""

import gzip
from fnmatch import fnmatch

import pytest
import tenacity

from pipeline.sources import download
from tests.harness import servers
from tests.harness.errors import error_of
from tests.harness.http_server import sends, stalls

CHECK = "check the network, the address and the credentials in the environment"
BODY = b"label,text\nham,hello\n" * 50


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", tenacity.wait_none())


def fetched(url, tmp_path, name=None):
    to = tmp_path / "fetched"
    size = download.download(url, to, name)
    assert to.stat().st_size == size
    return to.read_bytes()


# ---- http


def test_http_download_has_the_bytes_of_the_file(server, tmp_path):
    packed = gzip.compress(BODY)
    assert fetched(server.on("/a.csv", sends(BODY)), tmp_path) == BODY
    assert fetched(server.on("/a.csv.gz", sends(packed)), tmp_path) == packed


def test_version_is_the_etag_or_else_the_date(server):
    date = "Tue, 24 Nov 2026 03:00:00 GMT"
    for headers, version in (
        ({"ETag": '"7"', "Last_Modified": date}, '"7"'),
        ({"Last_Modified": date}, date),
        ({}, None),
    ):
        remote = download.remote_file(server.on("/a", sends(BODY, **headers)))
        assert (remote.version, remote.size) == (version, len(BODY))


@pytest.mark.parametrize("status", [408, 429, 500])
def test_passing_error_is_tried_again(server, tmp_path, status):
    failure = sends(status=status)
    url = server.on("/a", failure, failure, sends(BODY), head=sends(BODY))
    assert fetched(url, tmp_path) == BODY
    assert server.requests.count("GET /a") == 3


def test_stalled_download_is_tried_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    url = server.on("/a", stalls, sends(b"8 bytes."))
    assert fetched(url, tmp_path) == b"8 bytes."
    url = server.on("/b", stalls, head=sends(b"8 bytes."))
    line = f"{url}: timed out; check the network"
    assert error_of(download.download, url, tmp_path / "x") == line


def test_redirect_is_followed_and_a_loop_is_refused(server, tmp_path):
    server.on("/b", sends(BODY))
    assert fetched(server.on("/a", sends(status=302, Location="/b")), tmp_path) == BODY
    loop = server.on("/loop", sends(status=302, Location="/loop"))
    line = f"{loop}: too many redirects; correct the address"
    assert error_of(download.download, loop, tmp_path / "x") == line


AGAIN = "try again later, or correct the address"


@pytest.mark.parametrize(
    ("answer", "problem", "tries"),
    [
        (sends(status=404), "no such file; correct the address", 1),
        (sends(status=403), f"the server answers 403 Forbidden; {AGAIN}", 1),
        (sends(status=500), f"the server answers 500 Internal Server Error; {AGAIN}", 4),
        (sends(BODY[:9], Content_Length=str(len(BODY))), f"*; {CHECK}", 4),  # the connection drops
        (sends(BODY[:9]), f"received 9 bytes of {len(BODY):,}; {CHECK}", 4),
    ],
    ids=["404", "403", "500", "dropped", "short"],
)
def test_lasting_error_is_one_line(server, tmp_path, answer, problem, tries):
    url = server.on("/a", answer, head=sends(BODY))
    assert fnmatch(error_of(download.download, url, tmp_path / "x"), f"{url}: {problem}")
    assert server.requests.count("GET /a") == tries


def test_missing_server_is_one_line_without_the_password():
    line = error_of(download.remote_file, f"http://user:secret@127.0.0.1:{servers.free_port()}/a")
    assert line.endswith(f"; {CHECK}")
    assert "\n" not in line
    assert "secret" not in line


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("htp://x?token=a b", "htp://x?token=***: Protocol not known: htp; correct the address"),
        ("htp://x/y", "htp://x/y: Protocol not known: htp; correct the address"),
        ("http://", "http://: not a valid address; correct it"),
        ("gs://a/b", "gs://a/b: Please install gcsfs to access Google Storage"),
    ],
)
def test_invalid_address_is_one_line(url, line):
    assert error_of(download.remote_file, url) == line


# ---- S3


@pytest.mark.slow
def test_s3_files_are_listed_by_their_names_in_the_folder(bucket, tmp_path):
    for name in ("in/2.csv", "in/deep/1.csv", "in/.hidden", "in/.git/config", "other/3.csv"):
        bucket.put_object(Key=name, Body=name.encode())
    for folder in ("in", "in/", "in/**"):
        files = download.list_files(f"s3://mlflow/{folder}")
        assert list(files) == ["2.csv", "deep/1.csv"]
    assert list(download.list_files("s3://mlflow/in/*.csv")) == ["2.csv"]
    assert fetched("s3://mlflow/in", tmp_path, files["deep/1.csv"].path) == b"in/deep/1.csv"
    remote = download.RemoteFile("mlflow/in/2.csv", 8, bucket.Object("in/2.csv").e_tag)
    assert download.remote_file("s3://mlflow/in/2.csv") == files["2.csv"] == remote
    assert fetched("s3://mlflow/in/2.csv", tmp_path) == b"in/2.csv"


def test_missing_s3_object_is_one_line(bucket):
    line = "s3://mlflow/none.csv: no such file; correct the address"
    assert error_of(download.remote_file, "s3://mlflow/none.csv") == line
    line = "s3://mlflow/none: no such folder; correct the address"
    assert error_of(download.list_files, "s3://mlflow/none") == line
    assert download.list_files("s3://mlflow/none/*.csv") == {}


def test_missing_credentials_are_one_line(bucket, monkeypatch):
    for name in servers.AWS_KEYS:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert "credentials" in error_of(download.list_files, "s3://mlflow/in").lower()


# ---- local paths and the environment


def test_local_path_is_an_address(tmp_path):
    path = tmp_path / "in" / "a.csv"
    path.parent.mkdir()
    path.write_bytes(BODY)
    assert fetched(str(path), tmp_path) == BODY
    for folder in (path.parent, f"file://{path.parent}/*.csv"):
        assert list(download.list_files(str(folder))) == ["a.csv"]
    before = download.remote_file(str(path)).version
    path.write_bytes(BODY * 2)
    assert download.remote_file(str(path)).version != before
    line = f"{path.parent}: a folder; name a file in it"
    assert error_of(download.download, str(path.parent), tmp_path / "x") == line


def test_forbidden_file_is_one_line():
    def refuse():
        raise PermissionError(13, "Permission denied")

    line = error_of(download.with_retries, "/a", refuse)
    assert line == "/a: access denied; check the credentials in the environment"


def test_variables_come_from_the_environment(monkeypatch):
    url = "pg://me:${WORD}@$HOST/x"
    monkeypatch.setenv("HOST", "db.example.org")
    monkeypatch.setenv("WORD", "a$b")
    assert download.expand_variables(url, "tickets.url") == "pg://me:a$b@db.example.org/x"
    monkeypatch.delenv("WORD")
    line = error_of(download.expand_variables, url, "tickets.url")
    assert line == "tickets.url: $WORD is not set in the environment; set it"


def test_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        download.with_retries("/a", lambda: 1 / 0)
