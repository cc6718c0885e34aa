"""The pages show what the reports say, offline and without an error in the console."""

import re
import shutil
import subprocess

import pandas as pd
import pytest
from playwright.sync_api import expect

from docs import take_screenshots as shots
from pipeline.core.files import read_json
from pipeline.core.params import read_yaml
from tests.harness.browser import browser, chromium, watched
from tests.harness.small_project import ROOT, runner

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not chromium(), reason="no Chromium on PATH"),
]

PLOTS = {
    name: plot
    for definition in read_yaml(ROOT / "dvc.yaml")["plots"]
    for name, plot in definition.items()
}
MARKS = {"bars": "mark-rect", "by_reason": "mark-symbol"}  # template: what it draws, else lines
MLFLOW_PROBLEMS = (  # in the console of MLflow's own pages
    "/ajax-api/2.0/mlflow/users/current)",  # a 404 on a server without users
    "ResizeObserver loop completed with undelivered notifications",
)
CDN = "https://cdn.jsdelivr.net/npm/vega"  # DVC's own page loads Vega from here


@pytest.fixture(scope="module")
def chrome():
    with browser() as opened:
        yield opened


@pytest.fixture
def page(chrome):
    """A page that fails the test if its console has a problem."""
    page, problems = watched(chrome)
    yield page
    page.close()
    ours = [p for p in problems if not any(known in p for known in MLFLOW_PROBLEMS)]
    assert ours == []


# ---- MLflow


@pytest.fixture(scope="module")
def mlflow(project):
    with shots.mlflow_ui(project[0]) as address:
        yield address


def test_run_of_the_champion_has_f1_and_curves_of_the_reports(page, mlflow, project):
    reports = project[0] / "reports"
    shots.show_run(page, mlflow)
    row = page.get_by_role("row").filter(has=page.get_by_text("test/f1", exact=True))
    f1 = read_json(reports / "evaluate.json")["figures"]["f1"]["value"]
    assert float(row.inner_text().split()[1]) == f1
    shots.show_curves(page, mlflow)
    epochs = len((reports / "curves.csv").read_text().splitlines()) - 1
    for metric in ("train/loss", "train/stop_average_precision"):
        line = shots.curve(page, metric)
        assert len(re.findall(r"[\d.]+,[\d.]+", line.get_attribute("d"))) == epochs
        assert line.bounding_box()["width"] > 100


def test_registered_model_has_a_version_with_the_alias(page, mlflow, project):
    shots.show_version(page, mlflow)
    expect(page.get_by_role("heading", name="Version 1", exact=True)).to_be_visible()
    expect(page.get_by_text("@ champion")).to_be_visible()
    verdict = read_json(project[0] / "reports" / "register.json")["verdict"]
    expect(page.get_by_text(verdict).first).to_be_visible()


def test_run_has_the_data_docs_of_its_data(page, mlflow):
    shots.show_run(page, mlflow)
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("data_docs", exact=True).click()
    page.get_by_text("index.html", exact=True).click()
    page.frame_locator("iframe").get_by_text("All steps passed.").wait_for()


# ---- Data Docs


def test_data_docs_lead_to_the_broken_expectation_and_back(page, project, tmp_path):
    clone = tmp_path / "a clone"  # with a space in its path
    assert "label_is_known: 5 of 90 rows" in shots.break_labels(project[0], clone)
    shots.show_suites(page, clone)
    row = page.get_by_role("row").filter(has=page.get_by_role("link", name="rows", exact=True))
    expect(row).to_contain_text("4 of 5")
    shots.show_broken_suite(page, clone)
    expect(page.get_by_role("heading", name="rows", exact=True)).to_be_visible()
    row = page.get_by_role("row").filter(has_text="label is known").first
    expect(row).to_contain_text("5 unexpected values found")
    broken = page.get_by_role("heading", name="5 of 90 rows break an expectation")
    expect(broken).to_be_visible()
    icon = row.locator("i").evaluate("icon => getComputedStyle(icon, '::before').content")
    assert icon == '"✗"'
    page.get_by_role("link", name="Data Docs").click()
    expect(page).to_have_title("Data Docs")


# ---- DVC's plots


@pytest.fixture(scope="module")
def plotted(project, tmp_path_factory):
    """A clone of the project after `make plots`."""
    clone = tmp_path_factory.mktemp("plotted") / "a clone"
    subprocess.run(["git", "clone", "--quiet", str(project[0]), str(clone)], check=True)
    shots.draw_plots(clone)
    return clone


@pytest.mark.parametrize("name", PLOTS)
def test_every_plot_is_drawn(page, plotted, name):
    shots.show_plots(page, plotted)
    plot = page.locator(f"#{name}")
    assert plot.locator("svg.marks").bounding_box()["width"] > 300
    expect(plot).to_contain_text(PLOTS[name]["title"])
    marks = plot.locator(f".{MARKS.get(PLOTS[name]['template'], 'mark-line')}.role-mark path")
    if PLOTS[name]["template"] == "confusion":
        counts = plot.locator(".mark-text.role-mark text").all_text_contents()
        assert sum(map(int, counts)) == read_json(plotted / "reports" / "evaluate.json")["rows"]
    elif PLOTS[name]["template"] in MARKS:
        expect(marks.first).to_be_attached()
    else:
        lines = pd.Series(list(PLOTS[name]["y"].values())).explode()
        expect(marks).to_have_count(len(lines))
        assert all(line.get_attribute("d").count("L") >= 1 for line in marks.all())


def test_diff_draws_the_bars_of_two_revisions_side_by_side(page, plotted, tmp_path):
    clone, scripts = tmp_path / "clone", "reports/profile/scripts_train.csv"
    shutil.copytree(plotted, clone)
    run = runner(clone)
    (clone / scripts).write_text("script,share\nlatin,0.9\ngreek,0.1\n")
    run("git", "commit", "--quiet", "--all", "--message", "Other letters")
    run("dvc", "plots", "diff", "HEAD~1", "HEAD")
    page.goto((clone / "dvc_plots" / "index.html").as_uri())
    bars = page.locator("#scripts .mark-rect.role-mark path").all()
    tops = {bar.bounding_box()["y"] for bar in bars}
    assert len(tops) == len(bars) > 2
    counts = page.locator("#confusion .mark-text.role-mark text").all_text_contents()
    assert sum(map(int, counts)) == 2 * read_json(clone / "reports" / "evaluate.json")["rows"]


def test_dvcs_own_page_needs_vega_from_its_address(chrome, plotted, tmp_path):
    shutil.copyfile(plotted / "dvc_plots" / "index.html", tmp_path / "index.html")
    page, problems = watched(chrome)
    page.route(f"{CDN}*", lambda route: route.abort())
    page.goto((tmp_path / "index.html").as_uri())
    expect(page.get_by_text("make plots")).to_be_visible()
    vega = (plotted / "dvc_plots" / "vega.js").read_text(encoding="utf-8")
    page.route(f"{CDN}*", lambda route: route.fulfill(body=vega, content_type="text/javascript"))
    page.reload()
    page.locator("#roc .mark-line path").first.wait_for(state="attached")
    assert [problem for problem in problems if problem.startswith(f"{CDN}-embed@")]
    page.close()
