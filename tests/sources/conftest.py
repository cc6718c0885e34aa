"""Servers that the tests of the sources share."""

import pytest

from pipeline.sources.imap import ImapDeclaration
from tests.harness import http_server, servers
from tests.harness.dovecot import PASSWORD, USER, dovecot


@pytest.fixture
def server():
    """An HTTP server whose answers a test sets."""
    with http_server.server() as running:
        yield running


@pytest.fixture(scope="package")
def s3():
    with servers.s3() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(s3, monkeypatch):
    """The empty bucket `mlflow` of an S3 server, which s3fs reaches through the environment."""
    region = {"AWS_ENDPOINT_URL": s3, "AWS_DEFAULT_REGION": servers.REGION}
    for name, value in (servers.AWS_KEYS | region).items():
        monkeypatch.setenv(name, value)
    bucket = servers.bucket(s3)
    yield bucket
    bucket.objects.delete()


@pytest.fixture(scope="session")
def _dovecot():
    with dovecot() as server:
        yield server


@pytest.fixture
def mail_server(_dovecot):
    """A mailbox that has no folder but INBOX."""
    _dovecot.empty()
    return _dovecot


@pytest.fixture
def declare(mail_server, monkeypatch):
    """Makes a declaration of that mailbox from its folders."""
    monkeypatch.setenv("MAIL_PASSWORD", PASSWORD)

    def declaration(folders):
        return ImapDeclaration(
            host="127.0.0.1",
            port=mail_server.port,
            user=USER,
            password="$MAIL_PASSWORD",
            folders=folders,
            ca_file=str(mail_server.ca_file),
        )

    return declaration
