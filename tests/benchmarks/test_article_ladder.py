"""The networks are measured on the same splits, and compared with the article's."""

import pytest

from benchmarks import article_ladder, quality
from tests.harness.labelled_messages import TABLE


@pytest.mark.slow
def test_trial_run_prints_figures_and_differences(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(article_ladder, "MESSAGES", tmp_path / "messages.parquet")
    monkeypatch.setattr(article_ladder, "RESULTS", tmp_path)
    TABLE.assign(source="sms").to_parquet(tmp_path / "messages.parquet")
    arguments = ["--splits", "2", "--networks", "neuron", "bilstm_article"]
    article_ladder.main(arguments)
    printed = capsys.readouterr().out
    assert printed.count("\n| neuron | ") == 2
    assert "| mean ± standard deviation of 2 splits | F1 | average precision |" in printed
    assert "\n\n| minus bilstm_article | F1 | average precision | log loss |" in printed
    monkeypatch.setattr(article_ladder.training, "Trainer", None)
    article_ladder.main(arguments)  # all results are kept
    assert capsys.readouterr().out == printed


def test_networks_of_a_split_see_the_same_rows():
    first, again, other = (quality.split_messages(TABLE, salt) for salt in ("a", "a", "b"))
    assert first["test"].equals(again["test"])
    assert set(first["test"]["message_id"]) != set(other["test"]["message_id"])
    ids = [set(rows["message_id"]) for rows in first.values()]
    assert sum(map(len, ids)) == len(set().union(*ids))
