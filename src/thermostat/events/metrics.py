# SPDX-License-Identifier: Apache-2.0
"""The figures of event alarms."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class EventMetrics:
    """Counters that the judge and the listener move, and gauges that are read at each scrape."""

    def __init__(
        self,
        registry: CollectorRegistry,
        *,
        resident: Callable[[], float],
        connected: Callable[[], float],
    ) -> None:
        self.events = Counter(
            "thermostat_events_total", "Events judged", ["source"], registry=registry
        )
        self.unusable = Counter(
            "thermostat_events_unusable_total",
            "Messages and events that could not be understood",
            ["source"],
            registry=registry,
        )
        self.unowned = Counter(
            "thermostat_events_without_project_total",
            "Events that concern no project, and so no alarm",
            registry=registry,
        )
        self.fired = Counter(
            "thermostat_event_alarms_fired_total",
            "Transitions of event alarms written, repetitions included",
            registry=registry,
        )
        self.conflicts = Counter(
            "thermostat_event_alarm_conflicts_total",
            "Event alarms judged again because they were edited meanwhile",
            registry=registry,
        )
        self.requeued = Counter(
            "thermostat_event_batches_requeued_total",
            "Batches of messages given back to the broker because nothing could be written",
            registry=registry,
        )
        self.passes = Histogram(
            "thermostat_event_judging_seconds",
            "Duration of judging one batch of messages, writing included",
            registry=registry,
        )
        for name, text, read in (
            ("event_alarms_resident", "Event alarms that wait for events", resident),
            ("event_listener_connected", "1 while the broker can be heard, else 0", connected),
        ):
            Gauge(f"thermostat_{name}", text, registry=registry).set_function(read)
