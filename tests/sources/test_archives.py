"""One file of a download is opened, whatever it is packed in, within limits on its size."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import tempfile
import zipfile
from pathlib import Path

import fsspec.compression
import pytest

from pipeline.sources import archives
from tests.harness.errors import error_of

DATA = b"label,text\nham,hello\n" * 20


def make_zip(*entries):
    """A zip of (name or ZipInfo, content) entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return out.getvalue()


def make_tar(*entries, mode="w"):
    """A tar of (name, content) entries; of what is no file, (name, content, type, link target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, content, *special in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            info.type, info.linkname = special or (tarfile.REGTYPE, "")
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def opened(content, name=None):
    """The content of one file of a download, beside which no other file is left."""
    Path("download").write_bytes(content)
    try:
        with archives.open_member(Path("download"), name, "lock: mine.member") as path:
            return path.read_bytes()
    finally:
        assert list(Path().iterdir()) == [Path("download")]


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
}


@pytest.mark.parametrize("content", SINGLE.values(), ids=SINGLE)
def test_the_only_file_needs_no_name(content):
    assert opened(content) == DATA


def test_one_of_several_files_is_opened_by_its_name():
    for content in (make_zip(*THREE), make_tar(*THREE[1:])):
        assert opened(content, "docs/data.csv") == DATA


# ---- hostile archives

LINK = zipfile.ZipInfo("it")
LINK.external_attr = (stat.S_IFLNK | 0o777) << 16


@pytest.mark.parametrize("name", ["../data.csv", "/data.csv"])
@pytest.mark.parametrize("pack", [make_zip, make_tar])
def test_name_that_leads_out_writes_no_file_there(pack, name):
    content = pack(GOOD, (name, b"hostile"))
    assert opened(content, "data.csv") == DATA
    assert opened(content, name) == b"hostile"


SPECIAL = {
    "link in zip": make_zip(GOOD, (LINK, "/etc/passwd")),
    "link in tar": make_tar(GOOD, ("it", b"", tarfile.SYMTYPE, "/etc/passwd")),
    "hard link in tar": make_tar(GOOD, ("it", b"", tarfile.LNKTYPE, "data.csv")),
    "device in tar": make_tar(GOOD, ("it", b"", tarfile.CHRTYPE, "")),
}


@pytest.mark.parametrize("content", SPECIAL.values(), ids=SPECIAL)
def test_links_and_devices_are_never_opened(content):
    assert opened(content) == DATA
    line = "lock: mine.member: unknown 'it'; choose from data.csv"
    assert error_of(opened, content, "it") == line


INNER = [
    ("zip", make_zip(("x", b"x"))),
    ("zip", make_zip()),
    ("gzip", gzip.compress(b"x")),
    ("bz2", bz2.compress(b"x")),
    ("xz", lzma.compress(b"x")),
    ("tar", make_tar(("x", b"x"))),
    ("7z", b"7z\xbc\xaf\x27\x1c...."),
    ("rar", b"Rar!\x1a\x07...."),
    ("zstd", b"(\xb5/\xfd...."),
]


@pytest.mark.parametrize(("kind", "inner"), INNER, ids=[kind for kind, _ in INNER])
def test_archive_within_an_archive_is_refused(kind, inner):
    line = f"an archive within the archive ({kind}); unpack it at its source"
    assert error_of(opened, make_zip(("download", inner))) == f"download: 'download': {line}"
    if kind != "tar":  # a compressed tar is one archive
        assert error_of(opened, gzip.compress(inner)) == f"download: 'download': {line}"


@pytest.mark.parametrize("pack", [gzip.compress, lambda zeros: make_zip(("download", zeros))])
def test_bomb_is_refused_while_it_unpacks(monkeypatch, pack):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 1000)
    monkeypatch.setattr(archives, "COPY_BYTES", 100)
    bomb = pack(b"\0" * 500_000)
    problem = f"unpacks to more than {200 * len(bomb):,} bytes; get the data from another place"
    assert error_of(opened, bomb) == f"download: 'download': {problem}"


def test_small_download_may_unpack_to_much(monkeypatch):
    size = archives.ALWAYS_ALLOWED
    assert len(opened(gzip.compress(b"x" * size))) == size
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", size - 1)
    line = error_of(opened, gzip.compress(b"x" * size))
    assert "unpacks to more than 16,777,215 bytes" in line


# ---- archives that cannot be read


CHAIN = [(f"{n}", b"name", tarfile.GNUTYPE_LONGNAME, "") for n in range(3000)]
WHOLE = {  # with what Python lacks; the bytes are a flag and the method in a zip's directory
    "encrypted zip": (make_zip(GOOD).replace(b"\x14\3\x14\0\0", b"\x14\3\x14\0\1"), "File "),
    "Deflate64": (
        make_zip(GOOD).replace(b"\x14\0\0\0\x08", b"\x14\0\0\0\x09"),
        "That compression method is not supported",
    ),
    "chained headers": (make_tar(*CHAIN), "maximum recursion depth exceeded"),
}
BROKEN = {  # one of each exception that the readers raise
    "zip": make_zip(GOOD)[:-30],
    "gzip": gzip.compress(DATA)[:-12],
    "gzip of random bytes": gzip.compress(DATA)[:20] + b"\xff" * 30,
    "xz of random bytes": lzma.compress(DATA)[:12] + b"\xff" * 30,
    "tar": make_tar(GOOD)[:700],
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_broken_archive_is_one_line(content):
    line = error_of(opened, content, "data.csv")
    assert line.startswith("download: not readable as an archive: ")
    assert line.endswith("; download it again")
    assert "\n" not in line


@pytest.mark.parametrize(("content", "problem"), WHOLE.values(), ids=WHOLE)
def test_archive_that_cannot_be_unpacked_here_is_packed_again(content, problem):
    line = error_of(opened, content, "data.csv")
    assert line.startswith(f"download: not readable as an archive: {problem}")
    assert line.endswith(f"; {archives.PACK_AGAIN}")


def test_xz_without_memory_for_it_is_packed_again(monkeypatch):
    def refuse(*arguments, **options):
        raise MemoryError

    monkeypatch.setitem(fsspec.compression.compr, "xz", refuse)
    line = f"download: not readable as an archive: MemoryError; {archives.PACK_AGAIN}"
    assert error_of(opened, SINGLE["xz"]) == line


@pytest.mark.parametrize(("kind", "content"), INNER[-3:])
def test_unsupported_archive_is_refused_with_the_choices(kind, content):
    line = f"download: a {kind} archive; provide it as zip, tar, gz, bz2 or xz"
    assert error_of(opened, content) == line


@pytest.mark.parametrize(
    ("entries", "name", "problem"),
    [
        (THREE, None, "missing; choose from docs/data.csv, docs/readme"),
        ([("a/", b"")], None, "missing; choose from nothing"),
        (THREE, "data", "unknown 'data'; choose from docs/readme, docs/data.csv"),
    ],
)
def test_one_file_of_several_needs_its_name(entries, name, problem):
    assert error_of(opened, make_zip(*entries), name) == f"lock: mine.member: {problem}"


def test_name_that_is_twice_in_an_archive_is_refused():
    line = "lock: mine.member: 'a' is 2 times in the archive; get the data from another place"
    assert error_of(opened, make_tar(("a", b"1"), ("a", b"2")), "a") == line


def test_name_in_a_plain_file_is_refused():
    for content in (DATA, gzip.compress(DATA)):
        line = "lock: mine.member: 'data.csv', but download is not an archive; remove the name"
        assert error_of(opened, content, "data.csv") == line


# ---- several files


def folders(content, pattern="mails/*/*.eml"):
    """The contents of the matching files by their folder; no other file is left."""
    Path("download").write_bytes(content)
    try:
        opened = archives.open_folders(Path("download"), pattern, "lock: mine.members")
        with opened as found:
            return {
                name: [file.read_bytes() for file in sorted(folder.iterdir())]
                for name, folder in found.items()
            }
    finally:
        assert list(Path().iterdir()) == [Path("download")]


MAILS = [("mails/b/2.eml", b"2"), ("mails/a/../../1.eml", b"up"), ("mails/b/1.eml", b"1")]


@pytest.mark.parametrize("content", [make_zip(*MAILS), make_tar(*MAILS, mode="w:gz")])
def test_matching_files_are_read_by_folder_under_fixed_names(content):
    assert folders(content) == {"mails/a/../..": [b"up"], "mails/b": [b"1", b"2"]}
    assert folders(content, "*/b/1*") == {"mails/b": [b"1"]}


def test_files_together_keep_the_limit(monkeypatch):
    monkeypatch.setattr(archives, "ALWAYS_ALLOWED", 10)
    monkeypatch.setattr(archives, "MAX_RATIO", 0)
    mails = make_zip(*((f"mails/a/{n}.eml", b"1234") for n in range(3)))
    line = "download: 'mails/a/2.eml': unpacks to more than 2 bytes; get the data from another"
    assert error_of(folders, mails).startswith(line)


def test_pattern_that_matches_nothing_is_refused():
    line = "lock: mine.members: no file matches 'x/*' in download; correct it"
    assert error_of(folders, make_zip(*MAILS), "x/*") == line
    line = "lock: mine.members: download is not an archive; remove it"
    assert error_of(folders, DATA) == line
