"""Charts are the same bytes each time, and take the colours of their page."""

from xml.etree import ElementTree

from pipeline.registry.pages.charts import interval_chart, interval_rows, line_chart

ROWS = [("cs", 40.0, 30.0, 50.0), ("he", 20.0, 10.0, 30.0)]


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.text]


def test_interval_chart_names_its_rows_and_its_axis():
    svg = interval_chart(ROWS, "spam caught, %", line_at=35)
    assert {"cs", "he", "spam caught, %"} <= set(texts(svg))


def test_line_chart_leaves_out_what_is_not_finite():
    lines = {"ours": [(0.0, float("nan")), (0.5, 0.25), (1.0, 1.0)], "theirs": [(0.0, 0.5)]}
    svg = line_chart(lines, "share of ham lost", "spam caught", (0.0, 1.0))
    assert {"ours", "theirs", "share of ham lost", "spam caught"} <= set(texts(svg))
    assert "NaN" not in svg


def test_colours_are_variables_of_the_page():
    svg = interval_chart(ROWS, "spam caught, %", line_at=35)
    assert "var(--ours)" in svg
    assert "#" not in svg


def test_second_drawing_is_the_same_bytes():
    assert interval_chart(ROWS, "x", line_at=0) == interval_chart(ROWS, "x", line_at=0)


def test_figures_without_an_interval_have_no_row():
    figures = [
        ("known", {"value": 1.0, "low": 0.5, "high": 2.0}),
        ("no interval", {"value": 1.0}),
        ("undefined", {"value": None, "low": 0.5, "high": 2.0}),
    ]
    assert interval_rows(figures) == [("known", 1.0, 0.5, 2.0)]
