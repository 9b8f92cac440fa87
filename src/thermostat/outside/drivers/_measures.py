# SPDX-License-Identifier: Apache-2.0
"""Gnocchi's measures as windows of datapoints. Pure: no I/O, no clock.

A measure's time is the begin of the period that it covers. As in Aodh, an alarm's datapoints are
the N newest that there are in the N + 1 periods before now and the one that now is in. That one is
not over: what sums or counts up is left out until it is.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate.ticks import US_PER_S

Measures = Mapping[int, float]
"""Values by the begin of their periods, in microseconds since the epoch."""

RATE = "rate:"
_GROWING = ("sum", "count")
_OVER_METRICS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "mean": lambda values: np.nanmean(values, axis=0),
    "median": lambda values: np.nanmedian(values, axis=0),
    "std": lambda values: np.nanstd(values, axis=0),
    "min": lambda values: np.nanmin(values, axis=0),
    "max": lambda values: np.nanmax(values, axis=0),
    "sum": lambda values: np.nansum(values, axis=0),
    "count": lambda values: np.count_nonzero(~np.isnan(values), axis=0).astype(np.float64),
}


class Window(NamedTuple):
    """Which measures one request asks for."""

    granularity_s: int
    points: int
    """N."""
    now_us: int

    @property
    def current_us(self) -> int:
        """When the period began that now is in."""
        step_us = self.granularity_s * US_PER_S
        return self.now_us // step_us * step_us

    @property
    def start_s(self) -> int:
        """From when on measures are asked for: one period more, to take differences from."""
        return self.current_us // US_PER_S - (self.points + 2) * self.granularity_s


def base_of(method: str) -> str:
    """Give the aggregation method without its `rate:`."""
    return method.removeprefix(RATE)


def can_join(method: str) -> bool:
    """Tell whether Gnocchi can take this aggregate over several metrics."""
    return base_of(method) in _OVER_METRICS


def read(rows: Sequence[Any], granularity_s: int) -> Measures:
    """Give the measures of this granularity of Gnocchi's rows of time, granularity and value."""
    return {
        _time_us(time): float(value)
        for time, granularity, value in rows
        if granularity == granularity_s and value is not None
    }


def differences(measures: Measures, granularity_s: int) -> Measures:
    """Give what each value has more than that of the period before; without one there is none."""
    step_us = granularity_s * US_PER_S
    return {
        at_us: value - measures[at_us - step_us]
        for at_us, value in measures.items()
        if at_us - step_us in measures
    }


def joined(method: str, metrics: Sequence[Measures]) -> Measures:
    """Give the aggregate over the metrics, at each time over those that have a value there."""
    times = sorted(set().union(*metrics))
    values = np.array([[one.get(at_us, np.nan) for at_us in times] for one in metrics], np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # infinities may meet
        aggregate = _OVER_METRICS[base_of(method)](values.reshape(len(metrics), len(times)))
    return dict(zip(times, aggregate.tolist(), strict=True))


def newest(measures: Measures, window: Window, method: str) -> tuple[float | None, ...]:
    """Give the N newest, the oldest first; None in front where there are fewer."""
    last_us = window.current_us - (base_of(method) in _GROWING)
    first_us = window.current_us - (window.points + 1) * window.granularity_s * US_PER_S
    found = [measures[at_us] for at_us in sorted(measures) if first_us <= at_us <= last_us]
    missing = (None,) * (window.points - len(found))
    return (*missing, *found[-window.points :])


def _time_us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * US_PER_S)
