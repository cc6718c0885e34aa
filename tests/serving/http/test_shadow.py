"""A second version labels what the champion has answered, and no client notices."""

import threading

import mlflow
import pandas as pd
import pytest

from pipeline.monitoring.predictions import read_predictions
from pipeline.registry import subprocesses
from pipeline.serving.http import shadow as module
from pipeline.serving.http.champion import LoadedVersion, ServedChampion
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.shadow import Shadow, shadow_version
from tests.harness import small_models
from tests.harness.errors import error_of
from tests.harness.ledger_entries import make_champion
from tests.harness.mlflow_store import store_at
from tests.harness.model_server import champion_server, metrics_with
from tests.harness.servers import SECONDS
from tests.serving import test_batch


class Opposite(test_batch.Model):
    """Ham where the other model says spam; may wait, and breaks at `broken`."""

    def __init__(self):
        super().__init__()
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def predict(self, table):
        assert self.may_go_on.wait(SECONDS)
        if "broken" in table["text"].tolist():
            raise ValueError("broken")
        answers = super().predict(table)
        return answers.assign(label=answers["label"].map({"spam": "ham", "ham": "spam"}))


@pytest.fixture
def model():
    return Opposite()


def served(shadow, predictions=None):
    champion = ServedChampion(LoadedVersion(test_batch.Model(), "3"))
    return champion_server(champion, predictions=predictions, shadow=shadow)


def ask(address, *texts):
    with subprocesses.local_session() as session:
        body = [{"text": text, "source": "sms"} for text in texts]
        answers = session.post(f"{address}/score", json=body, timeout=60).json()
    return [(answer["label"], answer["model_version"]) for answer in answers]


PAIR = 'spam_shadow_verdicts_total{label="%s",shadow_label="%s",version="4"} %s\n'


def test_labels_of_both_versions_are_counted_and_logged(model, tmp_path):
    predictions = PredictionLog(tmp_path)
    shadow = Shadow(LoadedVersion(model, "4"), predictions)
    with served(shadow, predictions) as address:
        assert ask(address, "win", "win more", "hello") == [("spam", "3")] * 2 + [("ham", "3")]
        metrics_with(address, PAIR % ("spam", "ham", "2.0"))
        metrics_with(address, PAIR % ("ham", "spam", "1.0"))
    rows = read_predictions(tmp_path, ["model_version", "label", "text_id"])
    labels = rows.groupby("model_version")["label"].apply(sorted).to_dict()
    assert labels == {"3": ["ham", "spam", "spam"], "4": ["ham", "ham", "spam"]}
    assert rows["text_id"].nunique() == 3
    assert model.sources == ["sms"] * 3


def test_client_does_not_wait_for_the_shadow(model, monkeypatch):
    monkeypatch.setattr(module, "WAITING_LABELLED", 1)
    model.may_go_on.clear()
    with served(Shadow(LoadedVersion(model, "4"))) as address:
        for _ in range(4):
            assert ask(address, "win", "hello") == [("spam", "3"), ("ham", "3")]
        metrics_with(address, "spam_shadow_left_out 4.0\n")  # one is begun, and one waits
        model.may_go_on.set()
        metrics_with(address, PAIR % ("spam", "ham", "2.0"))


def test_shadow_that_breaks_goes_on_with_the_next_request(model, caplog):
    with served(Shadow(LoadedVersion(model, "4"))) as address:
        assert ask(address, "broken") == [("ham", "3")]
        assert ask(address, "win") == [("spam", "3")]
        metrics_with(address, PAIR % ("spam", "ham", "1.0"))
        metrics_with(address, "spam_shadow_left_out 1.0\n")
    assert "serve: the shadow cannot label a request: ValueError" in caplog.text


def test_version_is_named_by_number_or_alias(tmp_path, empty_database):
    project = small_models.SmallRegistry(tmp_path, empty_database)
    with store_at(project.address, project.folder):
        model = project.add()
        store = mlflow.MlflowClient(project.address, project.address)
        make_champion(store, "1", model.artifacts.parent)
        found = [shadow_version(name) for name in ("1", "champion")]
        assert [version.number for version in found] == ["1", "1"]
        texts = pd.DataFrame({"text": small_models.TEXTS})
        answers = found[0].model.predict(texts)
        assert answers["label"].tolist() == model.answers(small_models.TEXTS)["label"].tolist()
        line = error_of(shadow_version, "challenger")
    assert line == "--shadow: no version 'challenger'; aliases are: champion"
