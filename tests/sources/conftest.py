"""Servers that the tests of the sources share."""

import boto3
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
    """An empty bucket of an S3 server, which s3fs reaches through the environment."""
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
