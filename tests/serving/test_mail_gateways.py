"""rspamd and Dovecot's Sieve ask the product's server about each mail that they handle."""

import getpass
import os
import shutil
import smtplib
import socket
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from pipeline.registry import subprocesses
from pipeline.serving.http.access import TokenFile
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from tests.harness import dovecot
from tests.harness.model_server import champion_server
from tests.harness.servers import SECONDS, free_port
from tests.harness.small_project import ROOT

DEPLOY = ROOT / "deploy"
TOKEN = "0123456789abcdef0123"
MAIL = b"""\
From: ann@example.org
To: bob@example.org
Subject: %s
MIME-Version: 1.0
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHA+d2luIGEgcHJpemU8L3A+
"""  # <p>win a prize</p>
SPAM, MAYBE, HAM = MAIL % b"Now", MAIL % b"Maybe", MAIL.replace(b"d2luIGE", b"c2VlIGE") % b"Hi"


class Model:
    """Spam if the text contains `win`; not confident if it contains `maybe`."""

    def __init__(self):
        self.texts = []

    def predict(self, table):
        self.texts += table["text"].tolist()
        lower = table["text"].str.lower()
        is_spam = lower.str.contains("win")
        return pd.DataFrame(
            {
                "label": is_spam.map({True: "spam", False: "ham"}),
                "probability": is_spam.map({True: 0.875, False: 0.125}),
                "threshold": 0.5,
                "confident": ~lower.str.contains("maybe"),
            }
        )

    def unwrap_python_model(self):
        return SimpleNamespace(decision={})


pytestmark = pytest.mark.server


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def address(model, tmp_path):
    """Of a server that demands TOKEN."""
    (file := tmp_path / "tokens").write_text(f"{TOKEN}\n")
    champion = ServedChampion(LoadedVersion(model, "3"))
    with champion_server(champion, tokens=TokenFile(file)) as address:
        yield f"{address}/score"


# ---- rspamd

RSPAMD = shutil.which("rspamd")
RSPAMD_CONFIG = """
options {{
  url_tld = "/usr/share/rspamd/effective_tld_names.dat";
  filters = "";
}}
logging {{ type = "console"; }}
worker "normal" {{ bind_socket = "127.0.0.1:{port}"; count = 1; }}
spam_detector {{ url = "{url}"; token = "{token}"; }}
lua = "{plugin}";
"""


@contextmanager
def rspamd(folder, url, token):
    """The address where rspamd checks mails, while the block runs."""
    port = free_port()
    plugin = DEPLOY / "rspamd/spam_detector.lua"
    config = RSPAMD_CONFIG.format(port=port, url=url, token=token, plugin=plugin)
    (folder / "rspamd.conf").write_text(config)
    command = [RSPAMD, "-f", "-i", "-c", str(folder / "rspamd.conf")]
    with subprocesses.running_program(command, folder, {}) as process:
        deadline = time.monotonic() + SECONDS
        while True:
            log = (folder / subprocesses.OUTPUT_FILE).read_text()
            assert process.poll() is None, log
            assert time.monotonic() < deadline, log
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                break
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/checkv2"


@pytest.mark.skipif(not RSPAMD, reason="rspamd is not installed (Debian: apt-get install rspamd)")
def test_rspamd_gives_each_mail_the_symbol_of_its_verdict(tmp_path, model, address):
    with (
        rspamd(tmp_path, address, TOKEN) as checks,
        subprocesses.local_session() as session,
    ):
        found = [session.post(checks, data=mail, timeout=60).json() for mail in (SPAM, MAYBE, HAM)]
    symbols = [
        {
            name: (symbol["score"], symbol["options"])
            for name, symbol in one["symbols"].items()
            if name.startswith("SPAM_DETECTOR")
        }
        for one in found
    ]
    assert symbols == [
        {"SPAM_DETECTOR_SPAM": (8.0, ["0.8750"])},
        {"SPAM_DETECTOR_MAYBE_SPAM": (3.0, ["0.8750"])},
        {"SPAM_DETECTOR_HAM": (-1.0, ["0.1250"])},
    ]
    assert model.texts == ["Now\n\nwin a prize", "Maybe\n\nwin a prize", "Hi\n\nsee a prize"]


@pytest.mark.skipif(not RSPAMD, reason="rspamd is not installed (Debian: apt-get install rspamd)")
def test_rspamd_scores_no_mail_that_the_server_refuses(tmp_path, model, address):
    with (
        rspamd(tmp_path, address, "another token, not one") as checks,
        subprocesses.local_session() as session,
    ):
        symbols = session.post(checks, data=SPAM, timeout=60).json()["symbols"]
    assert [name for name in symbols if name.startswith("SPAM_")] == ["SPAM_DETECTOR_FAIL"]
    assert symbols["SPAM_DETECTOR_FAIL"]["score"] == 0
    assert model.texts == []


