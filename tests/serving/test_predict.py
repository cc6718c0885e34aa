"""`predict` prints a sentence a message, from a server of this project or from the model."""

import io
import json
import os
import pty
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from pipeline.registry import versions
from pipeline.registry.package_hash import PACKAGE_TAG
from pipeline.serving import predict
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.predict import main
from tests.harness.errors import error_of
from tests.harness.model_server import champion_server, model_server
from tests.harness.small_project import ROOT
from tests.harness.word_model import WordModel

FREE = 'Spam, 81.7 % sure: "free" speaks for spam. Version 3.\n'
LUNCH = 'Ham, 97.0 % sure: "lunch" speaks for ham. Version 3.\n'


@pytest.fixture
def champion(tmp_path, monkeypatch):
    """A project without a server, whose champion is WordModel."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(versions, "load_champion", lambda: (WordModel(), "3"))


@pytest.fixture
def address():
    """Of a server of WordModel."""
    with model_server(WordModel(), "3") as address:
        yield address


def test_each_text_gets_a_sentence(champion, capsys):
    main(["free", "lunch"])
    assert capsys.readouterr().out == FREE + LUNCH


def test_each_line_of_standard_input_gets_a_sentence(champion, monkeypatch, capsys):
    lines = io.TextIOWrapper(io.BytesIO(b"lunch\nfree\n"), "utf-8")
    monkeypatch.setattr(sys, "stdin", lines)
    main([])
    assert capsys.readouterr().out == LUNCH + FREE


def test_standard_input_of_other_bytes_is_one_line(champion, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff\n"), "utf-8"))
    problem = "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    assert error_of(main, []) == f"-: {problem}; save it as UTF-8"


def test_server_and_model_give_the_same_object(champion, address, capsys):
    for options in ([], ["--explain"]):
        main(["--json", *options, "free £"])
        main(["--json", *options, "free £", "--server", address])
        ours, theirs = capsys.readouterr().out.splitlines()
        assert json.loads(ours) == json.loads(theirs)
        assert ("reasons" in json.loads(ours)) == bool(options)
        assert json.loads(ours)["label"] == "spam"


def test_half_a_surrogate_pair_gets_a_sentence(champion, address, capsys):
    main(["free \ud83d"])
    main(["free \ud83d", "--server", address])
    assert capsys.readouterr().out == FREE + FREE


def test_unknown_source_is_one_line(champion):
    line = error_of(main, ["free", "--source", "smss"])
    assert line.startswith("--source: version 3 has no threshold for 'smss'; choose from sms, or")


def test_explained_text_without_a_terminal_has_no_marks(champion, capsys):
    main(["--explain", "free lunch"])
    first, text, *table = capsys.readouterr().out.splitlines()
    assert first.startswith('Ham, 81.7 % sure: "lunch"')
    assert text == "free lunch"
    assert table[:2] == ["    -3.00  lunch", "    +2.00  free"]


def printed_in_a_terminal(address, **environment):
    """What `predict --explain` prints in a terminal."""
    outside, inside = pty.openpty()
    command = [sys.executable, "-m", "pipeline", "predict", "free", "--explain"]
    variables = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    subprocess.run(
        [*command, "--server", address], stdout=inside, cwd=ROOT, env=variables | environment
    )
    printed = os.read(outside, 10_000).decode()
    os.close(inside)
    os.close(outside)
    return printed


def test_words_are_marked_in_a_terminal_without_no_color(address):
    assert "\x1b[31mfree\x1b[0m" in printed_in_a_terminal(address)
    assert "\x1b" not in printed_in_a_terminal(address, NO_COLOR="1")


IMPORTED = """
import json, sys
from pipeline.serving import predict
predict.main(["free", "--server", sys.argv[1]])
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_nothing_slow_is_imported_when_a_server_answers(address):
    command = [sys.executable, "-c", IMPORTED, address]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    sentence, modules = done.stdout.splitlines(keepends=True)
    assert sentence == FREE
    slow = {"mlflow", "tensorflow", "keras", "pandas", "numpy", "great_expectations", "sklearn"}
    assert slow & set(json.loads(modules)) == set()


@pytest.fixture
def default_server(champion, monkeypatch):
    """The model of version 4, which a ready server at the default address serves."""
    model = WordModel()
    served = ServedChampion(LoadedVersion(model, "4", "our hash"))
    served.is_warm = True
    with champion_server(served) as address:
        monkeypatch.setattr(predict, "DEFAULT_ADDRESS", address)
        yield model


def write_registry(package):
    """A database whose champion has this hash, in the working folder."""
    with closing(sqlite3.connect("mlflow.db")) as database, database:
        database.execute("CREATE TABLE registered_model_aliases (name, alias, version)")
        database.execute("CREATE TABLE model_version_tags (name, version, key, value)")
        database.execute("INSERT INTO registered_model_aliases VALUES ('a', 'champion', 1)")
        tag = ["a", 1, PACKAGE_TAG, package]
        database.execute("INSERT INTO model_version_tags VALUES (?, ?, ?, ?)", tag)


def test_server_of_our_champion_answers_by_itself(default_server, capsys):
    write_registry("our hash")
    main(["free"])
    assert capsys.readouterr().out == FREE.replace("3", "4")


def test_server_of_another_project_gets_no_message(default_server, capsys):
    write_registry("another hash")
    main(["free"])
    assert capsys.readouterr().out == FREE
    assert default_server.batches == []


def test_model_checks_a_source_that_a_server_would_not(default_server):
    write_registry("our hash")
    assert error_of(main, ["free", "--source", "smss"]).startswith("--source: version 3 has no")
