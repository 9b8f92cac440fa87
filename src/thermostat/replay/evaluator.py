# SPDX-License-Identifier: Apache-2.0
"""What a replay needs of the evaluator, while its modules are being renamed."""

from importlib import import_module
from typing import Any

try:
    _ticks: Any = import_module("thermostat.evaluate.ticks")
    _reference: Any = import_module("thermostat.evaluate.reference")
except ModuleNotFoundError:
    _ticks = import_module("thermostat.evaluate.window")
    _reference = import_module("thermostat.evaluate.decide")


def tick_s(period_s: int) -> int:
    """Give the step of a window in seconds."""
    return int(_ticks.tick_s(period_s))


def window_length(rule: Any) -> int:
    """Give how many datapoints a window has."""
    return int(_ticks.window_length(rule))


def statistic_of(statistic: Any, samples: Any) -> float:
    """Give a statistic of the (event time, volume) pairs of one period, in any order."""
    if hasattr(_reference, "statistic_of"):
        return float(_reference.statistic_of(statistic, samples))
    return float(_reference.datapoint(statistic, 0, 0, samples).value)


def describe_to(engine: Any, store: Any) -> None:
    """Let the engine know of new and changed series, if it wants to be told."""
    if hasattr(engine, "describe"):
        store.subscribe(engine.describe)
