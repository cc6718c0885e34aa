"""One file of a download is opened, whatever it is packed in, within limits on its size."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile

import pytest

from pipeline.sources import archives
from tests.harness.errors import error_of

DATA = b"label,text\nham,hello\n" * 20


def make_zip(*entries, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content) entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return out.getvalue()


def make_tar(*entries, mode="w"):
    """A tar of (name or TarInfo, content) entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def tar_entry(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type = kind
    info.linkname = target
    return info


def zip_entry(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.fixture
def opened(tmp_path):
    """The content of one file of a download."""

    def opened(content, name=None):
        (tmp_path / "download").write_bytes(content)
        member = archives.open_member(tmp_path / "download", name, "lock: mine.member")
        with member as path:
            return path.read_bytes()

    return opened


@pytest.fixture
def refused(tmp_path, opened):
    """The error of one file of a download, without the folder."""

    def refused(content, name=None):
        line = error_of(opened, content, name)
        assert [path.name for path in tmp_path.iterdir()] == ["download"]
        return line.removeprefix(f"{tmp_path}/")

    return refused


# ---- good archives

GOOD = ("data.csv", DATA)
THREE = [("docs/", b""), ("docs/readme", b"read me"), ("docs/data.csv", DATA)]
SINGLE = {
    "plain": DATA,
    "gzip": gzip.compress(DATA),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
    "zip": make_zip(GOOD),
    "tar": make_tar(GOOD),
    "tar.gz": make_tar(GOOD, mode="w:gz"),
    "tar.bz2": make_tar(GOOD, mode="w:bz2"),
    "tar.xz": make_tar(GOOD, mode="w:xz"),
    "zip with a folder": make_zip(("docs/", b""), ("docs/data.csv", DATA)),
}


@pytest.mark.parametrize("content", SINGLE.values(), ids=SINGLE)
def test_the_only_file_needs_no_name(opened, content):
    assert opened(content) == DATA


@pytest.mark.parametrize("content", [make_zip(*THREE), make_tar(*THREE[1:])], ids=["zip", "tar"])
def test_one_of_several_files_is_opened_by_its_name(opened, content):
    assert opened(content, "docs/data.csv") == DATA


def test_temporary_copy_is_removed(tmp_path):
    (tmp_path / "a.zip").write_bytes(make_zip(GOOD))
    with archives.open_member(tmp_path / "a.zip", None, "") as path:
        assert path.exists()
    assert not path.exists()


# ---- hostile archives

SEVEN_Z, RAR, ZSTD = b"7z\xbc\xaf\x27\x1c....", b"Rar!\x1a\x07....", b"(\xb5/\xfd...."


@pytest.mark.parametrize("name", ["../data.csv", "a/../../data.csv", "/data.csv", "C:/data.csv"])
@pytest.mark.parametrize("pack", [make_zip, make_tar])
def test_name_that_leads_out_writes_no_file_there(tmp_path, opened, pack, name):
    content = pack(GOOD, (name, b"hostile"))
    assert opened(content, "data.csv") == DATA
    assert opened(content, name) == b"hostile"
    assert [path.name for path in tmp_path.iterdir()] == ["download"]


SPECIAL = {
    "link in zip": make_zip(GOOD, (zip_entry("it", stat.S_IFLNK | 0o777), "/etc/passwd")),
    "device in zip": make_zip(GOOD, (zip_entry("it", stat.S_IFCHR | 0o666), "")),
    "link in tar": make_tar(GOOD, (tar_entry("it", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "hard link in tar": make_tar(GOOD, (tar_entry("it", tarfile.LNKTYPE, "data.csv"), b"")),
    "device in tar": make_tar(GOOD, (tar_entry("it", tarfile.CHRTYPE), b"")),
    "pipe in tar": make_tar(GOOD, (tar_entry("it", tarfile.FIFOTYPE), b"")),
}


@pytest.mark.parametrize("content", SPECIAL.values(), ids=SPECIAL)
def test_links_and_devices_are_never_opened(opened, refused, content):
    assert opened(content) == DATA
    assert refused(content, "it") == "lock: mine.member: unknown 'it'; choose from data.csv"


@pytest.mark.parametrize(
    ("kind", "inner"),
    [
        ("zip", make_zip(("x", b"x"))),
        ("zip", make_zip()),
        ("gzip", gzip.compress(b"x", mtime=0)),
        ("bz2", bz2.compress(b"x")),
        ("xz", lzma.compress(b"x")),
        ("tar", make_tar(("x", b"x"))),
        ("7z", SEVEN_Z),
        ("rar", RAR),
        ("zstd", ZSTD),
    ],
)
def test_archive_within_an_archive_is_refused(refused, kind, inner):
    line = f"an archive within the archive ({kind}); unpack it at its source"
    for content in (make_zip(("more", inner)), make_tar(("more", inner))):
        assert refused(content) == f"download: 'more': {line}"
    if kind != "tar":
        assert refused(gzip.compress(inner)) == f"download: 'download': {line}"


@pytest.mark.parametrize("pack", [gzip.compress, lambda zeros: make_zip(("download", zeros))])
def test_bomb_is_refused_while_it_unpacks(refused, monkeypatch, pack):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(archives, "COPY_BYTES", 100)
    bomb = pack(b"\0" * 500_000)
    limit = 200 * len(bomb)
    line = f"unpacks to more than {limit:,} bytes; get the data from another place"
    assert refused(bomb) == f"download: 'download': {line}"


def test_small_download_may_unpack_to_much(opened, refused, monkeypatch):
    size = archives.ALWAYS_ALLOWED
    assert len(opened(gzip.compress(b"x" * size))) == size
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", size - 1)
    assert "unpacks to more than 16,777,215 bytes" in refused(gzip.compress(b"x" * size))


# ---- archives that cannot be read


def encrypted():
    content = bytearray(make_zip(GOOD))
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    return bytes(content)


STORED = make_zip(GOOD, compression=zipfile.ZIP_STORED)
BROKEN = {
    "zip": make_zip(GOOD)[:-30],
    "zip with a bad checksum": STORED.replace(b"hello", b"jello", 1),
    "encrypted zip": encrypted(),
    "gzip": gzip.compress(DATA)[:-12],
    "gzip of random bytes": gzip.compress(DATA)[:20] + b"\xff" * 30,
    "bzip2": bz2.compress(DATA)[:-12],
    "xz": lzma.compress(DATA)[:-12],
    "xz of random bytes": lzma.compress(DATA)[:12] + b"\xff" * 30,
    "tar": make_tar(GOOD)[:700],
    "tar with a bad header": make_tar(GOOD)[:140] + b"9" * 20 + make_tar(GOOD)[160:],
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_archive_is_one_line(refused, content):
    line = refused(content, "data.csv")
    assert line.startswith("download: not readable as an archive: ")
    assert line.endswith("; download it again")
    assert "\n" not in line


@pytest.mark.parametrize("content", [SEVEN_Z, RAR, ZSTD])
def test_unsupported_archive_is_refused_with_the_choices(refused, content):
    assert refused(content).endswith(" archive; provide it as zip, tar, gz, bz2 or xz")


@pytest.mark.parametrize(
    ("entries", "name", "problem"),
    [
        (THREE, None, "missing; choose from docs/data.csv, docs/readme"),
        ([("a/", b"")], None, "missing; choose from nothing"),
        (THREE, "data", "unknown 'data'; choose from docs/readme, docs/data.csv"),
    ],
)
def test_one_file_of_several_needs_its_name(refused, entries, name, problem):
    assert refused(make_zip(*entries), name) == f"lock: mine.member: {problem}"


def test_name_that_is_twice_in_an_archive_is_refused(refused):
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = make_zip(("a", b"1"), ("a", b"2"))
    line = "'a' is 2 times in the archive; get the data from another place"
    assert refused(twice, "a") == f"lock: mine.member: {line}"


@pytest.mark.parametrize("content", [DATA, gzip.compress(DATA)], ids=["plain", "gzip"])
def test_name_in_a_plain_file_is_refused(refused, content):
    line = refused(content, "data.csv")
    assert line.startswith("lock: mine.member: 'data.csv', but ")
    assert line.endswith("download is not an archive; remove the name")
