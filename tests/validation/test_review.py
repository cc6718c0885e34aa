"""What a person asks of the guard is answered in words: sentences, rows to review, bounds."""

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import ruamel.yaml

from pipeline.core.errors import PipelineError
from pipeline.core.hashing import message_id
from pipeline.core.params import parse_params
from pipeline.validation import expectations, review
from pipeline.validation.expectations import EXPECTATIONS, Params
from tests.harness.message_tables import FILES, SAME, STRICT, budgets, good, run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _workplace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# ---- --explain


def test_every_expectation_is_a_sentence_with_its_bounds_and_what_becomes_of_a_breach():
    params = replace(
        STRICT, warnings=["text_decodes"], budgets=STRICT.budgets | {"label_is_known": 0.25}
    )
    training, _, scoring = review.explain(params).partition("\nscoring:\n")
    for name in EXPECTATIONS:
        assert f"    - {name.replace('_', ' ')}" in training
    for line in [
        "    - row is an integer, or the run stops.",
        "    - text decodes. Warning: it is reported.",
        "    - text length is within bounds, 2 to 80, or the row goes to quarantine; "
        "above 0.0 % of the rows, the run stops.",
        "    - label is known, or the row goes to quarantine; above 25.0 % of the rows, the run stops.",
        "    - spam share is within bounds, 0.1 to 0.5, or the run stops.",
    ]:
        assert line in training.splitlines()
    assert scoring.splitlines() == [
        "  What each text must be:",
        "    - text is not null, or it gets no label.",
        "    - text is not blank, or it gets no label.",
        "    - text decodes. Warning: it is reported.",
        "    - text is not mojibake, or it gets no label.",
        "    - text has no control characters, or it gets no label.",
        "    - text length is within bounds, 2 to 80, or it gets no label.",
    ]


def test_the_command_explains_the_projects_own_params(capsys):
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    review.main(["--explain"])
    assert (
        "row count is within bounds, 2,000 to 1,000,000, or the run stops."
        in capsys.readouterr().out
    )


# ---- --review


def test_refused_rows_are_listed_the_rarest_reason_first_as_one_line_each(capsys):
    texts = {**SAME, 7: "a\nlong\x07 " + "x" * 60, 9: None}
    run(good(text=texts), budgets(**dict.fromkeys(expectations.row_level(), 0.5)))
    run(
        good(text={**texts, 5: "call me now"}),
        budgets(**dict.fromkeys(expectations.row_level(), 0.5)),
    )
    review.main([])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == [
        f"{message_id(texts[7])}\tsms\t7\ttext_has_no_control_characters\ta long\ufffd {'x' * 51}…",
        f"{message_id(None)}\tsms\t9\ttext_is_not_null\t(null)",
        f"{message_id('call ME now')}\tsms\t2\ttext_is_not_a_copy\tcall ME now",
        f"{message_id('call me now')}\tsms\t5\ttext_is_not_a_copy\tcall me now",
    ]
    assert lines[-2:] == [
        "2 rows: text_is_not_a_copy",
        "4 rows in quarantine; a line `message_id,release,why` or `message_id,ban,why` in data/reviewed.csv "
        "decides about one",
    ]


def test_another_quarantine_may_be_named_and_a_missing_one_is_one_line():
    with pytest.raises(
        PipelineError, match=r"^other\.parquet: missing; `dvc repro` or `dvc pull` makes it$"
    ):
        review.main(["other.parquet"])


# ---- --propose


def pasted(text):
    return parse_params(
        Params, ruamel.yaml.YAML(typ="safe").load(text)["validate"], "params.yaml: validate"
    )


@pytest.mark.parametrize(
    "messages",
    [
        good(),
        good(
            400,
            text=dict.fromkeys([i for i in range(400) if i % 4], "one text"),
            label={1: "?", 2: None},
        ),
        good(
            text={
                1: None,
                2: "",
                3: "x" * 70_001,
                5: "\x00",
                7: "Ã©",
                8: "this is message number 9",
            }
        ),
        good(received_at=dict.fromkeys(range(1, 30), pd.Timestamp(0, tz="UTC"))),
    ],
    ids=["good", "copies", "texts", "times"],
)
def test_the_proposed_section_lets_its_data_through(messages):
    assert run(messages, pasted(review.propose(messages, Path("x")))) is None


def test_a_proposal_stands_on_what_was_measured(capsys):
    run(good(text=SAME))
    review.main(["--propose", FILES["messages"]])
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        "validate:",
        "  row_count: [3, 390]  # messages that hold, at least and at most; here 39",
        "  spam_share: [0.12, 0.52]  # of the messages that hold; here 25.6 %",
        "  text_length: [1, 50]  # characters; here 12 to 25",
        "  median_length: [12.0, 50.0]  # characters; here 25",
        "  received_years: [1992, 2100]  # first and last; the first SMS was sent in 1992",
        "  warnings: []  # that stop nothing; any of text_is_not_blank, text_decodes, text_is_not_mojibake, "
        "text_has_no_control_characters, text_length_is_within_bounds, row_count_is_within_bounds, "
        "spam_share_is_within_bounds, median_length_is_within_bounds",
    ]
    assert lines[-1] == "    text_is_not_a_copy: 0.038  # here 1 of 40 rows break it"


def test_a_proposal_reads_any_file_that_ingest_reads(capsys):
    (Path.cwd() / "params.yaml").write_text((ROOT / "params.yaml").read_text(encoding="utf-8"))
    with open("mine.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("text", "label"), *good()[["text", "label"]].itertuples(index=False)]
        )
    review.main(["--propose", "mine.csv"])
    assert pasted(capsys.readouterr().out).row_count == (4, 400)


def test_data_that_no_bounds_let_through_gets_no_proposal():
    with pytest.raises(
        PipelineError, match=r"^x\.csv: both_labels_are_present: broken within any bounds"
    ):
        review.propose(good(label=dict.fromkeys(range(1, 41), "ham")), Path("x.csv"))
