# SPDX-License-Identifier: Apache-2.0
"""What outside stores are asked, when, and what is known of each store. Pure: no I/O, no clock."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.outside import OutsideRule
from thermostat.evaluate.schedules import ALWAYS
from thermostat.evaluate.ticks import US_PER_S
from thermostat.outside.base import Question

RETRY_S = 2
"""How long a store that cannot be reached is let alone before the second try, in seconds."""
LONGEST_RETRY_S = 60
"""How long at the most; each try that fails doubles it."""
TRIES = 2
"""Only after so many failures in a row does a store count as unreachable."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often questions are asked."""

    shortest_s: float = 10.0
    """Seconds between two questions of one rule, at least."""
    longest_s: float = 300.0
    """Seconds between two questions of one rule, at most, however long its granularity."""
    lag_s: float = 0.0
    """Seconds that a store needs until it has what was measured."""
    patience_s: float = 60.0
    """Seconds after which a store that says nothing counts as unreachable."""

    def period_us(self, granularity_s: int) -> int:
        """Give the time between two questions."""
        return int(min(max(granularity_s, self.shortest_s), self.longest_s) * US_PER_S)


@dataclass(frozen=True, slots=True)
class Poll:
    """Questions to one store that are asked together."""

    number: int
    store: str
    slots: NDArray[np.int64]
    questions: Sequence[Question]
    time_us: int
    """What was measured up to this time is asked for."""


@dataclass(slots=True)
class Wanted:
    """Rules that slots are to be opened for, as columns of one length."""

    rules: list[OutsideRule] = field(default_factory=list)
    projects: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    """The number of the alarm that each belongs to."""
    states: list[State] = field(default_factory=list)
    schedules: list[int] = field(default_factory=list)
    repeats: list[int] = field(default_factory=list)
    is_leaf: list[bool] = field(default_factory=list)
    fresh: list[bool] = field(default_factory=list)
    """Whether its state says nothing before the first answer."""

    def __len__(self) -> int:
        return len(self.rules)

    @property
    def alarms(self) -> list[int]:
        """The numbers of the alarms that are no composites."""
        return [
            number
            for number, is_leaf in zip(self.numbers, self.is_leaf, strict=True)
            if not is_leaf
        ]

    def add(
        self,
        rule: OutsideRule,
        project_id: str,
        *,
        number: int,
        state: State,
        schedule: int = ALWAYS,
        repeats: int = 0,
        is_leaf: bool = False,
        is_fresh: bool = False,
    ) -> None:
        """Add one."""
        self.rules.append(rule)
        self.projects.append(project_id)
        self.numbers.append(number)
        self.states.append(state)
        self.schedules.append(schedule)
        self.repeats.append(repeats)
        self.is_leaf.append(is_leaf)
        self.fresh.append(is_fresh)


@dataclass(slots=True)
class Store:
    """What is known of an outside store."""

    name: str
    flying: Poll | None = None
    """The poll under way."""
    since_us: int = 0
    """When it began."""
    failures: int = 0
    """How many polls in a row failed."""
    reason: str = ""
    """Why the last one did."""
    retry_us: int = 0
    """When it may be asked again."""

    def is_silent(self, now_us: int, patience_us: int) -> bool:
        """Tell whether it has said nothing for longer than it is waited for."""
        return self.flying is not None and now_us > self.since_us + patience_us

    def fail(self, reason: str, now_us: int) -> None:
        """Note that a poll failed."""
        self.failures += 1
        self.reason = reason
        rest_s = min(RETRY_S << min(self.failures - 1, 10), LONGEST_RETRY_S)
        self.retry_us = now_us + rest_s * US_PER_S

    def recover(self) -> None:
        """Note that a poll was answered."""
        self.failures = self.retry_us = 0

    @property
    def is_unreachable(self) -> bool:
        """Whether its rules have no datapoints."""
        return self.failures >= TRIES

    @property
    def silence(self) -> str:
        """The reason for the rules of one that is silent."""
        return f"{self.name} does not answer"
