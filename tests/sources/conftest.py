"""Servers that the tests of the sources share."""

import pytest

from tests.harness import http_server, servers


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
