"""A mailbox is read as it is, and what goes wrong with its server is one line."""

import socket

import pytest

from pipeline.sources import imap
from pipeline.sources.kinds import parse_declaration
from tests.harness.dovecot import PASSWORD, USER, missing_dovecot
from tests.harness.errors import error_of
from tests.harness.servers import free_port

needs_dovecot = pytest.mark.skipif(bool(missing_dovecot()), reason=str(missing_dovecot()))
MAILBOX = {"kind": "imap", "host": "mail.example.org", "user": "ann", "password": "$MAIL_PASSWORD"}
MAILBOX["folders"] = {"Junk": "spam", "Archive": "ham"}


# ---- the declaration


def test_declaration_needs_only_what_has_no_default():
    _, declared = parse_declaration("mine", MAILBOX, "x")
    assert (declared.port, declared.tls, declared.ca_file) == (993, True, None)


@pytest.mark.parametrize("password", ["hunter2", "$A:hunter2", 4711, None])
def test_password_in_the_file_is_refused_and_not_shown(password):
    line = "x: mine.password: not the name of a variable; write $NAME, and set NAME to the password"
    assert error_of(parse_declaration, "mine", MAILBOX | {"password": password}, "x") == line


@pytest.mark.parametrize("host", ["mail.example.org", "10.0.0.1", "127.0.0.1.example.org"])
def test_password_is_sent_to_other_machines_in_tls_only(host):
    line = f"x: mine.tls: anybody between here and {host} could read the password; remove it"
    assert error_of(parse_declaration, "mine", MAILBOX | {"host": host, "tls": False}, "x") == line


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_server_on_this_machine_needs_no_tls(host):
    _, declared = parse_declaration("mine", MAILBOX | {"host": host, "tls": False}, "x")
    assert not declared.tls


# ---- reading


def new_mails(declared, position=None):
    """The new mails by folder, and the position after them."""
    with imap.open_mailbox("mine", declared) as mailbox:
        folders = imap.find_new_mails(mailbox, position or {})
        fetched = list(imap.fetch_mails(mailbox, folders))
    after = {folder.name: [folder.uid_validity, folder.last_uid] for folder in folders}
    return [(label, mail) for label, mails in fetched for mail in mails], after


@pytest.mark.server
@needs_dovecot
def test_mails_have_the_label_of_their_folder(mail_server, declare):
    mail_server.add("Entwürfe & Co.Ä", b"one")
    mail_server.add("Junk", b"two", b"three")
    mails, _ = new_mails(declare({"Junk": "spam", "Entwürfe & Co.Ä": "ham"}))
    assert mails == [("spam", b"two"), ("spam", b"three"), ("ham", b"one")]


@pytest.mark.server
@needs_dovecot
def test_mailbox_stays_as_it_is(mail_server, declare):
    mail_server.add("Junk", b"one")
    with mail_server.mailbox() as client:
        client.select_folder("Junk")
        client.add_flags([1], rb"\Flagged")
    mail_server.add("Junk", b"two")
    before = mail_server.state("Junk")
    assert before == {1: (rb"\Flagged",), 2: (rb"\Recent",)}
    new_mails(declare({"Junk": "spam"}))
    assert mail_server.state("Junk") == before


@pytest.mark.server
@needs_dovecot
def test_only_mails_after_the_position_are_new(mail_server, declare, monkeypatch):
    monkeypatch.setattr(imap, "SEARCHED_UIDS", 2)
    monkeypatch.setattr(imap, "FETCHED_AT_ONCE", 2)
    declared = declare({"Junk": "spam"})
    mail_server.add("Junk")
    nothing, empty = new_mails(declared)
    mail_server.add("Junk", b"1", b"2", b"3", b"4", b"5")
    mail_server.delete("Junk", 3)
    four, position = new_mails(declared, empty)
    assert (nothing, [mail for _, mail in four]) == ([], [b"1", b"2", b"4", b"5"])
    assert new_mails(declared, position) == ([], position)
    mail_server.add("Junk", b"6")
    assert new_mails(declared, position)[0] == [("spam", b"6")]


