"""One registry reads labelled and unlabelled files alike, and writes them."""

import pandas as pd
import pytest

from pipeline.sources.file_formats import FORMATS, ReadOptions, format_of, read_batches

ROWS = pd.DataFrame({"text": ["a", "b", "c"], "n": ["1", "2", "3"]}, dtype="str")


@pytest.mark.parametrize("suffix", FORMATS)
def test_parts_are_joined_in_order_and_read_in_batches(tmp_path, suffix):
    form = format_of(f"FILE{suffix.upper()}")
    parts = [tmp_path / f"{number}{suffix}" for number in (1, 2)]
    form.write(parts[0], ROWS[:2], None)
    form.write(parts[1], ROWS[2:], parts[0])
    whole = tmp_path / f"whole{suffix}"
    form.join(whole, parts)
    batches = list(read_batches(form, whole, ReadOptions(), 2, "whole"))
    assert [batch.values("text") for batch in batches] == [["a", "b"], ["c"]]
