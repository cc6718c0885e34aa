"""Parts of the test set and attacks become rows, in groups and in order."""

from pipeline.registry.pages.slice_rows import AttackRow, attack_rows, extreme_rows, slice_rows
from tests.harness.report_inputs import EVALUATED


def test_slices_are_grouped_and_small_ones_left_out():
    names = {
        group: [(row.title, row.rows) for row in rows]
        for group, rows in slice_rows(EVALUATED).items()
    }
    assert names == {  # a source stays, however small
        "source": [("source sms", 12)],
        "language": [("language he", 50)],
        "form": [("short", 31)],
    }


def test_row_has_both_figures_and_an_unknown_one_is_none():
    rows = slice_rows(EVALUATED)
    (hebrew,), (sms,) = rows["language"], rows["source"]
    assert (hebrew.caught["value"], hebrew.lost["value"]) == (30.0, 8.0)
    assert sms.lost["value"] is None


def test_extremes_are_in_words():
    rows = slice_rows(EVALUATED)
    least = "language he (30 %), short (40 %), source sms (90 %)"
    assert extreme_rows(rows, "caught", greatest=False) == least
    assert extreme_rows(rows, "lost", greatest=True) == "language he (8 %), short (2 %)"


def test_strongest_attack_is_first():
    assert attack_rows(EVALUATED) == [
        AttackRow("adaptive", 4.8, None, None),
        AttackRow("leet 15", 58.8, 33.6, 4.4),
    ]