@pytest.mark.server
@needs_dovecot
def test_mail_that_is_deleted_meanwhile_is_counted(mail_server, declare, caplog):
    mail_server.add("Junk", b"1", b"2")
    with imap.open_mailbox("mine", declare({"Junk": "spam"})) as mailbox:
        folders = imap.find_new_mails(mailbox, {})
        mail_server.delete("Junk", 1)
        assert list(imap.fetch_mails(mailbox, folders)) == [("spam", [b"2"])]
    assert caplog.messages == ["warning: mine: Junk: 1 mails were deleted or moved meanwhile"]


@pytest.mark.server
@needs_dovecot
def test_long_mail_is_cut(mail_server, declare, monkeypatch):
    monkeypatch.setattr(imap, "MAIL_BYTES", imap.MAIL_BYTES.replace(str(imap.MAX_MAIL_BYTES), "4"))
    mail_server.add("Junk", b"12345", b"1")
    assert new_mails(declare({"Junk": "spam"}))[0] == [("spam", b"1234"), ("spam", b"1")]


# ---- errors

LINES = {
    "wrong password": "mine: 127.0.0.1 refuses the login ([AUTHENTICATIONFAILED] Authentication "
    "failed); correct ann@example.org and $MAIL_PASSWORD",
    "no password": "mine.password: $MAIL_PASSWORD is not set in the environment; set it",
    "folder": "mine.folders: unknown 'Spam'; choose from Junk, INBOX",
    "certificate": "mine: 127.0.0.1:{port}: certificate not trusted (self-signed certificate); "
    "correct host, or set ca_file to your own",
    "host name": "mine: localhost:{port}: certificate not trusted (Hostname mismatch, certificate "
    "is not valid for 'localhost'); correct host, or set ca_file to your own",
    "no tls": "mine: 127.0.0.1:{port}: TLS fails; correct port (imaps has 993) and ca_file",
    "ca_file": "mine: 127.0.0.1:{port}: no file nowhere.pem; correct ca_file",
    "port": "mine: 127.0.0.1:{port}: connection refused; correct host and port, or start the "
    "server",
    "host": "mine: mail.invalid:{port}: no such host; correct host, or check the network",
}


@pytest.mark.server
@needs_dovecot
@pytest.mark.parametrize("case", LINES)
def test_what_goes_wrong_is_one_line(mail_server, declare, monkeypatch, case):
    mail_server.add("Junk", b"1")
    match case:
        case "wrong password":
            monkeypatch.setenv("MAIL_PASSWORD", "hunter2")
        case "no password":
            monkeypatch.delenv("MAIL_PASSWORD")
    changes = {
        "folder": {"folders": {"Junk": "spam", "Spam": "spam"}},
        "certificate": {"ca_file": None},
        "host name": {"host": "localhost"},
        "no tls": {"port": mail_server.plain_port},
        "ca_file": {"ca_file": "nowhere.pem"},
        "port": {"port": free_port()},
        "host": {"host": "mail.invalid"},
    }
    declared = declare({"Junk": "spam"}).model_copy(update=changes.get(case, {}))
    assert error_of(new_mails, declared) == LINES[case].format(port=declared.port)


def test_silent_server_is_given_up(monkeypatch):
    monkeypatch.setattr(imap.download, "CONNECT_TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        fields = MAILBOX | {"host": "127.0.0.1", "port": port}
        _, declared = parse_declaration("mine", fields, "x")
        line = f"mine: 127.0.0.1:{port}: no answer in time; check the network, and run it again"
        assert error_of(new_mails, declared) == line


@pytest.mark.server
@needs_dovecot
def test_tunnel_on_this_machine_needs_no_tls(mail_server, declare):
    mail_server.add("Junk", b"1")
    plain = {"tls": False, "port": mail_server.plain_port}
    assert (USER, PASSWORD.isascii()) == ("ann@example.org", False)
    declared = declare({"Junk": "spam"}).model_copy(update=plain)
    assert new_mails(declared)[0] == [("spam", b"1")]
