# SPDX-License-Identifier: Apache-2.0
"""Several requests to one store at once: how many at most, until when, in which order."""

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from thermostat.outside.base import Answer

T = TypeVar("T")
A = TypeVar("A")


class Deadline:
    """A moment by which all must be done, on the monotonic clock."""

    def __init__(self, timeout_s: float) -> None:
        self._at_s = time.monotonic() + timeout_s

    def left_s(self) -> float:
        """Give the seconds that are left, never negative."""
        return max(0.0, self._at_s - time.monotonic())


@dataclass(frozen=True, slots=True)
class Given:
    """What came of questions that were asked together."""

    answers: Sequence[Answer]
    """In the order of the questions."""
    failure: str = ""
    """Why a request failed, if one did."""
    served: bool = False
    """Whether the store answered to any of them, be it by refusing it."""


class Together:
    """Threads that do a few things at once and keep their connections."""

    def __init__(self, name: str, most: int) -> None:
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=name)

    def each(self, act: Callable[[A], T], tasks: Sequence[A]) -> list[T]:
        """Give what `act` gave for each task; what it raises is raised here."""
        if len(tasks) == 1:
            return [act(tasks[0])]
        return list(self._threads.map(act, tasks))


def in_turn(tasks: Iterable[A], owner: Callable[[A], Hashable]) -> list[A]:
    """Give the tasks so that each owner's first one comes before any one's second."""
    counts: dict[Hashable, int] = {}
    rounds: list[tuple[int, A]] = []
    for task in tasks:
        number = counts[owner(task)] = counts.get(owner(task), -1) + 1
        rounds.append((number, task))
    return [task for _, task in sorted(rounds, key=lambda one: one[0])]
