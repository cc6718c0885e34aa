"""A real IMAP server, Dovecot, with one empty mailbox, and a proxy that cuts connections.

It listens on loopback only, writes to a temporary folder, and stops with its block.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import imapclient

from pipeline.registry.subprocesses import OUTPUT_FILE, running_program
from tests.harness.servers import SECONDS, free_port
from tests.harness.small_project import runner

PROGRAMS = "/usr/sbin:/usr/bin:/bin"  # Debian has it in sbin
USER, PASSWORD = "ann@example.org", 'pass "wörd" \\ %s'
# ssl_min_protocol and the like keep their defaults; Dovecot 2.4 has another syntax.
CONFIG = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = /dev/stderr
protocols = imap
listen = 127.0.0.1
default_internal_user = {internal}
default_internal_group = {internal_group}
default_login_user = {login}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {port}
  }}
}}
service stats {{
  chroot =
}}
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = plain login
auth_failure_delay = 0
mail_location = maildir:{folder}/mail
first_valid_uid = 1
first_valid_gid = 1
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {folder}/users
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
"""


def missing_dovecot() -> str | None:
    """Why Dovecot cannot be started here; None if it can."""
    program = shutil.which("dovecot", path=PROGRAMS)
    if not program:
        return "dovecot is not installed (Debian: apt-get install dovecot-imapd)"
    version = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
    return None if version.startswith("2.3") else f"dovecot is {version.split()[0]}, not 2.3"


@dataclass(frozen=True)
class Dovecot:
    """A running server. USER logs in with PASSWORD."""

    port: int  # of imaps
    plain_port: int  # without TLS
    ca_file: Path

    def mailbox(self) -> imapclient.IMAPClient:
        """USER's mailbox, to change it."""
        client = imapclient.IMAPClient("127.0.0.1", self.plain_port, ssl=False, timeout=SECONDS)
        client.plain_login(USER, PASSWORD)
        return client

    def add(self, folder: str, *mails: bytes) -> None:
        """Adds mails to a folder, which is made if there is none."""
        with self.mailbox() as client:
            if not client.folder_exists(folder):
                client.create_folder(folder)
            for mail in mails:
                client.append(folder, mail)

    def move(self, folder: str, uid: int, to: str) -> None:
        """Moves a mail."""
        with self.mailbox() as client:
            client.select_folder(folder)
            client.move([uid], to)

    def delete(self, folder: str, uid: int) -> None:
        """Deletes a mail for good."""
        with self.mailbox() as client:
            client.select_folder(folder)
            client.delete_messages([uid])
            client.expunge()

    def state(self, folder: str) -> dict[int, tuple[bytes, ...]]:
        """The flags of each mail, by UID."""
        with self.mailbox() as client:
            client.select_folder(folder, readonly=True)
            uids = client.search()
            return {uid: tuple(sorted(flags)) for uid, flags in client.get_flags(uids).items()}

    def empty(self) -> None:
        """Deletes all folders."""
        with self.mailbox() as client:
            for flags, _, folder in client.list_folders():
                if folder != "INBOX" and b"\\Noselect" not in flags:
                    client.delete_folder(folder)


@contextmanager
def dovecot(more_config: str = "") -> Iterator[Dovecot]:
    """Dovecot for the length of the block; root starts it with Debian's users dovecot, dovenull.

    Args:
        more_config: further lines of its configuration.
    """
    server_port, plain_port = free_port(), free_port()
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory(prefix="dovecot-") as name:  # short: sockets are in it
        folder = Path(name)
        (folder / "mail").mkdir()
        (folder / "home").mkdir()
        if is_root:  # it reads no mail as root
            for path in (folder, folder / "mail", folder / "home"):
                shutil.chown(path, "dovecot", "dovecot")
        owner = (folder / "mail").stat()
        me = getpass.getuser()
        config = CONFIG.format(
            folder=folder,
            port=server_port,
            plain_port=plain_port,
            internal="dovecot" if is_root else me,
            internal_group="dovecot" if is_root else (folder / "mail").group(),
            login="dovenull" if is_root else me,
            uid=owner.st_uid,
            gid=owner.st_gid,
        )
        (folder / "dovecot.conf").write_text(config + more_config)
        (folder / "users").write_text(f"{USER}:{{PLAIN}}{PASSWORD}\n")
        _make_certificate(folder)
        program = shutil.which("dovecot", path=PROGRAMS)
        assert program, missing_dovecot()
        command = [program, "-F", "-c", str(folder / "dovecot.conf")]
        with running_program(command, folder, {}) as process:
            _wait_for(plain_port, process, folder / OUTPUT_FILE)
            yield Dovecot(server_port, plain_port, folder / "certificate.pem")


def _make_certificate(folder: Path) -> None:
    """A certificate of 127.0.0.1 that it has signed itself."""
    key, certificate = str(folder / "key.pem"), str(folder / "certificate.pem")
    names = ["-subj", "/CN=mail.test", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *names]
    runner(folder)(*command, "-keyout", key, "-out", certificate)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        assert process.poll() is None, f"dovecot: {log.read_text()}"
        assert time.monotonic() < deadline, f"no answer: {log.read_text()}"
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as client:
            if client.recv(4) == b"* OK":
                return
        time.sleep(0.05)


# ---- a connection that is cut


@contextmanager
def cut_after(port: int, sent: int) -> Iterator[int]:
    """The port of a proxy that drops each connection after so many bytes of the server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_forward_all, args=(listener, port, sent), daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _forward_all(listener: socket.socket, port: int, sent: int) -> None:
    with suppress(OSError):  # the listener is closed
        while True:
            client, _ = listener.accept()
            server = socket.create_connection(("127.0.0.1", port))
            threads = [
                threading.Thread(target=_forward, args=(client, server, None)),
                threading.Thread(target=_forward, args=(server, client, sent)),
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            client.close()
            server.close()


def _forward(source: socket.socket, to: socket.socket, limit: int | None) -> None:
    """Forwards at most so many bytes, then ends both connections."""
    with suppress(OSError):
        while data := source.recv(1024 if limit is None else min(limit, 1024)):
            to.sendall(data)
            limit = None if limit is None else limit - len(data)
    for one in (source, to):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
