"""/metrics in the form of Prometheus: what the engine has counted, requests, errors, memory.

The only module that sees prometheus_client, which --metrics needs.
"""

import logging
from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from gpt2.records import BOUNDS, Times
from gpt2.ui.server.health import status_of, waiting
from gpt2.ui.server.served import Served
from gpt2.ui.server.watch import log as requests_log

Metrics = Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]


class Meter(logging.Handler, Collector):
    """Counts what is logged, and asks the engine when it is asked itself."""

    def __init__(self, app: Served) -> None:
        """Count from now on."""
        super().__init__()
        self._app = app
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "gpt2_requests",
            "Requests over HTTP; status 0: the client had gone.",
            ["route", "status"],
            registry=self._registry,
        )
        self._errors = Counter(
            "gpt2_errors", "Errors in the program, as its log names them.", registry=self._registry
        )
        self._registry.register(self)
        requests_log.setLevel(logging.INFO)
        logging.getLogger("gpt2").addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line of the log."""
        if record.levelno >= logging.ERROR:
            self._errors.inc()
        elif hasattr(record, "route"):
            self._requests.labels(record.route, str(record.status)).inc()

    def collect(self) -> Metrics:
        """What the engine tells of itself now."""
        pulse = self._app.engine.pulse()
        gauges = {
            "up": ("1: the page is well; 0: it closes, or computes no more.",
                   float(status_of(self._app, pulse) == "ok")),
            "rows": ("Texts in the batch.", pulse.writing),
            "waiting": ("Requests that wait for their turn.", waiting(self._app, pulse)),
            "replicas": ("Processes that compute.", pulse.replicas),
        }  # fmt: skip
        for name, (words, value) in gauges.items():
            yield GaugeMetricFamily(f"gpt2_{name}", words, value)
        texts = CounterMetricFamily("gpt2_texts", "Texts that have ended.", labels=["reason"])
        for reason, count in pulse.texts.items():
            texts.add_metric([reason], count)
        yield texts
        yield CounterMetricFamily(
            "gpt2_tokens", "Tokens written; rate() makes them tokens a second.", pulse.tokens
        )
        yield _histogram("step", "A step of the model for all texts of the batch.", pulse.steps)
        yield _histogram("first_token", "From asking for a text to its first token.", pulse.first)

    async def answer(self, request: Request) -> Response:
        """The route."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)


def _histogram(name: str, words: str, times: Times) -> HistogramMetricFamily:
    limits = [*(str(bound) for bound in BOUNDS), "+Inf"]
    upto = zip(limits, accumulate(times.counts), strict=True)
    return HistogramMetricFamily(
        f"gpt2_{name}_seconds", words, buckets=list(upto), sum_value=times.seconds
    )
