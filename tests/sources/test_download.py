"""Files come from any address, with retries; errors are one line without a password."""

import gzip

import pytest
import tenacity

from pipeline.core.errors import PipelineError
from pipeline.sources import download
from tests.harness import servers
from tests.harness.http_server import redirects, sends, sends_status

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


def refusal(call, *arguments):
    with pytest.raises(PipelineError) as refused:
        call(*arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ---- http


def test_http_download_has_the_bytes_of_the_file(server, tmp_path):
    packed = gzip.compress(BODY)
    assert fetched(server.on("/a.csv", sends(BODY)), tmp_path) == BODY
    assert fetched(server.on("/a.csv.gz", sends(packed)), tmp_path) == packed


def test_version_is_the_etag_or_else_the_date(server):
    date = "Tue, 24 Nov 2026 03:00:00 GMT"
    assert (
        download.remote_file(server.on("/a", sends(BODY, ETag='"7"', Last_Modified=date))).version
        == '"7"'
    )
    assert download.remote_file(server.on("/b", sends(BODY, Last_Modified=date))).version == date
    assert download.remote_file(server.on("/c", sends(BODY))).version is None
    assert download.remote_file(server.on("/c", sends(BODY))).size == len(BODY)


@pytest.mark.parametrize(
    "failure",
    [
        sends_status(500),
        sends_status(503),
        sends_status(429),
        sends_status(408),
        sends(BODY[:9], length=len(BODY)),  # the connection drops, or the length is a lie
        sends(BODY[:9], length=9),  # less than HEAD promised
    ],
    ids=["500", "503", "429", "408", "dropped", "short"],
)
def test_passing_error_is_tried_again(server, tmp_path, failure):
    url = server.on("/a", failure, failure, sends(BODY), head=sends(BODY))
    assert fetched(url, tmp_path) == BODY
    assert server.requests.count("GET /a") == 3


def test_stalled_download_is_tried_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.2)
    assert fetched(
        server.on("/a", server.stalls, sends(b"8 bytes."), head=sends(b"8 bytes.")), tmp_path
    )


def test_redirect_is_followed_and_a_loop_is_refused(server, tmp_path):
    server.on("/b", sends(BODY))
    assert fetched(server.on("/a", redirects("/b")), tmp_path) == BODY
    loop = server.on("/loop", redirects("/loop"))
    assert (
        refusal(download.download, loop, tmp_path / "x")
        == f"{loop}: too many redirects; correct the address"
    )


@pytest.mark.parametrize(
    ("answer", "problem", "tries"),
    [
        (sends_status(404), "no such file; correct the address", 1),
        (
            sends_status(403),
            "the server answers 403 Forbidden; try again later, or correct the address",
            1,
        ),
        (
            sends_status(500),
            "the server answers 500 Internal Server Error; try again later, or correct the address",
            4,
        ),
        (
            sends(BODY[:9], length=9),
            f"received 9 bytes of {len(BODY):,}; {CHECK}",
            4,
        ),
    ],
    ids=["404", "403", "500", "short"],
)
def test_lasting_error_is_one_line(server, tmp_path, answer, problem, tries):
    url = server.on("/a", answer, head=sends(BODY))
    assert refusal(download.download, url, tmp_path / "x") == f"{url}: {problem}"
    assert server.requests.count("GET /a") == tries


def test_cut_and_stalled_downloads_are_one_line(server, tmp_path, monkeypatch):
    url = server.on("/a", sends(BODY[:9], length=len(BODY)), head=sends(BODY))
    line = refusal(download.download, url, tmp_path / "x")
    assert line.startswith(f"{url}: ")
    assert line.endswith(f"; {CHECK}")
    monkeypatch.setattr(download, "READ_TIMEOUT", 0.1)
    monkeypatch.setattr(download, "ATTEMPTS", 2)
    url = server.on("/b", server.stalls, head=sends(b"8 bytes."))
    assert refusal(download.download, url, tmp_path / "x") == f"{url}: timed out; check the network"


