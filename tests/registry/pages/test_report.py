"""The decision report has its sections, without texts unless it is private."""

import re

from pipeline.registry.pages.report import (
    SECTIONS,
    MarkedMistake,
    PrivatePart,
    decision_report,
    write_decision_report,
)
from tests.harness.report_inputs import DUEL, report_inputs, report_of

MISTAKE = {
    "message_id": "0123456789abcdef0123456789abcdef",
    "source": "sms",
    "label": "spam",
    "probability": 0.004,
    "wrong": True,
}
MARKED = MarkedMistake(**MISTAKE, parts=[("free", "spam"), (" <b>", ""), ("lunch", "ham")])


def headings(page):
    return re.findall(r'<h2 id="[a-z-]+">(.*)</h2>', page)


def cells(page, first):
    """The cells of the row whose first cell is this."""
    (row,) = [row for row in page.split("<tr>") if row.strip().startswith(f"<td>{first}</td>")]
    return [re.sub("<[^>]*>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.S)]


def test_sections_stand_in_their_order():
    assert headings(decision_report(report_inputs())) == list(SECTIONS.values())


def test_what_the_reports_lack_is_left_out():
    page = decision_report(report_inputs(tables={}, confusion={}))
    missing = {"What does it cost?", "Calibration and training"}
    assert headings(page) == [one for one in SECTIONS.values() if one not in missing]
    assert "<script" not in page


def test_lead_is_the_verdict_in_a_sentence():
    lead = "<p>Yes. It is better than the champion. Better than the champion on all unseen"
    assert lead in decision_report(report_inputs("promote: f1 +0.0200", DUEL))


def test_model_without_a_verdict_says_so():
    page = decision_report(report_inputs(verdict=None))
    assert "<p>Not decided: register has not run for this model." in page


def test_criteria_say_what_is_met():
    page = decision_report(report_inputs())
    assert cells(page, "F1") == ["F1", "✓ met", "0.800", "0.700 to 0.900", "at least 0.750"]
    assert cells(page, "ham lost, % (warning)")[1:3] == ["✗ missed", "5.0"]


def test_costs_in_service_stand_there_without_a_script():
    counts = cells(decision_report(report_inputs()), "In service, of the test messages")
    assert counts[1:] == ["60", "20", "6", "114"]


def test_data_are_counted_by_what_happened_to_them():
    validate = report_of("kept", {"breaches.text_is_not_a_copy": {"value": 7, "n": 300}})
    ingest = report_of("read", {"source.a/x": {"value": 1_000}, "source.a/y": {"value": 234}})
    evaluate = report_inputs().reports["evaluate"]
    reports = {"ingest": ingest, "validate": validate, "evaluate": evaluate}
    page = decision_report(report_inputs(reports=reports))
    assert cells(page, "Read from a")[1] == "1,234"
    assert cells(page, "Failed check: text is not a copy")[1] == "7"


def test_public_page_has_ids_and_no_texts():
    page = decision_report(report_inputs(mistakes=[{**MISTAKE, "text": "free lunch"}]))
    assert cells(page, "0123456789ab")[2:] == ["spam that gets through", "0.004"]
    assert "lunch" not in page


def test_private_page_marks_the_words_that_decided():
    private = PrivatePart([MARKED], "Drift: no alarm.", {"Commit": "f" * 40})
    page = decision_report(report_inputs(), private)
    assert '<mark class="spam">free</mark> &lt;b&gt;<mark class="ham">lunch</mark>' in page
    assert f"Message {MISTAKE['message_id']}" in page
    assert "<p>Drift: no alarm.</p>" in page
    assert cells(page, "Commit")[1] == "f" * 40


def test_equal_inputs_are_equal_bytes(tmp_path):
    for name in ("a", "b"):
        write_decision_report(tmp_path / name, report_inputs(mistakes=[MISTAKE]))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_reason_of_a_person_is_escaped():
    page = decision_report(report_inputs("forced: <script>alert(1)</script>"))
    assert "<script>alert" not in page
