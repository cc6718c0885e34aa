"""The corpora of the benchmark are seeded, and the data stages run on them."""

import pytest

from benchmarks import scale
from tests.harness.labelled_messages import TABLE


def test_corpus_has_campaigns_copies_bad_rows_and_both_labels():
    rows = list(scale.corpus(1_000, TABLE))
    assert rows == list(scale.corpus(1_000, TABLE))
    assert {label for _, label in rows} == {"ham", "spam", "?"}
    assert 0.04 < 1 - len(set(rows)) / 1_000 < 0.09
    sizes = scale.campaign_sizes(10_000)
    assert (sizes[0], sum(sizes)) == (100, 2_000)


@pytest.mark.slow
def test_data_stages_run_on_a_corpus():
    stages = [stage for stage in scale.STAGES if stage != "score"]  # which needs a champion
    results = scale.measure_stages(1_500, TABLE, stages)
    assert list(results) == stages
    assert all(seconds > 0.1 and 50e6 < peak < 5e9 for seconds, peak in results.values())
