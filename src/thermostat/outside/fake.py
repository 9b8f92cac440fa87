# SPDX-License-Identifier: Apache-2.0
"""A fake outside store that answers what it is told to, and fails as it is told to.

It calls nobody.
"""

from collections.abc import Callable, Sequence

from oslo_config.cfg import ConfigOpts

from thermostat.alarms.outside import OUTSIDE_TYPES, OutsideRule
from thermostat.outside.base import Answer, InvalidOutsideRule, OutsideUnavailable, Question


class FakeOutsideStore:
    """Answers each question with the same value all over its window."""

    types: frozenset[str] = frozenset(OUTSIDE_TYPES)

    def __init__(self, conf: ConfigOpts | None = None) -> None:
        del conf
        self.value: float | None = 0.0
        """The value of every datapoint."""
        self.answer: Callable[[Question, int], Answer] = self._answer
        """Gives the answer to one question at a time; replace it for others."""
        self.unavailable: str | None = None
        """Why nobody can be asked, while it is set."""
        self.uncheckable: str | None = None
        """Why no rule can be checked, while it is set."""
        self.invalid: InvalidOutsideRule | None = None
        """Raised for every rule that is to be checked, while it is set."""
        self.polls: list[tuple[Sequence[Question], int]] = []
        """What was asked together, and for what time, oldest first."""

    def ask(self, questions: Sequence[Question], now_us: int) -> Sequence[Answer]:
        """Answer all, or raise OutsideUnavailable."""
        self.polls.append((questions, now_us))
        if self.unavailable is not None:
            raise OutsideUnavailable(self.unavailable)
        return [self.answer(question, now_us) for question in questions]

    def check_rule(self, _rule: OutsideRule, _project_id: str) -> None:
        """Raise InvalidOutsideRule or OutsideUnavailable as told to."""
        if self.invalid is not None:
            raise self.invalid
        if self.uncheckable is not None:
            raise OutsideUnavailable(self.uncheckable)

    def _answer(self, question: Question, _now_us: int) -> Answer:
        return Answer((self.value,) * question.rule.points)
