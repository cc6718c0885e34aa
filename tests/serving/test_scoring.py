"""Tables of messages get answers; refused messages get reasons in place of a label."""

from datetime import UTC, datetime

import pandas as pd
import pytest

from pipeline.core.params import read_params
from pipeline.serving import scoring
from pipeline.validation import expectations
from tests.harness.small_project import ROOT
from tests.serving.test_batch import Model


@pytest.fixture
def model():
    return Model()


@pytest.fixture(scope="module")
def params():
    return read_params(expectations.Params, "validate", ROOT / "params.yaml")


REFUSED = {
    "": "text_is_not_blank, text_length_is_within_bounds",
    "caf\ufffd": "text_decodes",
    "see\0you": "text_has_no_control_characters",
    "x" * 2001: "text_length_is_within_bounds",
}


def test_refused_row_has_reasons_and_keeps_its_place(model, params):
    texts = ["a", "", "Win", "caf\ufffd", "see\0you", "x" * 2001, "🦊💰"]
    table = pd.DataFrame({"text": texts})
    (answers,) = scoring.add_answers([table], "text", model, "3", params)
    columns = answers[["text", "label", "refused"]].astype(object)
    labels = ["ham", None, "spam", None, None, None, "ham"]
    expected = zip(texts, labels, map(REFUSED.get, texts), strict=True)
    assert list(columns.where(columns.notna(), None).itertuples(index=False)) == list(expected)
    assert model.texts == ["a", "Win", "🦊💰"]


def test_warning_refuses_no_row(model, params):
    params = params.model_copy(update={"warnings": ["text_decodes"]})
    table = pd.DataFrame({"text": ["caf\ufffd"]})
    (answers,) = scoring.add_answers([table], "text", model, "3", params)
    assert answers["label"].tolist() == ["ham"]


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
