# SPDX-License-Identifier: Apache-2.0
"""Bodies of requests that the server accepts: the description shows them, and the tests send them.

There is one for each type of rule.
"""

from collections.abc import Mapping
from typing import Any

HOOK = "trust+https://heat.example.org/v1/p1/stacks/web/policies/up/signal"
GROUP = {"field": "metadata.user_metadata.server_group", "op": "eq", "value": "web"}
THRESHOLD = {
    "meter_name": "cpu_util",
    "query": [GROUP],
    "statistic": "avg",
    "period": 60,
    "comparison_operator": "gt",
    "threshold": 70.0,
    "evaluation_periods": 3,
}
_GNOCCHI = {
    "aggregation_method": "rate:mean",
    "granularity": 300,
    "evaluation_periods": 2,
    "comparison_operator": "gt",
    "threshold": 80.0,
}
_INSTANCE = "9c58b4f1-6f4b-4b4e-9fbb-0f1e9a0a6d10"

RULES: Mapping[str, Mapping[str, Any]] = {
    "threshold": THRESHOLD,
    "composite": {
        "or": [
            {"type": "threshold", **THRESHOLD},
            {
                "type": "threshold",
                "meter_name": "memory.util",
                "comparison_operator": "gt",
                "threshold": 90.0,
            },
            {
                "not": {
                    "type": "prometheus",
                    "query": 'sum(up{job="web"})',
                    "comparison_operator": "ge",
                    "threshold": 2.0,
                }
            },
        ]
    },
    "combination": {
        "operator": "and",
        "alarm_ids": [
            "5d1f7c7e-3a0e-4c8f-9a57-1f3f5f3f9d01",
            "0ac5a1c5-5f0c-47f0-8a5f-6f0f8c6f2b02",
        ],
    },
    "gnocchi_resources_threshold": {
        "metric": "cpu",
        "resource_type": "instance",
        "resource_id": _INSTANCE,
        **_GNOCCHI,
    },
    "gnocchi_aggregation_by_metrics_threshold": {
        "metrics": [
            "b3f5a1a4-7a38-4a3a-8f0c-1d0a5b1c6e01",
            "c4a6b2b5-8b49-4b4b-9a1d-2e1b6c2d7f02",
        ],
        **_GNOCCHI,
    },
    "gnocchi_aggregation_by_resources_threshold": {
        "metric": "cpu",
        "resource_type": "instance",
        "query": '{"=": {"server_group": "web"}}',
        **_GNOCCHI,
    },
    "prometheus": {
        "query": 'avg(rate(node_cpu_seconds_total{mode="user"}[5m]))',
        "comparison_operator": "gt",
        "threshold": 0.8,
        "evaluation_periods": 3,
        "for": 60,
    },
    "event": {
        "event_type": "compute.instance.*",
        "query": [
            {"field": "traits.state", "op": "eq", "type": "string", "value": "error"},
        ],
    },
    "loadbalancer_member_health": {
        "pool_id": "a0c9a4a3-5b4e-43d6-9c1b-7c8d9e0f1a03",
        "stack_id": "b1d0b5b4-6c5f-44e7-8d2c-8d9e0f1a2b04",
        "autoscaling_group_id": "c2e1c6c5-7d60-45f8-9e3d-9e0f1a2b3c05",
    },
}
"""A rule of each type."""


def alarm(kind: str) -> dict[str, Any]:
    """Give the definition of an alarm with the rule of this type."""
    return {
        "name": "busy",
        "type": kind,
        f"{kind}_rule": RULES[kind],
        "severity": "moderate",
        "alarm_actions": [HOOK],
    }


OFFICE_HOURS = {
    "name": "office hours",
    "description": "on weekdays",
    "start": "0 8 * * 1-5",
    "duration": 36_000,
    "timezone": "Europe/Berlin",
}
ALARMS: Mapping[str, Any] = {
    kind: alarm(kind) | ({"time_constraints": [OFFICE_HOURS]} if kind == "threshold" else {})
    for kind in RULES
}
"""An alarm of each type."""
PREVIEWS: Mapping[str, Any] = {"the last day": {**alarm("threshold"), "hours": 24}}

_SAMPLE = {
    "resource_id": _INSTANCE,
    "project_id": "p1",
    "user_id": "alice",
    "timestamp": "2026-01-01T00:01:00",
    "resource_metadata": {"user_metadata": {"server_group": "web"}},
}
SAMPLES: Mapping[str, Any] = {
    "the HTTP publisher's form": [
        {"name": "cpu_util", "type": "gauge", "unit": "%", "volume": 61.5, **_SAMPLE}
    ],
    "the message bus's form": [
        {
            "counter_name": "cpu_util",
            "counter_type": "gauge",
            "counter_unit": "%",
            "counter_volume": 61.5,
            **_SAMPLE,
        }
    ],
}
