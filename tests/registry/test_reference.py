"""New models are compared with the version that has the alias `reference`, for the report."""

import json

import pytest

from pipeline.registry import versions

pytestmark = pytest.mark.slow


def reference_figures(project):
    """The figures of the report of register that are about the reference."""
    figures = json.loads((project.folder / "register.json").read_bytes())["figures"]
    return {name: figure for name, figure in figures.items() if name.startswith("reference.")}


def test_differences_are_those_of_a_version_that_calls_nothing_spam(champion):
    versions.set_alias("reference", "1")
    champion.set_threshold(0.0)  # everything is spam
    champion.register()
    figures = reference_figures(champion)
    assert figures["reference.version"]["value"] == 1
    assert figures["reference.difference.recall"]["value"] == 1
    assert figures["reference.difference.ham_blocked_percent"]["value"] == 100
    assert figures["reference.difference.average_precision"]["value"] == 0  # the same network


def test_reference_is_no_part_of_the_decision(champion):
    report = champion.register()
    assert reference_figures(champion) == {}
    versions.set_alias("reference", "1")
    assert champion.register() == report  # it is this model
    champion.register_thresholds(3.0)
    assert champion.verdict().startswith("tie: ")
    assert reference_figures(champion)["reference.difference.f1"]["value"] == 0
    assert champion.entries() == [("first", "1", None)]


def test_reference_without_an_answer_is_a_warning(champion, caplog):
    versions.set_alias("reference", "1")
    (champion.artifacts("1") / "seen.parquet").unlink()
    champion.set_threshold(3.0)
    champion.register()
    assert "warning: models:/spam-detector@reference: " in caplog.text
    assert reference_figures(champion) == {}


def test_page_names_the_reference(champion):
    versions.set_alias("reference", "1")
    champion.register_thresholds(0.0)
    page = (champion.folder / "reports" / "report.html").read_text()
    assert "version 1, the reference" in page
