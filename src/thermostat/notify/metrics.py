# SPDX-License-Identifier: Apache-2.0
"""The notifier's own figures, by the scheme of the URL."""

from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

ATTEMPT_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LATENCY_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 3600)
OUTCOMES = ("delivered", "retried", "dead")


class DeliveryMetrics:
    """Counts and times attempts. For many threads at once."""

    def __init__(
        self, schemes: Iterable[str], under_way: Callable[[], int], registry: CollectorRegistry
    ) -> None:
        outcomes = Counter(
            "thermostat_notifications",
            "Attempts to deliver a notification, by what they came to",
            ["scheme", "outcome"],
            registry=registry,
        )
        durations = Histogram(
            "thermostat_notification_seconds",
            "Duration of one attempt",
            ["scheme"],
            buckets=ATTEMPT_BUCKETS_S,
            registry=registry,
        )
        latencies = Histogram(
            "thermostat_notification_latency_seconds",
            "Time from a transition to the delivery of its notification",
            ["scheme"],
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        Gauge(
            "thermostat_notifications_under_way", "Attempts under way now", registry=registry
        ).set_function(under_way)
        known = (*schemes, "other")
        self._outcomes = {
            (scheme, outcome): outcomes.labels(scheme, outcome)
            for scheme in known
            for outcome in OUTCOMES
        }
        self._durations = {scheme: durations.labels(scheme) for scheme in known}
        self._latencies = {scheme: latencies.labels(scheme) for scheme in known}

    def attempted(self, scheme: str, outcome: str, seconds: float) -> None:
        """Count an attempt that came to this, and took so long."""
        scheme = scheme if scheme in self._durations else "other"
        self._outcomes[scheme, outcome].inc()
        self._durations[scheme].observe(seconds)

    def delivered(self, scheme: str, age_s: float) -> None:
        """Note how long after its transition a notification was delivered."""
        self._latencies[scheme].observe(age_s)
