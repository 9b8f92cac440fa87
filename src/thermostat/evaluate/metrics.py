# SPDX-License-Identifier: Apache-2.0
"""The evaluator's own figures."""

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from thermostat.evaluate.engine import Engine
from thermostat.evaluate.inbox import Inbox


class EvaluatorMetrics:
    """Counters that the loop moves, and gauges that are read at each scrape."""

    def __init__(
        self,
        registry: CollectorRegistry,
        engine: Engine,
        inbox: Inbox,
        behind_s: Callable[[], float],
        now_us: Callable[[], int],
    ) -> None:
        self.passes = Histogram(
            "thermostat_evaluation_seconds",
            "Duration of one pass over the alarms",
            registry=registry,
        )
        self.transitions = Counter(
            "thermostat_transitions_total",
            "State transitions written",
            ["state"],
            registry=registry,
        )
        self.conflicts = Counter(
            "thermostat_transition_conflicts_total",
            "Judgements dropped because the alarm was edited meanwhile",
            registry=registry,
        )
        self.failures = Counter(
            "thermostat_evaluation_failures_total", "Passes that failed", registry=registry
        )
        self.late = Counter(
            "thermostat_samples_late_total",
            "Samples that came too late for an open window of an alarm they match",
            registry=registry,
        )
        self.parked = Gauge(
            "thermostat_alarms_parked",
            "Alarms that are left alone for a while: the database refuses their transitions",
            registry=registry,
        )
        gauges: tuple[tuple[str, str, Callable[[], float]], ...] = (
            ("alarms_resident", "Alarms being evaluated", lambda: len(engine)),
            ("steps_failed", "Steps that could not be judged", lambda: engine.failures),
            (
                "evaluation_queue_samples",
                "Stored samples that wait to be counted in windows",
                lambda: inbox.samples,
            ),
            (
                "evaluation_queue_seconds",
                "How long the oldest of them has waited",
                lambda: inbox.age_s,
            ),
            (
                "evaluation_lag_seconds",
                "How far the oldest step that is not judged lies behind the clock",
                behind_s,
            ),
            (
                "samples_ahead",
                "Samples that wait for the steps that they belong to",
                lambda: engine.held,
            ),
            (
                "samples_ahead_dropped",
                "Samples too far ahead that there was no room for",
                lambda: engine.dropped,
            ),
        )
        late_rules = Gauge(
            "thermostat_outside_rules_late",
            "Rules whose outside store should have been asked for datapoints by now",
            ["store"],
            registry=registry,
        )
        for store in engine.asked.stores:
            late_rules.labels(store).set_function(partial(_late, engine, store, now_us))
        for name, text, read in gauges:
            Gauge(f"thermostat_{name}", text, registry=registry).set_function(read)


def _late(engine: Engine, store: str, now_us: Callable[[], int]) -> float:
    return engine.asked.late(store, now_us())
