"""Files come from any address, patiently, and what went wrong is one line without a password."""

import gzip

import boto3
import pytest
import tenacity

from pipeline.core.errors import PipelineError
from pipeline.sources import download
from tests.harness import http_server, servers
from tests.harness.http_server import redirects, says, sends

CHECK = "check the network, the address and the credentials in the environment"
BODY = b"label,text\nham,hello\n" * 50


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(download, "PAUSE", tenacity.wait_none())


@pytest.fixture
def server():
    with http_server.server() as running:
        yield running


@pytest.fixture(scope="module")
def s3():
    with servers.s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3, monkeypatch):
    """An empty bucket of a real S3 server, as s3fs reaches it through the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3", endpoint_url=s3)
    client.create_bucket(Bucket="spam")
    yield client
    for entry in client.list_objects_v2(Bucket="spam").get("Contents", []):
        client.delete_object(Bucket="spam", Key=entry["Key"])
    client.delete_bucket(Bucket="spam")


def brought(url, tmp_path, name=None):
    to = tmp_path / "brought"
    size = download.download(url, to, name)
    assert to.stat().st_size == size
    return to.read_bytes()


def refusal(call, *arguments):
    with pytest.raises(PipelineError) as refused:
        call(*arguments)
    assert "\n" not in str(refused.value)
    return str(refused.value)


# ---- http


def test_a_file_comes_over_http_byte_by_byte(server, tmp_path):
    packed = gzip.compress(BODY)
    assert brought(server.on("/a.csv", sends(BODY)), tmp_path) == BODY
    assert brought(server.on("/a.csv.gz", sends(packed)), tmp_path) == packed


def test_an_etag_is_a_version_and_a_date_is_one_where_there_is_no_etag(server):
    date = "Tue, 24 Nov 2026 03:00:00 GMT"
    assert (
        download.describe(server.on("/a", sends(BODY, ETag='"7"', Last_Modified=date))).version
        == '"7"'
    )
    assert download.describe(server.on("/b", sends(BODY, Last_Modified=date))).version == date
    assert download.describe(server.on("/c", sends(BODY))).version is None
    assert download.describe(server.on("/c", sends(BODY))).size == len(BODY)


@pytest.mark.parametrize(
    "failure",
    [
        says(500),
        says(503),
        says(429),
        says(408),
        sends(BODY[:9], length=len(BODY)),  # the connection drops, or the length is a lie
        sends(BODY[:9], length=9),  # less than HEAD promised
    ],
    ids=["500", "503", "429", "408", "dropped", "short"],
)
def test_what_may_pass_is_tried_again(server, tmp_path, failure):
    url = server.on("/a", failure, failure, sends(BODY), head=sends(BODY))
    assert brought(url, tmp_path) == BODY
    assert server.asked.count("GET /a") == 3


def test_a_server_that_falls_silent_is_tried_again(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "READ", 0.2)
    assert brought(
        server.on("/a", server.stalls, sends(b"8 bytes."), head=sends(b"8 bytes.")), tmp_path
    )


def test_a_redirect_is_followed_and_a_loop_of_them_is_not(server, tmp_path):
    server.on("/b", sends(BODY))
    assert brought(server.on("/a", redirects("/b")), tmp_path) == BODY
    loop = server.on("/loop", redirects("/loop"))
    assert (
        refusal(download.download, loop, tmp_path / "x")
        == f"{loop}: redirects without end; mend the address"
    )


@pytest.mark.parametrize(
    ("answer", "problem", "tries"),
    [
        (says(404), "no such file; mend the address", 1),
        (says(403), "the server says 403 Forbidden; try again later, or mend the address", 1),
        (
            says(500),
            "the server says 500 Internal Server Error; try again later, or mend the address",
            4,
        ),
        (
            sends(BODY[:9], length=9),
            f"9 bytes came of {len(BODY):,}; {CHECK}",
            4,
        ),
    ],
    ids=["404", "403", "500", "short"],
)
def test_what_does_not_pass_is_one_line(server, tmp_path, answer, problem, tries):
    url = server.on("/a", answer, head=sends(BODY))
    assert refusal(download.download, url, tmp_path / "x") == f"{url}: {problem}"
    assert server.asked.count("GET /a") == tries


def test_a_cut_connection_and_a_silent_server_are_one_line(server, tmp_path, monkeypatch):
    url = server.on("/a", sends(BODY[:9], length=len(BODY)), head=sends(BODY))
    line = refusal(download.download, url, tmp_path / "x")
    assert line.startswith(f"{url}: ")
    assert line.endswith(f"; {CHECK}")
    monkeypatch.setattr(download, "READ", 0.1)
    monkeypatch.setattr(download, "TRIES", 2)
    url = server.on("/b", server.stalls, head=sends(b"8 bytes."))
    assert refusal(download.download, url, tmp_path / "x") == f"{url}: timed out; check the network"


def test_a_server_that_is_not_there_is_one_line(tmp_path):
    url = f"http://127.0.0.1:{servers.free_port()}/a"
    assert refusal(download.describe, url).endswith(f"; {CHECK}")


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ("htp://x/y", "htp://x/y: Protocol not known: htp; mend the address"),
        ("http://", "http://: not an address; mend it"),
        ("memory://a/b", "memory://a/b: no such file; mend the address"),
    ],
)
def test_what_is_no_address_is_one_line(url, line):
    assert refusal(download.describe, url) == line


def test_a_filesystem_that_is_not_installed_says_what_to_install():
    assert refusal(download.describe, "gs://bucket/file").endswith(
        "Please install gcsfs to access Google Storage"
    )


def test_no_error_holds_a_password(tmp_path):
    url = f"http://user:secret@127.0.0.1:{servers.free_port()}/a"
    assert "secret" not in refusal(download.describe, url)


# ---- S3


def test_a_file_comes_from_s3_and_its_etag_is_its_version(bucket, tmp_path):
    bucket.put_object(Bucket="spam", Key="in/a.csv", Body=BODY)
    etag = bucket.head_object(Bucket="spam", Key="in/a.csv")["ETag"]
    assert brought("s3://spam/in/a.csv", tmp_path) == BODY
    assert download.describe("s3://spam/in/a.csv") == download.Remote(
        "spam/in/a.csv", len(BODY), etag
    )


def test_a_folder_of_s3_is_listed_by_the_names_below_it(bucket, tmp_path):
    for name in ("in/2.csv", "in/deep/1.csv", "in/.hidden", "other/3.csv"):
        bucket.put_object(Bucket="spam", Key=name, Body=name.encode())
    assert list(download.listing("s3://spam/in")) == ["2.csv", "deep/1.csv"]
    assert list(download.listing("s3://spam/in/")) == ["2.csv", "deep/1.csv"]
    assert list(download.listing("s3://spam/in/*.csv")) == ["2.csv"]
    found = download.listing("s3://spam/in/**")
    assert brought("s3://spam/in", tmp_path, found["deep/1.csv"].path) == b"in/deep/1.csv"


def test_what_s3_does_not_have_is_one_line(bucket):
    assert (
        refusal(download.describe, "s3://spam/none.csv")
        == "s3://spam/none.csv: no such file; mend the address"
    )
    assert (
        refusal(download.listing, "s3://spam/none")
        == "s3://spam/none: no such folder; mend the address"
    )
    assert download.listing("s3://spam/none/*.csv") == {}


def test_credentials_that_are_missing_are_one_line(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    assert "credentials" in refusal(download.listing, "s3://spam/in").lower()


# ---- local paths and the environment


def test_a_local_path_is_an_address_too(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_bytes(BODY)
    assert brought(str(tmp_path / "in" / "a.csv"), tmp_path) == BODY
    assert list(download.listing(str(tmp_path / "in"))) == ["a.csv"]
    assert list(download.listing(f"file://{tmp_path}/in/*.csv")) == ["a.csv"]
    before = download.describe(str(tmp_path / "in" / "a.csv")).version
    (tmp_path / "in" / "a.csv").write_bytes(BODY * 2)
    assert download.describe(str(tmp_path / "in" / "a.csv")).version != before
    assert refusal(download.download, str(tmp_path / "in"), tmp_path / "x").startswith(
        f"{tmp_path}/in: "
    )


def test_a_file_that_may_not_be_read_is_one_line(monkeypatch):
    def refuse():
        raise PermissionError(13, "Permission denied")

    line = refusal(download.persistently, "/a", refuse)
    assert line == "/a: refused; check the credentials in the environment"


def test_an_address_takes_what_stands_in_the_environment(monkeypatch):
    monkeypatch.setenv("HOST", "db.example.org")
    monkeypatch.setenv("WORD", "a$b")
    assert (
        download.expanded("pg://me:${WORD}@$HOST/x", "tickets.url")
        == "pg://me:a$b@db.example.org/x"
    )
    monkeypatch.delenv("WORD")
    line = refusal(download.expanded, "pg://me:${WORD}@$HOST/x", "tickets.url")
    assert line == "tickets.url: $WORD is not set in the environment; set it"


def test_a_bug_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        download.persistently("/a", lambda: 1 / 0)
