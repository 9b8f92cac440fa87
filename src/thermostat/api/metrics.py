# SPDX-License-Identifier: Apache-2.0
"""`/metrics`: the server's own figures in Prometheus' text form, without tenants' data."""

import time
from collections.abc import Iterator

import falcon
from prometheus_client import CONTENT_TYPE_LATEST, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from thermostat.api.services import Services
from thermostat.db.deliveries import Queue


class RequestMetrics:
    """Middleware that counts and times requests, by route and not by path."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "thermostat_http_requests",
            "Requests answered",
            ["method", "route", "status"],
            registry=registry,
        )
        self._durations = Histogram(
            "thermostat_http_request_seconds",
            "Duration of requests",
            ["method", "route"],
            registry=registry,
        )

    def process_request(self, req: falcon.Request, _resp: falcon.Response) -> None:
        """Look at the clock."""
        req.context.begun = time.perf_counter()

    def process_response(
        self, req: falcon.Request, resp: falcon.Response, _resource: object, _succeeded: bool
    ) -> None:
        """Count the request."""
        route = req.uri_template or "none"
        method = req.method if req.method in falcon.HTTP_METHODS else "other"
        self._requests.labels(method, route, str(resp.status_code)).inc()
        self._durations.labels(method, route).observe(time.perf_counter() - req.context.begun)


class DatabaseMetrics(Collector):
    """Figures that are read from the alarm database at each scrape."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Give alarms by state, and the outbox by status."""
        alarms = GaugeMetricFamily("thermostat_alarms", "Alarms by state", labels=["state"])
        for state, count in self._services.alarms.count_by_state().items():
            alarms.add_metric([state.value], count)
        yield alarms
        outbox = GaugeMetricFamily(
            "thermostat_outbox_notifications", "Notifications kept, by status", labels=["status"]
        )
        for status, count in self._services.outbox.counts().items():
            outbox.add_metric([status.value], count)
        yield outbox
        silences = GaugeMetricFamily("thermostat_silences", "Silences by status", labels=["status"])
        now_us = self._services.now_us()
        for state_of, count in self._services.silences.count_by_status(now_us).items():
            silences.add_metric([state_of.value], count)
        yield silences
        yield from self._queues()

    def _queues(self) -> Iterator[Metric]:
        """Give what waits, what is dead and what was dropped, by the scheme of the URL."""
        length = GaugeMetricFamily(
            "thermostat_notification_queue_length", "Pending notifications", labels=["scheme"]
        )
        age = GaugeMetricFamily(
            "thermostat_notification_queue_oldest_seconds",
            "Time since the transition of the oldest pending notification; 0: none is pending",
            labels=["scheme"],
        )
        dead = GaugeMetricFamily(
            "thermostat_notification_dead_letters", "Dead notifications kept", labels=["scheme"]
        )
        dropped = GaugeMetricFamily(
            "thermostat_notification_drops",
            "Notifications kept that somebody gave up by hand",
            labels=["scheme"],
        )
        found = self._services.deliveries.queues()
        for scheme in sorted(self._services.schemes | found.keys()):
            queue = found.get(scheme, Queue())
            since_us = 0 if queue.oldest_us is None else self._services.now_us() - queue.oldest_us
            length.add_metric([scheme], queue.pending)
            age.add_metric([scheme], max(0.0, since_us / 1e6))
            dead.add_metric([scheme], queue.dead)
            dropped.add_metric([scheme], queue.dropped)
        yield from (length, age, dead, dropped)

    def describe(self) -> list[Metric]:
        """Give nothing, so that registering does not ask the database."""
        return []


class MetricsResource:
    """The figures."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Show them."""
        resp.content_type = CONTENT_TYPE_LATEST
        resp.data = generate_latest(self._registry)
