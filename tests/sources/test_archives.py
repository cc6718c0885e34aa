"""One file of a download is opened, whatever it is packed in, and hostile archives are refused by name."""

import bz2
import gzip
import io
import lzma
import stat
import tarfile
import zipfile

import pytest

from pipeline.core.errors import PipelineError
from pipeline.sources import archives

DATA = b"label,text\nham,hello\n" * 20
GOOD = ("data.csv", DATA)
REFUSED = "; the archive is refused: get it from elsewhere"


def zipped(*entries, compression=zipfile.ZIP_DEFLATED):
    """A zip of (name or ZipInfo, content) entries."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as file:
        for name, content in entries:
            file.writestr(name, content)
    return out.getvalue()


def tarred(*entries, mode="w"):
    """A tar of (name or TarInfo, content) entries."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as file:
        for name, content in entries:
            info = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return out.getvalue()


def special(name, kind, **attributes):
    """An entry of tar that is no file."""
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def with_mode(name, mode):
    info = zipfile.ZipInfo(name)
    info.external_attr = mode << 16
    return info


@pytest.fixture
def opened(tmp_path):
    """The content of one file of a download."""

    def opened(content, name=None):
        (tmp_path / "download").write_bytes(content)
        with archives.member(tmp_path / "download", name, "lock: mine.member") as path:
            return path.read_bytes()

    return opened


@pytest.fixture
def refusal(tmp_path, opened):
    def refusal(content, name=None):
        with pytest.raises(PipelineError) as refused:
            opened(content, name)
        assert [path.name for path in tmp_path.iterdir()] == ["download"]
        return str(refused.value).removeprefix(f"{tmp_path}/")

    return refusal


# ---- honest files

TWO = [("docs/", b""), ("docs/readme", b"read me"), ("docs/data.csv", DATA)]
HONEST = {
    "plain": DATA,
    "gzip": gzip.compress(DATA),
    "bzip2": bz2.compress(DATA),
    "xz": lzma.compress(DATA),
    "zip of one": zipped(("data.csv", DATA)),
    "tar of one": tarred(("data.csv", DATA)),
    "tar.gz of one": tarred(("data.csv", DATA), mode="w:gz"),
    "tar.bz2 of one": tarred(("data.csv", DATA), mode="w:bz2"),
    "tar.xz of one": tarred(("data.csv", DATA), mode="w:xz"),
    "zip with a folder": zipped(("docs/", b""), ("docs/data.csv", DATA)),
}


@pytest.mark.parametrize("content", HONEST.values(), ids=HONEST)
def test_the_only_file_needs_no_name(opened, content):
    assert opened(content) == DATA


@pytest.mark.parametrize("content", [zipped(*TWO), tarred(*TWO[1:]), tarred(*TWO[1:], mode="w:gz")])
def test_one_of_several_files_is_opened_by_its_name(opened, content):
    assert opened(content, "docs/data.csv") == DATA


def test_nothing_is_left_of_what_was_unpacked(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(("data.csv", DATA)))
    with archives.member(tmp_path / "a.zip", None, "") as path:
        assert path.exists()
    assert not path.exists()


def test_a_small_file_may_unpack_to_much_and_a_large_one_to_more(opened):
    assert len(opened(gzip.compress(b"x" * archives.FLOOR))) == archives.FLOOR


# ---- what is refused

PATHS = ["../data.csv", "a/../../data.csv", "/data.csv", "C:/data.csv", "a\\data.csv", "//x/y"]


@pytest.mark.parametrize(
    "name", ["../data.csv", "a/../../data.csv", "/data.csv", "C:/data.csv", "a\\data.csv", "//x/y"]
)
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_a_path_that_leads_out_is_refused_by_its_name(refusal, pack, name):
    if pack is tarred or "\\" not in name:
        line = refusal(pack(("data.csv", DATA), (name, b"")), "data.csv")
        assert line == f"download: {name!r}: leads out of the archive{REFUSED}"


LINKS = {
    "symbolic link in zip": zipped(
        ("data.csv", DATA), (with_mode("link", stat.S_IFLNK | 0o777), "/etc/passwd")
    ),
    "symbolic link in tar": tarred(
        ("data.csv", DATA), (special("link", tarfile.SYMTYPE, linkname="data.csv"), b"")
    ),
    "hard link in tar": tarred(
        ("data.csv", DATA), (special("link", tarfile.LNKTYPE, linkname="data.csv"), b"")
    ),
}


@pytest.mark.parametrize("content", LINKS.values(), ids=LINKS)
def test_a_link_is_refused_by_its_name(refusal, content):
    assert refusal(content, "data.csv") == f"download: 'link': a link{REFUSED}"


@pytest.mark.parametrize(
    "content",
    [
        tarred(("data.csv", DATA), (special("tty", tarfile.CHRTYPE), b"")),
        tarred(("data.csv", DATA), (special("tty", tarfile.FIFOTYPE), b"")),
        zipped(("data.csv", DATA), (with_mode("tty", stat.S_IFCHR | 0o666), "")),
    ],
)
def test_a_device_is_refused_by_its_name(refusal, content):
    assert refusal(content, "data.csv") == f"download: 'tty': neither file nor folder{REFUSED}"


