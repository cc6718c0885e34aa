"""Mails are copied with their verdicts: all of them at once, or none."""

import io
import os
import stat
from pathlib import Path

import pandas as pd
import pytest

from pipeline.serving import mail_copies
from pipeline.serving.mail_copies import check_mail_output, mail_verdicts, write_marked
from pipeline.serving.mail_headers import MailVerdict, with_verdict
from pipeline.sources.mail import split_mbox
from pipeline.sources.mail_folders import list_mail
from tests.harness.errors import error_of

START = b"From a@b Thu Nov 26 10:00:00 2026\n"
CHANGED = "it changed meanwhile; run again"


def verdicts(count):
    """Verdicts that differ."""
    return [MailVerdict(n % 2 == 0, n / 8, 0.5, True, "3", None) for n in range(count)]


def mark(given, output, count, mails=None):
    write_marked(given, mails or list_mail(given), output, verdicts(count))


@pytest.fixture
def maildir(tmp_path):
    folder = tmp_path / "box"
    for name in ("cur", "new", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "cur" / "2:2,S").write_bytes(b"A: b\r\n\r\nhi")
    (folder / "new" / "1").write_bytes(b"")
    return folder


def test_mbox_keeps_its_mails_and_their_quoting(tmp_path):
    mails = [
        b"A: 1\n\nFrom here\n>From there\n\n",
        b"A: 2\n \nX-Spam-Flag: NO\nFrom b 10:00\n\n",
        b"",
    ]
    given, output = tmp_path / "in.mbox", tmp_path / "out.mbox"
    given.write_bytes(b"\n" + b"".join(START + mail for mail in mails))
    mark(given, output, 3)
    mails[1] = mails[1].replace(b"X-Spam-Flag: NO\n", b"")
    marked = map(with_verdict, (START + mail for mail in mails), verdicts(3))
    assert output.read_bytes() == b"\n" + b"".join(marked)
    assert len(list(split_mbox(io.BytesIO(output.read_bytes())))) == 3


def test_maildir_becomes_a_maildir_of_its_owner(tmp_path, maildir):
    os.chmod(maildir / "cur" / "2:2,S", 0o640)
    os.utime(maildir / "cur" / "2:2,S", (1, 2))
    output = tmp_path / "marked"
    mark(maildir, output, 2)
    found = {path.relative_to(output).as_posix() for path in output.rglob("*")}
    assert found == {"cur", "new", "tmp", "cur/2:2,S", "new/1"}
    first, second = verdicts(2)
    assert (output / "cur" / "2:2,S").read_bytes() == with_verdict(b"A: b\r\n\r\nhi", first)
    assert (output / "new" / "1").read_bytes() == with_verdict(b"", second)
    status = (output / "cur" / "2:2,S").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 2)
    assert stat.S_IMODE(output.stat().st_mode) == 0o700


def test_eml_may_replace_itself_and_be_named_by_a_link(tmp_path):
    given, link = tmp_path / "in.eml", tmp_path / "link.eml"
    given.write_bytes(b"A: b\n\nhi")
    link.symlink_to(given)
    mark(link, link, 1)
    assert link.read_bytes() == with_verdict(b"A: b\n\nhi", verdicts(1)[0])
    assert (given.read_bytes(), link.is_symlink()) == (b"A: b\n\nhi", False)


@pytest.mark.parametrize("count", [1, 3])
def test_other_number_of_verdicts_leaves_no_output(tmp_path, maildir, count):
    line = error_of(mark, maildir, tmp_path / "out", count)
    assert line in (f"{maildir}/new/1: {CHANGED}", f"{maildir}: {CHANGED}")
    assert [path.name for path in tmp_path.iterdir()] == ["box"]


def test_mail_that_changed_since_it_was_listed_leaves_no_output(tmp_path, maildir):
    mails = list_mail(maildir)
    (maildir / "new" / "1").write_bytes(b"swapped")
    line = error_of(mark, maildir, tmp_path / "out", 2, mails)
    assert line == f"{maildir}/new/1: {CHANGED}"
    assert [path.name for path in tmp_path.iterdir()] == ["box"]


def test_full_disk_is_a_problem_of_the_output(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    given = tmp_path / "in.eml"
    given.write_bytes(b"A: b\n\nhi")
    monkeypatch.setattr(mail_copies.os, "fsync", full)
    line = error_of(mark, given, tmp_path / "out.eml", 1)
    assert line == f"{tmp_path}/out.eml: No space left on device; free space, then run it again"
    assert [path.name for path in tmp_path.iterdir()] == ["in.eml"]


def test_output_must_be_of_the_form_of_the_input(tmp_path, maildir):
    csv = error_of(check_mail_output, Path("in.csv"), Path("out.csv"))
    assert csv.startswith("in.csv: --headers: not mail; name an .eml or .mbox file, a Maildir or a")
    line = "out.eml: --headers: not of the form of in.mbox; name a .mbox file"
    assert error_of(check_mail_output, Path("in.mbox"), Path("out.eml")) == line
    line = f"{tmp_path}: exists; name a folder that --headers can make"
    assert error_of(check_mail_output, maildir, tmp_path) == line
    check_mail_output(Path("in.MBOX"), Path("out.mbox"))


def test_verdicts_are_those_of_the_rows():
    row = {"label": "spam", "probability": 0.9, "threshold": 0.5, "confident": True}
    row |= {"model_version": "3", "refused": None}
    table = pd.DataFrame([row, row | {"label": "ham", "refused": "text_decodes"}])
    spam = MailVerdict(True, 0.9, 0.5, True, "3", None)
    assert list(mail_verdicts([table])) == [
        spam,
        MailVerdict(False, 0.9, 0.5, True, "3", "text_decodes"),
    ]
