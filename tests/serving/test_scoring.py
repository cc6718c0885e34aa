"""Tables of messages get answers; refused messages get reasons in place of a label."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from pipeline.core.params import read_params
from pipeline.serving import scoring
from pipeline.validation import expectations
from tests.harness.small_project import ROOT
from tests.serving.test_batch import Model


def test_refused_row_has_reasons_and_keeps_its_place():
    model = Model()
    params = read_params(expectations.Params, "validate", ROOT / "params.yaml")
    params = params.model_copy(update={"warnings": ["text_decodes"]})
    table = pd.DataFrame({"text": ["a", "", "Win", "see\0you", "caf\ufffd 💰"]})
    (answers,) = scoring.add_answers([table], "text", model, "3", params)
    assert answers["text"].tolist() == table["text"].tolist()
    assert answers["label"].fillna("none").tolist() == ["ham", "none", "spam", "none", "ham"]
    blank = "text_is_not_blank, text_length_is_within_bounds"
    control = "text_has_no_control_characters"
    assert answers["refused"].fillna("none").tolist() == ["none", blank, "none", control, "none"]
    assert model.texts == ["a", "Win", "caf\ufffd 💰"]


def test_scoring_time_is_now_in_utc_and_whole_seconds():
    before = datetime.now(UTC).replace(microsecond=0)
    now = scoring.scoring_time()
    assert before <= now <= datetime.now(UTC)
    assert now.microsecond == 0


@pytest.mark.parametrize("rows", range(6))
def test_skip_rows_drops_the_first_rows(rows):
    tables = [pd.DataFrame({"n": [1, 2]}), pd.DataFrame({"n": [3]}), pd.DataFrame({"n": [4, 5]})]
    rest = pd.concat([pd.DataFrame({"n": []}), *scoring.skip_rows(tables, rows)])
    assert rest["n"].tolist() == [1, 2, 3, 4, 5][rows:]