@pytest.mark.parametrize(
    ("inner", "kind"),
    [
        (zipped(("x", b"x")), "zip"),
        (zipped(), "zip"),
        (gzip.compress(b"x", mtime=0), "gzip"),  # another time would be another test
        (bz2.compress(b"x"), "bzip2"),
        (lzma.compress(b"x"), "xz"),
        (tarred(("x", b"x")), "tar"),
        (b"7z\xbc\xaf\x27\x1c....", "7z"),
        (b"Rar!\x1a\x07....", "rar"),
        (b"(\xb5/\xfd....", "zstd"),
    ],
)
def test_an_archive_within_an_archive_is_refused_by_its_name(refusal, inner, kind):
    line = f"an archive within the archive ({kind}){REFUSED}"
    assert (
        refusal(zipped(("data.csv", DATA), ("more.txt", inner)), "data.csv")
        == f"download: 'more.txt': {line}"
    )
    assert (
        refusal(tarred(("data.csv", DATA), ("more.txt", inner)), "data.csv")
        == f"download: 'more.txt': {line}"
    )
    if kind != "tar":
        assert refusal(gzip.compress(inner)) == f"download: 'download': {line}"


def test_a_bomb_is_refused_by_what_it_says_of_itself(refusal, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 1000)
    bomb = zipped(("data.csv", DATA), ("zeros", b"\0" * 500_000))
    line = refusal(bomb, "data.csv")
    assert line == f"download: 'zeros': unpacks to more than {200 * len(bomb):,} bytes{REFUSED}"


def test_a_bomb_that_says_it_is_small_is_refused_while_it_unpacks(refusal, monkeypatch):
    monkeypatch.setattr(archives, "FLOOR", 1000)
    monkeypatch.setattr(archives, "CHUNK", 100)
    packed = gzip.compress(b"\0" * 500_000)  # says nothing of its size that one may believe
    line = refusal(packed)
    assert (
        line == f"download: 'download': unpacks to more than {200 * len(packed):,} bytes{REFUSED}"
    )


def test_many_small_entries_may_not_be_too_much_together(refusal, monkeypatch):
    monkeypatch.setattr(archives, "MOST", 5_000)
    line = refusal(zipped(*((f"{i}.txt", b"x" * 1000) for i in range(6))), "1.txt")
    assert line == f"download: '0.txt': unpacks to more than 5,000 bytes{REFUSED}"


def test_an_entry_that_is_encrypted_is_refused_by_its_name(refusal):
    content = bytearray(zipped(("data.csv", DATA)))
    content[content.index(b"PK\x03\x04") + 6] |= 1
    content[content.index(b"PK\x01\x02") + 8] |= 1
    assert refusal(bytes(content)) == f"download: 'data.csv': encrypted{REFUSED}"


@pytest.mark.parametrize(
    "content", [b"7z\xbc\xaf\x27\x1c....", b"Rar!\x1a\x07...", b"(\xb5/\xfd...."]
)
def test_an_archive_of_another_kind_is_refused_with_the_choices(refusal, content):
    assert refusal(content).endswith(" archive; give it as zip, tar, gz, bz2 or xz")


BROKEN = {
    "zip": zipped(("data.csv", DATA))[:-30],
    "zip with a bad checksum": zipped(("data.csv", DATA), compression=zipfile.ZIP_STORED).replace(
        b"hello", b"jello", 1
    ),
    "gzip": gzip.compress(DATA)[:-12],
    "gzip of nothing good": gzip.compress(DATA)[:20] + b"\xff" * 30,
    "bzip2": bz2.compress(DATA)[:-12],
    "xz": lzma.compress(DATA)[:-12],
    "xz of nothing good": lzma.compress(DATA)[:12] + b"\xff" * 30,
    "tar": tarred(("data.csv", DATA))[:700],
    "tar with a bad header": tarred(("data.csv", DATA))[:140]
    + b"9" * 20
    + tarred(("data.csv", DATA))[160:],
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_is_one_line(refusal, content):
    line = refusal(content, "data.csv")
    assert line.startswith("download: not readable as an archive: ")
    assert line.endswith("; get it again")
    assert "\n" not in line


def test_a_file_among_several_must_be_named_and_be_there_once(refusal):
    assert (
        refusal(zipped(*TWO))
        == "lock: mine.member: missing; choose from docs/data.csv, docs/readme"
    )
    assert refusal(zipped(("a/", b""))) == "lock: mine.member: missing; choose from nothing"
    assert (
        refusal(zipped(*TWO), "data")
        == "lock: mine.member: unknown 'data'; choose from docs/readme, docs/data.csv"
    )
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = zipped(("a", b"1"), ("a", b"2"))
    assert (
        refusal(twice, "a")
        == "lock: mine.member: 'a' stands 2 times in the archive; get it from elsewhere"
    )


def test_a_name_in_a_file_that_is_no_archive_is_refused(refusal):
    for content in (DATA, gzip.compress(DATA)):
        line = refusal(content, "data.csv")
        assert line.startswith("lock: mine.member: 'data.csv', but ")
        assert line.endswith("download is no archive; take the name out")