# ---- Sieve

LMTP_CONFIG = """
protocols = imap lmtp
service lmtp {{
  chroot =
  user = {user}
  inet_listener lmtp {{
    port = {port}
  }}
}}
protocol lmtp {{
  mail_plugins = sieve
  postmaster_address = postmaster@example.org
}}
plugin {{
  sieve_plugins = sieve_extprograms
  sieve_global_extensions = +vnd.dovecot.execute +editheader
  sieve_execute_bin_dir = {folder}/bin
  sieve_before = {folder}/spam-detector.sieve
}}
"""


def missing_sieve():
    """Why Sieve cannot run here; None if it can."""
    if reason := dovecot.missing_dovecot():
        return reason
    modules = ("sieve/lib90_sieve_extprograms_plugin.so", "lmtp")
    paths = [f"/usr/lib/dovecot/{name}" for name in ("modules/" + modules[0], modules[1])]
    if all(map(os.path.exists, paths)):
        return None
    return "no Sieve or LMTP (Debian: apt-get install dovecot-sieve dovecot-lmtpd)"


@contextmanager
def mail_server(url):
    """Dovecot with the Sieve script, and the port of its LMTP; deliveries ask the server at URL."""
    with tempfile.TemporaryDirectory(prefix="sieve-") as name:
        port = free_port()
        config = prepared_config(Path(name), url, port)
        with dovecot.dovecot(config) as server:
            yield server, port


def prepared_config(folder, url, port):
    """Writes the scripts for this server into a folder; returns lines of Dovecot's configuration.

    Its user, who may not be ours, can read the folder, and compiles the script in it.
    """
    (folder / "bin").mkdir()
    script = (DEPLOY / "sieve/spam-verdict").read_text()
    for old, new in (
        ("http://127.0.0.1:5001/score", url),
        ("/etc/dovecot/spam-detector.header", str(folder / "header")),
    ):
        assert script.count(old) == 1
        script = script.replace(old, new)
    (folder / "bin/spam-verdict").write_text(script)
    (folder / "bin/spam-verdict").chmod(0o755)
    (folder / "header").write_text(f"Authorization: Bearer {TOKEN}\n")
    shutil.copy(DEPLOY / "sieve/spam-detector.sieve", folder)
    user = "dovecot" if os.geteuid() == 0 else getpass.getuser()
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, user)
    return LMTP_CONFIG.format(port=port, folder=folder, user=user)


def delivered(server, folder):
    """The mails of a folder of the mailbox, in order."""
    with server.mailbox() as client:
        if not client.folder_exists(folder):
            return []
        client.select_folder(folder, readonly=True)
        fetched = client.fetch(client.search(), ["BODY.PEEK[]"])
        return [fetched[uid][b"BODY[]"] for uid in sorted(fetched)]


@pytest.mark.skipif(bool(missing_sieve()), reason=str(missing_sieve()))
def test_sieve_moves_sure_spam_and_notes_the_verdict(address):
    forged = HAM.replace(b"Subject:", b"X-Spam-Flag: YES\nX-Spam-Verdict: spam\nSubject:")
    with mail_server(address) as (server, port):
        with smtplib.LMTP("127.0.0.1", port) as client:
            for mail in (SPAM, MAYBE, forged):
                client.sendmail("ann@example.org", [dovecot.USER], mail)
        junk, inbox = delivered(server, "Junk"), delivered(server, "INBOX")
    assert [mail.count(b"X-Spam-Flag: YES\r\nX-Spam-Verdict: spam\r\n") for mail in junk] == [1]
    assert [b"X-Spam-Flag" in mail for mail in inbox] == [False, False]
    assert [mail.count(b"X-Spam-Verdict: ") for mail in inbox] == [1, 1]
    assert b"X-Spam-Verdict: maybe-spam\r\n" in inbox[0]
    assert b"X-Spam-Verdict: ham\r\n" in inbox[1]
    assert all(b"PHA+" in mail for mail in junk + inbox)


@pytest.mark.skipif(bool(missing_sieve()), reason=str(missing_sieve()))
def test_sieve_delivers_mail_without_an_answer():
    with mail_server(f"http://127.0.0.1:{free_port()}/score") as (server, port):
        with smtplib.LMTP("127.0.0.1", port) as client:
            client.sendmail("ann@example.org", [dovecot.USER], SPAM)
        inbox = delivered(server, "INBOX")
    assert len(inbox) == 1
    assert b"X-Spam" not in inbox[0]
