"""Each source is pinned and downloaded once; a pin stays until --update finds something new."""

import hashlib
import os
import shutil
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest
import ruamel.yaml
import tenacity

from pipeline.core.hashing import file_sha256
from pipeline.core.params import PARAMS_FILE, read_yaml
from pipeline.sources import download, fetch, kinds
from tests.harness.errors import error_of
from tests.harness.http_server import sends
from tests.harness.small_project import ROOT


@pytest.fixture(autouse=True)
def _project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    Path("data/inbox").mkdir(parents=True)
    fetch.LOCK_FILE.write_text("{}")
    set_sources("mine")


def set_sources(*names):
    ruamel.yaml.YAML().dump({"ingest": {"sources": list(names)}}, PARAMS_FILE)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package that pip can download without a network, and no other."""
    path = tmp_path / "index" / "tiny_data-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tiny_data-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_data/data.csv", "ham\thello\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


DECLARED = {"kind": "package", "package": "tiny-data", "version": "1.0", "member": "x", "read": {}}
PINNED = fetch.Pin(DECLARED | {"version": "2.0"}, "0" * 64, 1, "2.0")


def pinned_download(pin=PINNED):
    return fetch.pinned_download(pin, "mine", Path("downloads"))


# ---- a pinned download


def test_damaged_download_is_refused():
    path = Path("downloads", "0" * 64)
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    problem = f"sha256 is {file_sha256(path)}, data/sources.lock.json pins {'0' * 64}"
    assert error_of(pinned_download) == f"{path}: {problem}; delete it and run again"
    path.unlink()
    path.mkdir()
    assert error_of(pinned_download) == f"{path}: Is a directory; delete it and run again"


@pytest.mark.slow
def test_package_that_pip_does_not_find_is_one_line(package):
    assert error_of(pinned_download) == (
        "tiny-data==2.0: pip could not download it "
        "(No matching distribution found for tiny-data==2.0); check the network and "
        f"`pip config list`, or put the file at downloads/{'0' * 64}"
    )
    assert list(Path("downloads").iterdir()) == []


def test_missing_pip_is_one_line(monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))  # which fails without a word
    assert error_of(pinned_download) == (
        "tiny-data==2.0: pip could not download it (no file was downloaded); check the network "
        f"and `pip config list`, or put the file at downloads/{'0' * 64}"
    )


def test_source_of_the_inbox_is_not_a_download():
    assert error_of(pinned_download, fetch.Pin({"kind": "feedback", "url": "x"}, files={})) == (
        "data/sources.lock.json: mine: not a pinned download; run `python -m pipeline fetch mine`"
    )


# ---- the lock and the declarations


def test_every_pin_is_of_the_present_declaration():
    declared = read_yaml(ROOT / kinds.SOURCES_FILE)
    for name, entry in declared.items():
        kinds.parse_declaration(name, entry, "data/sources.yaml")
    for name, pinned in fetch.read_pins(ROOT / fetch.LOCK_FILE).items():
        assert pinned.declared == declared[name]


def test_invalid_lock_is_refused():
    lock = Path("lock.json")
    not_json = "not JSON: Expecting value: line 1 column 1 (char 0)"
    for content, problem in (("[]", "not an object of pins"), ("", not_json)):
        lock.write_text(content)
        line = f"lock.json: {problem}; restore it with `git checkout lock.json`"
        assert error_of(fetch.read_pins, lock) == line


# ---- the command


def run(*arguments, **declared):
    """Runs fetch. Returns the pins. `declared`: addresses or whole declarations."""
    for name, entry in declared.items():
        declared[name] = {"kind": "url", "url": entry} if isinstance(entry, str) else entry
    if declared:
        ruamel.yaml.YAML().dump(declared, kinds.SOURCES_FILE)
    fetch.main(list(arguments))
    return {name: asdict(pin) for name, pin in fetch.read_pins(fetch.LOCK_FILE).items()}


def kept():
    return sorted(path.name for path in Path(".downloads").iterdir())


def test_source_is_pinned_until_its_declaration_changes(server, caplog):
    caplog.set_level("INFO")
    url = server.on("/a.csv", sends(b"label,text\n", ETag='"1"'))
    pins = run(mine=url)
    digest = hashlib.sha256(b"label,text\n").hexdigest()
    assert pins == {"mine": asdict(fetch.Pin({"kind": "url", "url": url}, digest, 11, '"1"'))}
    assert kept() == [digest]
    assert caplog.messages == [f"mine: new, 11 bytes, sha256 {digest[:16]}…"]
    requests = list(server.requests)
    assert run() == pins
    assert server.requests == requests
    assert caplog.messages[1:] == [f"mine: unchanged, 11 bytes, sha256 {digest[:16]}…"]
    changed = {"kind": "url", "url": url, "read": {"format": "csv"}}
    assert run(mine=changed)["mine"]["declared"] == changed


def test_update_fetches_only_what_is_new(server):
    url = server.on("/a.csv", sends(b"old", ETag='"1"'))
    old = run(mine=url)["mine"]
    assert run("--update")["mine"] == old
    assert server.requests.count("GET /a.csv") == 1  # the ETag was the same
    server.on("/a.csv", sends(b"news", ETag='"2"'))
    assert run()["mine"] == old
    new = run("--update")["mine"]
    assert (new["version"], new["size"]) == ('"2"', 4)
    assert sorted([old["sha256"], new["sha256"]]) == kept()
    server.on("/a.csv", sends(b"news"))  # without an ETag, the bytes are compared
    unversioned = run("--update")["mine"]
    assert run("--update")["mine"] == unversioned
    assert server.requests.count("GET /a.csv") == 4


def test_extract_without_news_is_unchanged(caplog):
    caplog.set_level("INFO", "pipeline.sources.fetch")
    query = "SELECT 'hi' AS text, 'ham' AS label"
    pins = run(mine={"kind": "sql", "url": "sqlite://", "query": query})
    assert run() == run("--update") == pins
    states = [message.partition(",")[0] for message in caplog.messages]
    assert states == ["mine: new", "mine: unchanged", "mine: unchanged"]


def test_failed_fetch_keeps_the_pins_before_it(server, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", tenacity.wait_none())
    set_sources("mine", "yours")
    good = server.on("/a.csv", sends(b"good"))
    bad = server.on("/b.csv", sends(b"ba", Content_Length="4"), head=sends(b"bad!"))
    assert error_of(run, mine=good, yours=bad).startswith(f"{bad}: ")
    assert list(fetch.read_pins(fetch.LOCK_FILE)) == ["mine"]
    assert len(kept()) == 1


def test_missing_bytes_are_fetched_again(server):
    url = server.on("/a.csv", sends(b"old"))
    pinned = run(mine=url)["mine"]["sha256"]
    path = Path(".downloads", pinned)
    path.unlink()
    run()
    assert path.read_bytes() == b"old"
    path.unlink()
    server.on("/a.csv", sends(b"other"))
    assert error_of(run) == (
        f"mine as it is now: sha256 is {hashlib.sha256(b'other').hexdigest()}, "
        f"data/sources.lock.json pins {pinned}; "
        "`python -m pipeline fetch --update mine` accepts it"
    )
    assert kept() == []


def test_password_stays_in_the_environment(server, monkeypatch):
    monkeypatch.setenv("WORD", "secret")
    url = server.on("/a.csv", sends(b"old")).replace("http://", "http://me:$WORD@")
    assert run(mine=url)["mine"]["declared"]["url"] == url
    assert "secret" not in fetch.LOCK_FILE.read_text()


def test_only_ingested_sources_are_fetched():
    Path("remote").mkdir()
    Path("remote/a.csv").write_text("text,label\n")
    feedback = {"kind": "feedback", "url": "remote"}
    declared = {"mine": "remote/a.csv", "preset": "http://nowhere.invalid/a", "analysts": feedback}
    assert list(run(**declared)) == ["mine"]
    set_sources("mine", "feedback")
    assert list(run()) == ["mine", "analysts"]
    assert Path("data/inbox/feedback/analysts/a.csv").exists()
    line = "data/sources.yaml: unknown 'none'; choose from mine, preset, analysts"
    assert error_of(run, "none") == line


def test_package_is_not_fetched_twice(package):
    old = run(mine=DECLARED)["mine"]
    assert (old["version"], old["sha256"]) == ("1.0", file_sha256(package))
    assert run("--update")["mine"] == old


def test_help_names_every_kind_and_every_source():
    sources = read_yaml(ROOT / kinds.SOURCES_FILE)
    assert set(fetch.__doc__.split()) >= {
        *kinds.SOURCE_KINDS,
        *(name.split("/")[0] for name in sources),
    }
