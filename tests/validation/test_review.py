"""The review command explains expectations, lists quarantined rows and proposes params."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
import ruamel.yaml

from pipeline.core.hashing import message_id
from pipeline.core.params import parse_params
from pipeline.sources.readers import read_messages
from pipeline.validation import expectations, review
from pipeline.validation.expectations import EXPECTATIONS, Params
from pipeline.validation.runner import run_suite
from tests.harness.errors import error_of
from tests.harness.message_tables import COPIES, STRICT, budgets, good, run_validate, strict
from tests.harness.small_project import ROOT


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_every_expectation_is_a_sentence():
    params = strict(warnings=["text_decodes"], budgets=STRICT.budgets | {"label_is_known": 0.25})
    training, _, scoring = review.explain(params).partition("\nscoring:\n")
    for name in EXPECTATIONS:
        assert f"    - {name.replace('_', ' ')}" in training
    quarantine = "otherwise the row goes to quarantine, and more than"
    sentences = {
        "row is an integer; otherwise the run stops.",
        "text decodes; otherwise there is a warning.",
        f"text length is within bounds, 2 to 80; {quarantine} 0.0 % of the rows stop the run.",
        f"label is known; {quarantine} 25.0 % of the rows stop the run.",
        "spam share is within bounds, 0.1 to 0.5; otherwise the run stops.",
    }
    assert sentences <= {line.removeprefix("    - ") for line in training.splitlines()}
    head, null, _, decodes, *_ = scoring.splitlines()
    assert head == "  Each text is readable:"
    assert null == "    - text is not null; otherwise the message gets no label."
    assert decodes == "    - text decodes; otherwise there is a warning."


def test_quarantined_rows_are_listed_rarest_reason_first(capsys):
    texts = {**COPIES, 5: "call me now", 7: "a\nlong\x07 " + "x" * 60, 9: None}
    run_validate(good(text=texts), budgets(**dict.fromkeys(expectations.row_level_names(), 0.5)))
    review.main([])
    lines = capsys.readouterr().out.splitlines()
    control = f"{message_id(texts[7])}\tsms\t7\ttext_has_no_control_characters"
    assert lines[:4] == [
        f"{control}\ta long\ufffd {'x' * 51}…",
        f"{message_id(None)}\tsms\t9\ttext_is_not_null\t(null)",
        f"{message_id('call ME now')}\tsms\t2\ttext_is_not_a_copy\tcall ME now",
        f"{message_id('call me now')}\tsms\t5\ttext_is_not_a_copy\tcall me now",
    ]
    assert lines[-2:] == [
        "2 rows: text_is_not_a_copy",
        "4 rows in quarantine; to decide about one, add a line "
        "`message_id,release,why` or `message_id,ban,why` to data/reviewed.csv",
    ]


def pasted(text):
    """The printed section as params."""
    return parse_params(Params, ruamel.yaml.YAML(typ="safe").load(text)["validate"], "validate")


def test_the_proposed_section_lets_its_data_pass():
    texts = dict.fromkeys([row for row in range(400) if row % 4], "one text")
    texts |= {1: None, 2: "", 3: "x" * 70_001, 5: "\x00", 7: "Ã©", 8: "this is message number 12"}
    dates = dict.fromkeys(range(1, 30), pd.Timestamp(0, tz="UTC"))
    messages = good(400, text=texts, label={30: "?", 31: None}, received_at=dates)
    params = pasted(review.propose_params(messages, Path("x")))
    assert not run_suite(messages, params).broken


def test_a_proposal_is_based_on_measured_values():
    lines = review.propose_params(good(text=COPIES), Path("x")).splitlines()
    assert lines[:7] == [
        "validate:",
        "  row_count: [3, 390]  # valid messages; here 39",
        "  spam_share: [0.12, 0.52]  # of the valid messages; here 25.6 %",
        "  text_length: [1, 50]  # characters; here 12 to 25",
        "  median_length: [12.0, 50.0]  # characters; here 25",
        "  received_years: [1992, 2100]  # the first SMS was sent in 1992",
        f"  warnings: []  # these may be warnings: {', '.join(expectations.possible_warnings())}",
    ]


def test_a_proposal_tightens_no_budget_and_loosens_only_traits_of_the_data():
    copies = dict.fromkeys(range(2, 40, 4), "one text")
    lines = review.propose_params(good(text=copies | {1: "a\x07", 3: None}), Path("x")).splitlines()
    changed = {"text_is_not_null": "0.038", "text_has_no_control_characters": "0.039"}
    for name in expectations.row_level_names():
        default = f"{EXPECTATIONS[name].default_budget:g}"
        [line] = [line for line in lines if line.startswith(f"    {name}: ")]
        assert line.split()[1] == changed.get(name, default)
    assert lines[-1] == "    text_is_not_a_copy: 0.5  # here 9 of 38 rows break it"


def write_latin_1(path):
    texts = {row: f"café number {row}" for row in range(1, 9)}
    good(text=texts)[["text", "label"]].to_csv(path, index=False, encoding="latin-1")


@pytest.mark.parametrize("is_ingested", [False, True])
def test_a_file_in_another_encoding_gets_its_name_and_no_proposal(is_ingested):
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    file = Path("data/inbox/mine.csv")
    file.parent.mkdir(parents=True)
    write_latin_1(file)
    if is_ingested:
        table = read_messages(file).assign(source="files/mine.csv")
        table.to_parquet("messages.parquet", index=False)
    command = ["--propose", "messages.parquet" if is_ingested else str(file)]
    assert error_of(review.main, command) == (
        f"{command[1]}: text_decodes: 8 of 40 rows (20.0 %) break it, the budget is 1.0 %; "
        "set ingest.files.encoding to cp1252, in which all of data/inbox/mine.csv can be read"
    )


FAULTS = {  # they are never proposed to be allowed
    "text_is_not_mojibake": {"text": {7: "cafÃ©"}},
    "text_has_no_mail_headers": {"text": {7: "MIME-Version: 1.0\n\nhello"}},
    "text_is_not_a_git_lfs_pointer": {"text": {7: "version https://git-lfs.github.com/spec/v1\n"}},
    "label_is_not_null": {"label": {7: None}},
    "label_is_known": {"label": {7: "junk"}},
    "message_id_is_the_hash_of_its_text": {"message_id": {7: "0" * 16}},
    "text_has_one_label": {"text": {7: "hi", 8: "Hi"}},
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_above_its_budget_gets_no_proposal(name):
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    line = error_of(review.propose_params, good(**FAULTS[name]), Path("x.csv"))
    assert line.startswith(f"x.csv: {name}: ")
    assert line.endswith("correct the data")


def test_the_command_reads_params_and_any_file_of_ingest(capsys):
    shutil.copyfile(ROOT / "params.yaml", "params.yaml")
    review.main(["--explain"])
    line = "row count is within bounds, 2,000 to 1,000,000; otherwise the run stops."
    assert line in capsys.readouterr().out
    good()[["text", "label"]].to_csv("mine.csv", index=False)
    review.main(["--propose", "mine.csv"])
    assert pasted(capsys.readouterr().out).row_count == (4, 400)


def test_data_that_no_bounds_allow_gets_no_proposal():
    messages = good(label=dict.fromkeys(range(1, 41), "ham"))
    problem = "found 1, the bounds are 2 to 2; no bounds allow this data; correct the data"
    line = f"x.csv: both_labels_are_present: {problem}"
    assert error_of(review.propose_params, messages, Path("x.csv")) == line
