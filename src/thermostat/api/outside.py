# SPDX-License-Identifier: Apache-2.0
"""Rules over an outside store's datapoints as requests have them."""

import math
from collections.abc import Mapping
from typing import Any

from thermostat.alarms.outside import (
    AGGREGATION_METHODS,
    MOST_INSTANTS,
    OUTSIDE_TYPES,
    OutsideRule,
    PrometheusRule,
    is_aggregation_method,
)
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field


def decode_outside(kind: str, name: str, document: Mapping[str, Any]) -> OutsideRule:
    """Give the rule of this type that stands in this field. Raises the 400 that names it."""
    fields = given(document, OUTSIDE_TYPES[kind])
    if "type" in fields:
        raise bad_field(f"{name}.type", "Unknown attribute.")
    rule = convert({**fields, "type": kind}, OUTSIDE_TYPES[kind], name)
    if not math.isfinite(rule.threshold):
        raise bad_field(f"{name}.threshold", "must be a finite number")
    if not isinstance(rule, PrometheusRule) and not is_aggregation_method(rule.aggregation_method):
        raise bad_field(
            f"{name}.aggregation_method",
            f"{rule.aggregation_method!r} is not one of {AGGREGATION_METHODS}",
        )
    if rule.points > MOST_INSTANTS:
        raise bad_field(
            f"{name}.for",
            f"spans {rule.points} instants of its granularity, more than {MOST_INSTANTS}",
        )
    return rule
