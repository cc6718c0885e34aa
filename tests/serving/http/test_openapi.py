"""The server's description of itself is true, and its page loads nothing from elsewhere."""

import json
import re

import jsonschema
import pytest
from fastapi.openapi.models import OpenAPI

from pipeline.registry import subprocesses
from pipeline.serving.http import openapi
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.feedback_store import FeedbackStore
from pipeline.sources.readers import ColumnNames
from tests.harness.model_server import champion_server
from tests.serving import test_batch

POSTS = {path: methods["post"] for path, methods in openapi.ENDPOINTS.items() if "post" in methods}
EXAMPLES = [
    pytest.param(path, media_type, example["value"], id=f"{path} {name}")
    for path, operation in POSTS.items()
    for media_type, content in operation["requestBody"]["content"].items()
    for name, example in content["examples"].items()
]


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    champion = ServedChampion(LoadedVersion(test_batch.Model(), "3"))
    store = FeedbackStore(ColumnNames(), tmp_path_factory.mktemp("feedback"))
    with champion_server(champion, feedback=store) as address:
        yield address


@pytest.fixture
def session():
    with subprocesses.local_session() as session:
        yield session


def check(value, schema):
    """Raises an error if a value is not as a schema of the document says."""
    whole = {**schema, "components": openapi.DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(value)


def test_document_is_openapi(address, session):
    document = session.get(f"{address}/openapi.json", timeout=60).json()
    assert document == openapi.DOCUMENT
    assert set(OpenAPI.model_validate(document).paths) == set(openapi.ENDPOINTS)


@pytest.mark.parametrize(("path", "media_type", "value"), EXAMPLES)
def test_example_is_answered_as_described(path, media_type, value, address, session):
    operation = POSTS[path]
    body = value if isinstance(value, str) else json.dumps(value)
    if media_type == "application/json":
        check(value, operation["requestBody"]["content"][media_type]["schema"])
    headers = {"Content-Type": media_type}
    response = session.post(f"{address}{path}", data=body, headers=headers, timeout=60)
    assert response.status_code == 200
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    check(response.json(), schema)


@pytest.mark.parametrize("path", POSTS)
def test_example_answers_are_as_described(path):
    for response in POSTS[path]["responses"].values():
        content = response["content"]["application/json"]
        for example in content["examples"].values():
            check(example["value"], content["schema"])


@pytest.mark.parametrize(
    ("path", "options", "status"),
    [
        ("/score", {"json": {}}, "400"),
        ("/score", {"data": iter([b"{}"]), "headers": {"Content-Type": "application/json"}}, "411"),
        ("/score", {"json": [{"text": "a"}] * 2001}, "413"),
        ("/score", {"data": "text\na\n", "headers": {"Content-Type": "text/csv"}}, "415"),
    ],
)
def test_error_is_as_its_example(path, options, status, address, session):
    response = session.post(f"{address}{path}", timeout=60, **options)
    assert str(response.status_code) == status
    (example,) = POSTS[path]["responses"][status]["content"]["application/json"][
        "examples"
    ].values()
    assert response.json() == example["value"]


def test_paths_are_all_that_the_server_answers(address, session):
    for path, methods in openapi.ENDPOINTS.items():
        for method in methods:
            response = session.request(method, f"{address}{path}", timeout=60)
            assert response.status_code not in (404, 405)


def test_page_loads_nothing_from_elsewhere(address, session):
    response = session.get(f"{address}/docs", timeout=60)
    assert response.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert re.findall(r"https?://|//|<script|<link|<img|@import|url\(|src=", response.text) == []
    assert re.findall(r'href="([^"]*)"', response.text) == ["openapi.json"]
    for path in openapi.ENDPOINTS:
        assert f" {path}</h2>" in response.text
    assert "&#34;WIN a prize now! Text CLAIM to 87121&#34;" in response.text
