# SPDX-License-Identifier: Apache-2.0
"""Answers of Prometheus' HTTP API as numbers. Pure: no I/O, no clock."""

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.query import Operator


class BadAnswer(ValueError):  # noqa: N818 - it names what came
    """An answer that is not Prometheus' form."""


class _Series(msgspec.Struct):
    values: list[tuple[float, str]] = []
    """Seconds since the epoch and the value as text; native histograms have none."""


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - Prometheus' word
    result: msgspec.Raw = msgspec.Raw(b"[]")


class _Body(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""
    errorType: str = ""  # noqa: N815 - Prometheus' word


def refusal(body: bytes) -> tuple[str, str]:
    """Give the type and the message of Prometheus' error; empty ones if it is something else."""
    try:
        decoded = msgspec.json.decode(body, type=_Body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "", ""
    return decoded.errorType, decoded.error


def is_success(body: bytes) -> bool:
    """Tell whether this is Prometheus' form of an answer, and no error."""
    try:
        return msgspec.json.decode(body, type=_Body).status == "success"
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


def matrix(body: bytes, start_s: float, step_s: int, points: int) -> NDArray[np.float64]:
    """Give the values as series by instants; NaN: none there. Raises BadAnswer."""
    try:
        data = msgspec.json.decode(body, type=_Body).data
        if data is None or data.resultType != "matrix":
            raise BadAnswer("the store gave no matrix")
        series = msgspec.json.decode(data.result, type=list[_Series])
        values = np.full((len(series), points), np.nan)
        for row, one in enumerate(series):
            for at_s, value in one.values:
                column = round((at_s - start_s) / step_s)
                if 0 <= column < points:
                    values[row, column] = float(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError) as error:
        raise BadAnswer(f"the store's answer cannot be read: {error}") from None
    return values


def most_breaching(
    values: NDArray[np.float64], operator: Operator, threshold: float
) -> tuple[float | None, ...]:
    """Give at each instant the value that breaches most, as the operator compares it.

    For `eq` that is the one nearest to the threshold, for `ne` the farthest.
    """
    if not values.size:
        return (None,) * int(values.shape[1])
    numbers: list[float] = _chosen(values, operator, threshold).tolist()
    return tuple(None if math.isnan(number) else number for number in numbers)


def _chosen(
    values: NDArray[np.float64], operator: Operator, threshold: float
) -> NDArray[np.float64]:
    most: NDArray[np.float64]
    match operator:
        case Operator.GT | Operator.GE:
            most = np.fmax.reduce(values, axis=0)
        case Operator.LT | Operator.LE:
            most = np.fmin.reduce(values, axis=0)
        case Operator.EQ | Operator.NE:
            most = _by_distance(values, threshold, farthest=operator is Operator.NE)
    return most


def _by_distance(
    values: NDArray[np.float64], threshold: float, *, farthest: bool
) -> NDArray[np.float64]:
    distance = np.minimum(np.abs(values - threshold), np.finfo(np.float64).max)
    distance = np.where(np.isnan(values), -1 if farthest else np.inf, distance)
    chosen = distance.argmax(axis=0) if farthest else distance.argmin(axis=0)
    most: NDArray[np.float64] = values[chosen, np.arange(values.shape[1])]
    return most
