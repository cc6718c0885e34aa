"""A person reads label, certainty, words and version in one sentence, and the weights in full."""

import pytest

from pipeline.serving.verdict_text import (
    marked_text,
    sentence,
    strongest_words,
    weight_table,
    weights_text,
)


def answer(label="spam", probability=0.9871, confident=True, words=()):
    """An answer with reasons whose words have these weights."""
    return {
        "label": label,
        "probability": probability,
        "confident": confident,
        "threshold": 0.8327,
        "model_version": "7",
        "reasons": {
            "logit": 4.25,
            "base": -3.0,
            "rest": 0.5,
            "words": [{"text": text, "weight": weight} for text, weight in words],
        },
    }


WORDS = (("FREE", 2.0), (" lunch,", -3.0), (" see", 0.0), (" (prize)", 1.0), (" at", -0.06))


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            {"words": WORDS},
            'Spam, 98.7 % sure: "FREE" and "prize" speak for spam. Version 7.',
        ),
        (
            {"label": "ham", "probability": 0.03, "words": WORDS},
            'Ham, 97.0 % sure: "lunch" and "at" speak for ham. Version 7.',
        ),
        (
            {"label": "ham", "probability": 0.61, "confident": False, "words": WORDS[1:2]},
            "Ham, as it is 61.0 % likely to be spam and 83.2 % are needed, so a person should "
            'look: "lunch" speaks for ham. Version 7.',
        ),
        (
            {"label": "ham", "probability": 0.4, "confident": False, "words": WORDS[1:2]},
            'Ham, 60.0 % sure, so a person should look: "lunch" speaks for ham. Version 7.',
        ),
        (
            {"probability": 0.99999},
            "Spam, 99.9 % sure: no single word speaks for spam. Version 7.",
        ),
        (
            {"words": [("a", 1.0), (" b", 3.0), (" c", 2.0), (" d", 4.0)]},
            'Spam, 98.7 % sure: "d", "b" and "c" speak for spam. Version 7.',
        ),
    ],
)
def test_sentence_says_label_certainty_words_and_version(given, line):
    assert sentence(answer(**given)) == line


def test_words_are_shown_on_one_line_and_short():
    long_word = "x" * 100
    control, name = strongest_words(answer(words=[("a\x1b[2Jb", 2.0), (f" {long_word}", 1.0)]))
    assert control == "a\\x1b[2Jb"
    assert len(name) == 40


def test_word_of_signs_alone_keeps_them():
    assert strongest_words(answer(words=[(" !!!", 2.0)])) == ["!!!"]


def test_weights_have_their_sign_and_the_heaviest_come_first():
    assert weights_text(answer(words=WORDS)) == "lunch -3.0, FREE +2.0, prize +1.0"
    assert weights_text(answer()) == ""


def test_marks_have_the_colour_of_the_label():
    given = answer(words=(*WORDS[:3], (" \x1b", 0.0)))
    marked = "\x1b[31mFREE\x1b[0m \x1b[32mlunch,\x1b[0m see \\x1b"
    assert marked_text(given, color=True) == marked
    assert marked_text(given, color=False) == "FREE lunch, see \\x1b"


def test_lines_of_the_table_add_up_to_the_logit():
    words = [(f" w{number}", number / 4) for number in range(12)]
    words.append((" ham", 4.25 + 3.0 - 0.5 - sum(weight for _, weight in words)))
    *lines, logit = weight_table(answer(words=words)).splitlines()
    assert logit == "    +4.25  logit"
    assert sum(float(line.split()[0]) for line in lines) == pytest.approx(4.25)
    names = [line.split(maxsplit=1)[1] for line in lines]
    assert names[:2] == ["ham", "w11"]
    assert names[-3:] == ["(3 other words)", "(no words at all)", "(words together)"]
