"""What a server tells Prometheus. No label of a metric comes from a request's text."""

import time
from collections import deque
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from pipeline.monitoring.performance_estimate import expected_performance
from pipeline.serving.http.champion import ServedChampion
from pipeline.serving.http.micro_batches import Answers, MicroBatcher
from pipeline.serving.http.prediction_log import PredictionLog
from pipeline.serving.http.shadow import Shadow
from pipeline.serving.labels import known_sources

SECOND_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60)
MESSAGE_BUCKETS = (1, 2, 5, 10, 50, 100, 500, 1000, 2000)
RECENT_MESSAGES = 10_000  # behind the expected performance


class ServerMetrics:
    """The metrics of one server."""

    def __init__(self, champion: ServedChampion, batcher: MicroBatcher) -> None:
        self.registry = CollectorRegistry()
        self._champion = champion
        self._sources: dict[str, list[str]] = {}  # with a threshold of their own, by version
        self._requests = self._counter("requests", "answered requests", "path", "status")
        self._verdicts = self._counter(
            "verdicts", "labelled messages", "version", "source", "label", "confident"
        )
        self._shadow = self._counter(
            "shadow_verdicts", "labels of a second version", "version", "label", "shadow_label"
        )
        self._refusals = self._counter("refusals", "messages that break an expectation", "reason")
        self.seconds = self._histogram("request_seconds", "time of a good request", SECOND_BUCKETS)
        self.messages = self._histogram("request_messages", "messages in one", MESSAGE_BUCKETS)
        self._gauge("waiting_messages", "not yet begun", batcher.waiting_messages)
        self._gauge("ready", "1 once all shapes are compiled", lambda: champion.is_warm)
        self._gauge("reload_problem", "1 if the champion could not be loaded", self._has_problem)
        self._gauge("reloads", "times that another version took over", lambda: champion.reloads)
        self._gauge("model_age_seconds", "since the version was loaded", self._age)
        self._recent = deque[tuple[str, float, bool]](maxlen=RECENT_MESSAGES)
        self.registry.register(self)

    def count_request(self, path: str, status: int) -> None:
        self._requests.labels(path, status).inc()

    def count_verdicts(self, version: str, sources: list[str | None], answers: Answers) -> None:
        """Counts labels and refusals; a source without a threshold of its own is `other`."""
        known = self._known_sources()
        for source, answer in zip(sources, answers, strict=True):
            name = (source or "").split("/")[0]
            name = name if name in known else "other"
            self._verdicts.labels(version, name, answer["label"], answer["confident"]).inc()
            self._recent.append((version, answer["probability"], answer["label"] == "spam"))
            if answer["refused"]:
                for reason in answer["refused"].split(", "):
                    self._refusals.labels(reason).inc()

    def watch_log(self, predictions: PredictionLog) -> None:
        """Tells the state of a log of predictions, too."""
        self._gauge("logged_messages", "in the log of predictions", lambda: predictions.written)
        self._gauge("unlogged_messages", "that could not be logged", lambda: predictions.lost)

    def watch_shadow(self, shadow: Shadow) -> None:
        """Tells the state of a second version, too."""
        self._gauge("shadow_left_out", "messages that it did not label", lambda: shadow.left_out)

    def count_shadow(self, version: str, label: str, shadow_label: str) -> None:
        """Counts the labels that the champion and a second version give a message."""
        self._shadow.labels(version, label, shadow_label).inc()

    def page(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """What is true of the version that answers, and of its last answers."""
        number = self._champion.current.number
        info = GaugeMetricFamily("spam_model_info", "the version that answers", labels=["version"])
        info.add_metric([number], 1)
        yield info
        recent = [(p, is_spam) for version, p, is_spam in list(self._recent) if version == number]
        yield GaugeMetricFamily("spam_recent_messages", "behind the estimates", len(recent))
        expected = expected_performance([p for p, _ in recent], [spam for _, spam in recent])
        for name, figure in vars(expected).items():
            text = "of the recent messages, with its 95 % interval"
            family = GaugeMetricFamily(f"spam_expected_{name}", text, labels=["bound"])
            for bound in ("value", "low", "high"):
                if figure.value is not None:
                    family.add_metric([bound], getattr(figure, bound))
            yield family

    def _known_sources(self) -> list[str]:
        current = self._champion.current
        if current.number not in self._sources:
            self._sources = {current.number: known_sources(current.model)}
        return self._sources[current.number]

    def _has_problem(self) -> bool:
        return self._champion.problem is not None

    def _age(self) -> float:
        return time.time() - self._champion.current.loaded_at

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"spam_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"spam_{name}", text, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(f"spam_{name}", text, registry=self.registry).set_function(value)
