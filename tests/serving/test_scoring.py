"""Tables of messages get answers; refused messages get reasons beside their label."""

from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.core.params import read_params
from pipeline.serving import scoring
from pipeline.validation import expectations
from tests.harness.small_project import ROOT
from tests.serving.test_batch import Model


def test_refused_row_has_reasons_beside_its_label():
    model = Model()
    params = read_params(expectations.Params, "validate", ROOT / "params.yaml")
    params = params.model_copy(update={"warnings": ["text_decodes"]})
    table = pd.DataFrame({"text": ["a", "", "Win", "win\0now", "caf\ufffd 💰", None]})
    checked = scoring.check_tables([table], "text", params)
    (answers,) = scoring.add_answers(checked, None, model, "3")
    assert answers["text"].equals(table["text"])
    labels = ["ham", "ham", "spam", "spam", "ham", "none"]
    assert answers["label"].fillna("none").tolist() == labels
    blank = "text_is_not_blank, text_length_is_within_bounds"
    control = "text_has_no_control_characters"
    reasons = ["none", blank, "none", control, "none", "text_is_not_null"]
    assert answers["refused"].fillna("none").tolist() == reasons
    assert model.texts == table["text"].tolist()[:-1]


def test_texts_that_are_bytes_in_a_parquet_file_are_decoded(tmp_path):
    path = tmp_path / "in.parquet"
    texts = pa.array(["grüße".encode(), None, b"a\xff"])
    pq.write_table(pa.table({"text": texts, "other": texts}), path)
    (table,) = scoring.read_tables(str(path), "text")
    assert table["text"].astype(object).tolist()[::2] == ["grüße", "a\ufffd"]
    assert table["text"].isna().tolist() == [False, True, False]
    assert table["other"][0] == "grüße".encode()


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
