# SPDX-License-Identifier: Apache-2.0
"""The compact notations of test files: values of a series, and spans of time.

Values are separated by blanks, one for each interval:

    75          the value 75
    _           no value: the sample is missing
    95x3        95 95 95: three times
    _x3         _ _ _
    10+5x3      10 15 20 25: 10, then three steps of 5
    10-5x3      10 5 0 -5
"""

import re
from collections.abc import Sequence
from math import isfinite

from thermostat.replay.errors import NotationError

MOST_VALUES = 100_000
"""How many values one series may have."""

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_TOKEN = re.compile(
    rf"(?P<missing>_)(?:x(?P<missing_times>\d+))?"
    rf"|(?P<value>{_NUMBER})(?:(?P<sign>[+-])(?P<step>{_NUMBER[5:]}))?(?:x(?P<times>\d+))?"
)
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")


def values(text: str) -> Sequence[float | None]:
    """Give the values of a series, None where one is missing. Raises NotationError."""
    found: list[float | None] = []
    for token in text.split():
        found += _expanded(token)
        if len(found) > MOST_VALUES:
            raise NotationError(f"more than {MOST_VALUES} values")
    if not found:
        raise NotationError("there are no values")
    return found


def _expanded(token: str) -> Sequence[float | None]:
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise NotationError(
            f"{token!r} is none of: a number, _, VALUExTIMES, _xTIMES, VALUE+STEPxTIMES,"
            " VALUE-STEPxTIMES"
        )
    if parts["missing"]:
        return [None] * _times(token, parts["missing_times"])
    value = float(parts["value"])
    if parts["step"] is None:
        expanded = [value] * _times(token, parts["times"])
    elif parts["times"] is None:
        raise NotationError(f"{token!r} has a step, but not how often: {token}x…")
    else:
        step = float(parts["sign"] + parts["step"])
        expanded = [value + index * step for index in range(_times(token, parts["times"]) + 1)]
    if not all(map(isfinite, expanded)):
        raise NotationError(f"{token!r} is not finite")
    return [*expanded]


def _times(token: str, text: str | None) -> int:
    if text is None:
        return 1
    times = int(text[:20])
    if not 1 <= times <= MOST_VALUES:
        raise NotationError(f"{token!r}: how often is from 1 to {MOST_VALUES}")
    return times


def duration_s(given: str | float) -> float:
    """Give seconds for a number of them, or a text such as `90s`, `5m`, `1h30m`, `2d`.

    Raises NotationError.
    """
    if isinstance(given, str):
        parts = _DURATION.fullmatch(given.strip())
        if parts is None or not any(parts.groups()):
            try:
                given = float(given)
            except ValueError:
                raise NotationError(
                    f"{given!r} is not a span of time, such as 90s, 5m, 1h30m or 2d"
                ) from None
        else:
            days, hours, minutes, seconds = (float(part or 0) for part in parts.groups())
            given = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if not isfinite(given) or given < 0:
        raise NotationError(f"{given!r} is not a span of time: it must be 0 or more seconds")
    return float(given)


def offset(seconds: float) -> str:
    """Give a span of time in its short form: 90 is `1m30s`."""
    whole, rest = divmod(seconds, 60)
    parts = []
    for unit, size in (("d", 1440), ("h", 60), ("m", 1)):
        count, whole = divmod(whole, size)
        if count:
            parts.append(f"{count:.0f}{unit}")
    if rest or not parts:
        parts.append(f"{rest:g}s")
    return "".join(parts)
