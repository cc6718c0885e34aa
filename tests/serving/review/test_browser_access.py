"""Requests of other web pages are told apart."""

import pytest
from fastapi import Request

from pipeline.serving.review.browser_access import is_foreign


def request(path="/api/queues", **headers):
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "path": path, "headers": pairs, "query_string": b""})


@pytest.mark.parametrize(
    ("headers", "foreign"),
    [
        ({}, False),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, False),
        ({"host": "localhost:1", "origin": "http://localhost:2"}, True),
        ({"host": "localhost:1", "origin": "null"}, True),
        ({"sec_fetch_site": "same-origin"}, False),
        ({"sec_fetch_site": "same-site"}, True),
        ({"sec_fetch_site": "cross-site"}, True),
        ({"sec_fetch_site": "cross-site", "path": "/"}, False),
        ({"sec_fetch_site": "cross-site", "path": "/", "origin": "http://evil.example"}, True),
    ],
)
def test_request_of_another_page_is_foreign(headers, foreign):
    assert is_foreign(request(**headers)) == foreign