def test_missing_server_is_one_line(tmp_path):
    url = f"http://127.0.0.1:{servers.free_port()}/a"
    assert refusal(download.remote_file, url).endswith(f"; {CHECK}")


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("htp://x/y", "htp://x/y: Protocol not known: htp; correct the address"),
        ("http://", "http://: not a valid address; correct it"),
        ("memory://a/b", "memory://a/b: no such file; correct the address"),
    ],
)
def test_invalid_address_is_one_line(url, line):
    assert refusal(download.remote_file, url) == line


def test_missing_file_system_says_what_to_install():
    assert refusal(download.remote_file, "gs://bucket/file").endswith(
        "Please install gcsfs to access Google Storage"
    )


def test_error_has_no_password(tmp_path):
    url = f"http://user:secret@127.0.0.1:{servers.free_port()}/a"
    assert "secret" not in refusal(download.remote_file, url)


# ---- S3


def test_s3_download_has_its_etag_as_version(bucket, tmp_path):
    bucket.put_object(Bucket="spam", Key="in/a.csv", Body=BODY)
    etag = bucket.head_object(Bucket="spam", Key="in/a.csv")["ETag"]
    assert fetched("s3://spam/in/a.csv", tmp_path) == BODY
    assert download.remote_file("s3://spam/in/a.csv") == download.RemoteFile(
        "spam/in/a.csv", len(BODY), etag
    )


def test_s3_folder_is_listed_by_names_below_it(bucket, tmp_path):
    for name in ("in/2.csv", "in/deep/1.csv", "in/.hidden", "other/3.csv"):
        bucket.put_object(Bucket="spam", Key=name, Body=name.encode())
    assert list(download.list_files("s3://spam/in")) == ["2.csv", "deep/1.csv"]
    assert list(download.list_files("s3://spam/in/")) == ["2.csv", "deep/1.csv"]
    assert list(download.list_files("s3://spam/in/*.csv")) == ["2.csv"]
    listed = download.list_files("s3://spam/in/**")
    assert fetched("s3://spam/in", tmp_path, listed["deep/1.csv"].path) == b"in/deep/1.csv"


def test_missing_s3_object_is_one_line(bucket):
    assert (
        refusal(download.remote_file, "s3://spam/none.csv")
        == "s3://spam/none.csv: no such file; correct the address"
    )
    assert (
        refusal(download.list_files, "s3://spam/none")
        == "s3://spam/none: no such folder; correct the address"
    )
    assert download.list_files("s3://spam/none/*.csv") == {}


def test_missing_credentials_are_one_line(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert "credentials" in refusal(download.list_files, "s3://spam/in").lower()


# ---- local paths and the environment


def test_local_path_is_an_address(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(BODY)
    assert fetched(str(tmp_path / "in" / "a.csv"), tmp_path) == BODY
    assert list(download.list_files(str(tmp_path / "in"))) == ["a.csv"]
    assert list(download.list_files(f"file://{tmp_path}/in/*.csv")) == ["a.csv"]
    before = download.remote_file(str(tmp_path / "in" / "a.csv")).version
    (tmp_path / "in" / "a.csv").write_bytes(BODY * 2)
    assert download.remote_file(str(tmp_path / "in" / "a.csv")).version != before
    assert refusal(download.download, str(tmp_path / "in"), tmp_path / "x").startswith(
        f"{tmp_path}/in: "
    )


def test_forbidden_file_is_one_line(monkeypatch):
    def refuse():
        raise PermissionError(13, "Permission denied")

    line = refusal(download.with_retries, "/a", refuse)
    assert line == "/a: access denied; check the credentials in the environment"


def test_variables_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("HOST", "db.example.org")
    monkeypatch.setenv("WORD", "a$b")
    assert (
        download.expand_variables("pg://me:${WORD}@$HOST/x", "tickets.url")
        == "pg://me:a$b@db.example.org/x"
    )
    monkeypatch.delenv("WORD")
    line = refusal(download.expand_variables, "pg://me:${WORD}@$HOST/x", "tickets.url")
    assert line == "tickets.url: $WORD is not set in the environment; set it"


def test_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        download.with_retries("/a", lambda: 1 / 0)
