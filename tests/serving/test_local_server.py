"""A server is asked by itself only if it serves what this project's registry has promoted."""

import json
from types import SimpleNamespace

import pytest

from pipeline.registry.package_hash import PACKAGE_TAG
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.local_server import ask_server, serves_our_champion
from tests.harness.errors import error_of
from tests.harness.http_server import sends, server
from tests.harness.ledger_entries import make_champion
from tests.harness.mlflow_store import store_at
from tests.harness.model_server import champion_server
from tests.harness.word_model import WordModel

MODEL_NAME = "spam-detector"


@pytest.fixture
def project(store, tmp_path):
    """A registry with a champion, whose hash is `package`, in the working folder."""
    store.create_registered_model(MODEL_NAME)
    (folder := tmp_path / "model").mkdir()
    (folder / "MLmodel").write_text("a model")
    number = store.create_model_version(MODEL_NAME, folder.as_uri()).version
    make_champion(store, str(number), folder)
    package = store.get_model_version(MODEL_NAME, number).tags[PACKAGE_TAG]
    with store_at("", tmp_path) as patch:
        yield SimpleNamespace(package=package, patch=patch)


def is_ours(package, *, is_warm=True, problem=None):
    """Whether a server of files with this hash is taken for ours."""
    champion = ServedChampion(LoadedVersion(WordModel(), "1", package))
    champion.is_warm = is_warm
    champion.problem = problem
    with champion_server(champion) as address:
        return serves_our_champion(address)


def test_server_of_our_champion_is_ours(project):
    assert is_ours(project.package)


def test_server_of_other_files_under_the_same_number_is_not_ours(project):
    assert not is_ours("0" * 64)
    assert not is_ours(None)


def test_server_that_is_not_ready_or_cannot_follow_is_not_asked(project):
    assert not is_ours(project.package, is_warm=False)
    assert not is_ours(project.package, problem="version 2: its files are missing")


def test_registry_that_is_named_is_not_compared(project):
    project.patch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert not is_ours(project.package)


def test_project_without_registry_has_no_server(tmp_path):
    with store_at("", tmp_path):
        assert not is_ours(None)
        assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b'{"ready": true}', b'{"ready": true, "package": [1]}']
)
def test_other_program_on_the_port_is_not_ours(project, body):
    with server() as other:
        other.on("/ready", sends(body))
        assert not serves_our_champion(f"http://127.0.0.1:{other.http.server_port}")


def test_redirect_is_not_followed(project):
    champion = ServedChampion(LoadedVersion(WordModel(), "1", project.package))
    champion.is_warm = True
    with champion_server(champion) as address, server() as other:
        other.on("/ready", sends(status=302, Location=f"{address}/ready"))
        assert not serves_our_champion(f"http://127.0.0.1:{other.http.server_port}")


def test_port_without_server_is_not_ours(project):
    assert not serves_our_champion("http://127.0.0.1:9")


# ---- answers


@pytest.fixture
def address():
    with champion_server(ServedChampion(LoadedVersion(WordModel(), "3"))) as address:
        yield address


def test_answer_has_reasons_if_they_are_wanted(address):
    plain = ask_server(f"{address}/", "free prize \ud83d", "sms", explain=False)
    assert (plain["label"], plain["model_version"]) == ("spam", "3")
    assert "reasons" not in plain
    explained = ask_server(address, "free prize", None, explain=True)
    assert [word["text"] for word in explained["reasons"]["words"]] == ["free", " prize"]


HINT = "start it with `make serve`, or leave --server out"


def test_missing_server_is_one_line():
    line = error_of(ask_server, "http://127.0.0.1:9", "hi", None, explain=True)
    assert line == f"http://127.0.0.1:9: no server answers; {HINT}"


def test_address_without_scheme_is_one_line():
    line = error_of(ask_server, "localhost", "hi", None, explain=True)
    assert line == f"localhost: MissingSchema, not an answer of `make serve`; {HINT}"


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (401, {"message": "send a token of the server"}, "401: send a token of the server"),
        (200, {"label": "spam"}, "200: not an answer of `make serve`"),
        (200, ["spam"], "200: not an answer of `make serve`"),
    ],
)
def test_answer_of_another_kind_is_one_line(status, body, problem):
    with server() as other:
        other.on("/score", sends(json.dumps(body).encode(), status))
        address = f"http://127.0.0.1:{other.http.server_port}"
        assert error_of(ask_server, address, "hi", None, explain=False) == (
            f"{address}: {problem}; {HINT}"
        )
