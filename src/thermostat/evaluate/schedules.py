# SPDX-License-Identifier: Apache-2.0
"""Time constraints by number, and which of them are open at a step. Pure: no I/O, no clock."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.constraints import Span, span
from thermostat.alarms.model import TimeConstraint

ALWAYS = 0


class Schedules:
    """Distinct sets of time constraints; each is asked once for all alarms that share it.

    The answer is kept while it holds, so that a million alarms cost no more than their schedules.
    """

    def __init__(self) -> None:
        self._constraints: list[tuple[TimeConstraint, ...]] = [()]
        self._numbers: dict[tuple[TimeConstraint, ...], int] = {(): ALWAYS}
        self._spans: dict[int, tuple[int, Span]] = {}

    def number(self, constraints: Sequence[TimeConstraint]) -> int:
        """Give the number of these constraints."""
        key = tuple(constraints)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._constraints)
            self._constraints.append(key)
        return number

    def is_open(self, number: int, time_us: int) -> bool:
        """Tell whether alarms with these constraints are evaluated at this time."""
        if number == ALWAYS:
            return True
        since_us, known = self._spans.get(number, (0, Span(is_open=False, until_us=0)))
        if not since_us <= time_us < known.until_us:
            known = span(self._constraints[number], time_us)
            self._spans[number] = (time_us, known)
        return known.is_open

    def open(self, numbers: NDArray[np.int32], time_us: int) -> NDArray[np.bool_]:
        """Tell which of these are open at this time."""
        present = np.unique(numbers)
        answers = np.array([self.is_open(number, time_us) for number in present.tolist()], np.bool_)
        found: NDArray[np.bool_] = answers[np.searchsorted(present, numbers)]
        return found
