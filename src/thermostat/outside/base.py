# SPDX-License-Identifier: Apache-2.0
"""What an outside store must be able to do: answer many rules' questions for datapoints at once.

OutsideError
├── OutsideUnavailable    the store as a whole cannot be asked now
└── InvalidOutsideRule    a rule that the store could never answer
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from thermostat.alarms.outside import OutsideRule


class OutsideError(Exception):
    """The base of what goes wrong with outside stores."""


class OutsideUnavailable(OutsideError):  # noqa: N818 - it reads as a state
    """The store as a whole cannot be asked now; the message says why, without secrets."""


class InvalidOutsideRule(OutsideError):  # noqa: N818 - it names what was sent
    """A rule that the store could never answer for this project."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}")
        self.field = field
        """The rule's field, such as `query`."""
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Question:
    """One rule that wants its datapoints."""

    rule: OutsideRule
    project_id: str
    """The alarm's project: the answer has nothing of another's."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The datapoints of one rule's window."""

    values: tuple[float | None, ...]
    """As many as the rule's `points`, its granularity apart, the oldest first; None: none there."""
    reason: str | None = None
    """Why there are none, where the store refused this question; a sentence for the alarm's owner.
    """


class OutsideStore(Protocol):
    """Answers questions; every method may be called from any thread, and blocks for a bounded time.

    Found by the entry points `thermostat.outside_stores`, and made with the configuration.
    """

    types: frozenset[str]
    """The types of rules that it answers."""

    def ask(self, questions: Sequence[Question], now_us: int) -> Sequence[Answer]:
        """Give an answer for each question, in their order, with windows that end before `now_us`.

        Questions of one shape share one request. Where several series answer one PromQL query, the
        value that breaches most decides at each instant. Raises OutsideUnavailable.
        """
        ...

    def check_rule(self, rule: OutsideRule, project_id: str) -> None:
        """Raise InvalidOutsideRule if the rule could never be answered for this project.

        Raises OutsideUnavailable if that needs the store and it cannot be asked now.
        """
        ...
