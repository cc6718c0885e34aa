"""The benchmark of the mail reader reports what fails, and goes on behind a crash."""

import os
from pathlib import Path
from signal import SIGKILL

import pytest

from benchmarks import mail
from pipeline.sources.mail import html_text
from tests.harness import line_trace
from tests.harness.mail_mutations import MUTATIONS, mutated

MAILS = [b"Subject: a\n\nbody\n", b"Subject: b\nContent-Type: text/html\n\n<p>x</p>\n"]


def test_failures_are_reported_with_their_seeds(monkeypatch):
    wrong = mutated(MAILS, 7)

    def check(raw):
        if raw == wrong:
            raise ValueError("wrong")

    monkeypatch.setattr(mail, "check_verdict", check)
    monkeypatch.setattr(mail, "CHUNK", 3)
    report = mail.fuzz(MAILS, range(5, 12))
    assert report.failures[7] == "ValueError('wrong')"
    assert report.slowest[0] > 0
    printed = mail.fuzz_text(report, 7)
    assert "7 mutated mails: 1 failures\nseed 7: ValueError('wrong')\nslowest: " in printed


def test_mails_behind_a_crash_of_the_process_are_tried(monkeypatch):
    monkeypatch.setattr(mail, "mutated", lambda mails, seed: b"%d" % seed)
    monkeypatch.setattr(
        mail, "check_verdict", lambda raw: raw != b"2" or os.kill(os.getpid(), SIGKILL)
    )
    monkeypatch.setattr(mail, "check_reading", lambda raw: 1 // (int(raw) - 4))
    failures = mail.fuzz(MAILS, range(6)).failures
    assert failures == {
        2: "the process ended with -9",
        4: "ZeroDivisionError('integer division or modulo by zero')",
    }


def test_a_seed_gives_one_mail_and_seeds_give_others():
    mails = [mutated(MAILS, seed) for seed in range(200)]
    assert mails == [mutated(MAILS, seed) for seed in range(200)]
    assert len(set(mails)) > 150
    assert len(MUTATIONS) == 8


def test_lines_of_a_module_that_ran_are_lines_of_its_functions():
    from pipeline.sources import mail as reader

    lines = line_trace.run_lines(reader, html_text, "<p>x")
    functions = line_trace.function_lines(reader)
    first = html_text.__code__.co_firstlineno
    assert first not in functions
    assert len(lines & functions) > 10
    assert len(functions - lines) > 10


@pytest.mark.skipif(not Path("/usr/bin/bogofilter").exists(), reason="bogofilter is missing")
@pytest.mark.slow
def test_speed_is_measured_on_a_few_mails(tmp_path, project, monkeypatch):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path, raw in zip(paths, MAILS, strict=True):
        path.write_bytes(raw)
    monkeypatch.setattr(mail, "MODELS", project[0] / "models")
    words = tmp_path / "words"
    words.mkdir()
    calls = mail.speed_calls({"ham": paths[:1], "spam": paths[1:]}, str(words))
    assert list(calls) == ["read", "read and scored", "bogofilter"]
    for call in calls.values():
        call()
