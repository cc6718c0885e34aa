"""Of a folder only mails are read, and nothing in it leads out or waits."""

import os
from collections import Counter

import pytest

from pipeline.sources import mail_folders
from pipeline.sources.mail_folders import list_mail, mail_sha256, open_regular
from tests.harness.errors import error_of


@pytest.fixture
def maildir(tmp_path):
    """A Maildir with two mails, and with what is no mail."""
    for name in ("cur", "new", "tmp", "cur/folder", ".Sent"):
        (tmp_path / name).mkdir()
    for name in ("cur/2:2,S", "new/1", "tmp/3", "cur/.hidden", "dovecot-uidlist"):
        (tmp_path / name).write_text(name)
    return tmp_path


def names(folder):
    return [mail.name for mail in list_mail(folder)]


def test_mails_of_a_maildir_are_in_cur_and_new(maildir):
    others = Counter()
    assert [mail.name for mail in list_mail(maildir, others)] == ["cur/2:2,S", "new/1"]
    assert others == {"folders": 1, "hidden files": 1}


def test_mails_of_another_folder_end_in_eml(tmp_path):
    for name in ("b.eml", "a.EML", "c.txt"):
        (tmp_path / name).write_text(name)
    (tmp_path / "cur").mkdir()
    others = Counter()
    assert [mail.name for mail in list_mail(tmp_path, others)] == ["a.EML", "b.eml"]
    assert others == {"folders": 1, "files with another ending": 1}


def test_folder_without_mails_is_refused_unless_it_is_a_maildir(tmp_path):
    assert "neither a Maildir (folders `cur` and `new`)" in error_of(list_mail, tmp_path)
    (tmp_path / "cur").mkdir()
    (tmp_path / "new").mkdir()
    assert list_mail(tmp_path) == []


def test_file_may_be_named_by_a_link_and_entry_of_a_folder_may_not(tmp_path, maildir):
    outside = tmp_path / "outside.eml"
    outside.write_text("secret")
    (tmp_path / "link.eml").symlink_to(outside)
    assert list_mail(tmp_path / "link.eml")[0].path == outside
    (maildir / "cur" / "4").symlink_to(outside)
    line = f"{maildir}/cur/4: a link; put a file there, or remove it"
    assert error_of(list_mail, maildir) == line


def test_link_in_place_of_cur_is_refused(tmp_path):
    box = tmp_path / "box"
    box.mkdir()
    (box / "cur").symlink_to("/etc")
    (box / "new").mkdir()
    assert error_of(list_mail, box) == f"{box}/cur: a link; put a folder there"


def test_pipe_is_refused_and_never_waited_for(maildir):
    os.mkfifo(maildir / "new" / "pipe")
    line = f"{maildir}/new/pipe: not a regular file; remove it"
    assert error_of(list_mail, maildir) == line
    assert error_of(open_regular(maildir / "new" / "pipe").__enter__) == line


def test_file_that_became_a_link_is_not_followed(maildir):
    (maildir / "new" / "1").unlink()
    (maildir / "new" / "1").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        open_regular(maildir / "new" / "1").__enter__()


def test_mail_that_was_moved_or_grew_is_noticed(maildir):
    (mail, _) = list_mail(maildir)
    with open_regular(mail.path) as file:
        mail_folders.check_unchanged(mail, file)
        mail.path.write_text("longer than it was")
        line = f"{mail.path}: it changed meanwhile; run again"
        assert error_of(mail_folders.check_unchanged, mail, file) == line
    mail.path.rename(maildir / "new" / "2")
    assert error_of(open_regular(mail.path).__enter__) == line


def test_name_that_is_no_text_is_escaped(maildir):
    os.rename(maildir / "new" / "1", os.fsencode(maildir) + b"/new/\xff\n")
    assert names(maildir) == ["cur/2:2,S", "new/\\udcff\\n"]


def test_sha256_of_a_folder_depends_on_names_and_contents(maildir):
    seen = {mail_sha256(maildir)}
    (maildir / "new" / "1").write_text("other")
    seen.add(mail_sha256(maildir))
    (maildir / "new" / "1").rename(maildir / "cur" / "1")
    seen.add(mail_sha256(maildir))
    (maildir / "dovecot-uidlist").write_text("other")
    assert len(seen | {mail_sha256(maildir)}) == 3
