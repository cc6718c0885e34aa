"""The Grafana dashboard asks for metrics and labels that the server has."""

import json
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.registry import subprocesses
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.shadow import Shadow
from tests.harness.model_server import champion_server, metrics_with
from tests.harness.small_project import ROOT
from tests.serving import test_batch

DASHBOARD = json.loads((ROOT / "deploy" / "grafana-dashboard.json").read_text(encoding="utf-8"))
PANELS = [pytest.param(panel, id=panel["title"]) for panel in DASHBOARD["panels"]]
COLUMNS = 24  # of Grafana's grid
WITHOUT_A_SERVER = {"instance"}  # a label that Prometheus adds


@pytest.fixture(scope="module")
def labels_by_metric(tmp_path_factory):
    """Of all metrics of a server that has answered a request."""
    champion = ServedChampion(LoadedVersion(test_batch.Model(), "3"))
    predictions = PredictionLog(tmp_path_factory.mktemp("log"))
    shadow = Shadow(LoadedVersion(test_batch.Model(), "4"))
    with (
        champion_server(champion, predictions=predictions, shadow=shadow) as address,
        subprocesses.local_session() as session,
    ):
        session.post(f"{address}/score", json={"text": "\0"}, timeout=60)
        page = metrics_with(address, "spam_shadow_verdicts_total{")
    families = text_string_to_metric_families(page)
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


@pytest.mark.parametrize("panel", PANELS)
def test_queries_name_metrics_and_labels_of_the_server(panel, labels_by_metric):
    for target in panel["targets"]:
        names = set(re.findall(r"\bspam_\w+", target["expr"]))
        assert names
        assert names <= labels_by_metric.keys()
        labels = {
            *re.findall(r"\b(\w+)=", target["expr"]),
            *re.findall(r"{{(\w+)}}", target["legendFormat"]),
            *(
                name
                for group in re.findall(r"by \((.*?)\)", target["expr"])
                for name in group.split(", ")
            ),
        }
        for name in names:
            assert labels <= labels_by_metric[name] | WITHOUT_A_SERVER


def test_every_metric_has_a_panel(labels_by_metric):
    text = json.dumps(DASHBOARD)
    ending = re.compile("_(bucket|count|sum|created)$")
    metrics = {ending.sub("", name) for name in labels_by_metric}
    assert [name for name in sorted(metrics) if name not in text] == []


@pytest.mark.parametrize("panel", PANELS)
def test_panel_has_what_grafana_needs(panel):
    assert {"id", "title", "type", "gridPos", "targets", "fieldConfig", "datasource"} <= set(panel)
    assert panel["type"] in ("timeseries", "stat", "table")
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= COLUMNS
    (variable,) = DASHBOARD["templating"]["list"]
    source = {"type": variable["query"], "uid": f"${{{variable['name']}}}"}
    for part in (panel, *panel["targets"]):
        assert part["datasource"] == source
    references = [target["refId"] for target in panel["targets"]]
    assert len(set(references)) == len(references)


def test_dashboard_has_what_grafana_needs():
    types = {"title": str, "uid": str, "schemaVersion": int, "panels": list, "time": dict}
    assert {name: type(DASHBOARD[name]) for name in types} == types
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(PANELS)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in DASHBOARD["panels"]}
    assert len(places) == len(PANELS)
    assert "id" not in DASHBOARD  # Grafana would look for a dashboard of its own database
