# SPDX-License-Identifier: Apache-2.0
"""Composite rules: the states of leaves and of other alarms, combined. Pure: no I/O, no clock.

The logic is Kleene's, with ok < insufficient data < alarm: `and` is the least, `or` the greatest,
`not` the mirror. So `or` is alarm as soon as one operand is, whatever the others lack.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thermostat.alarms.model import State
from thermostat.alarms.outside import OutsideRule
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    Expression,
    JoinedRule,
    Leaf,
    Not,
    OutsideLeaf,
    ThresholdRule,
)
from thermostat.evaluate import answered, decide
from thermostat.evaluate.reasons import Reason, comparison

LeafRule = ThresholdRule | OutsideRule
"""A rule that has a state of its own within an expression."""
Code = tuple[Any, ...]
"""An expression by the positions of its leaves and references: the same for all of one shape."""


@dataclass(frozen=True, slots=True)
class Program:
    """An expression, taken apart."""

    code: Code
    leaves: tuple[LeafRule, ...]
    """From left to right."""
    references: tuple[str, ...]
    """Ids of other alarms, from left to right."""
    suppressor: str | None

    @staticmethod
    def of(rule: JoinedRule) -> "Program":
        """Take a rule's expression apart."""
        leaves: list[LeafRule] = []
        references: list[str] = []
        code = _compile(rule.expression, leaves, references)
        return Program(code, tuple(leaves), tuple(references), rule.suppressor)


def _compile(node: Expression, leaves: list[LeafRule], references: list[str]) -> Code:
    match node:
        case Leaf() | OutsideLeaf():
            leaves.append(node.rule)
            return ("leaf", len(leaves) - 1)
        case AlarmRef():
            references.append(node.alarm_id)
            return ("alarm", len(references) - 1)
        case Not():
            return ("not", _compile(node.operand, leaves, references))
        case AllOf() | AnyOf():
            word = "and" if isinstance(node, AllOf) else "or"
            return (word, *(_compile(one, leaves, references) for one in node.operands))


def evaluate(
    code: Code, leaves: NDArray[np.int8], references: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Give the state of each of n alarms of one shape.

    `leaves` has the states of their leaves, shape (leaves, n), `references` those of the alarms
    that they name, shape (references, n).
    """
    match code[0]:
        case "leaf":
            return leaves[code[1]]
        case "alarm":
            return references[code[1]]
        case "not":
            return decide.ALARM - evaluate(code[1], leaves, references)
        case word:
            operands = [evaluate(one, leaves, references) for one in code[1:]]
            join = np.minimum if word == "and" else np.maximum
            joined: NDArray[np.int8] = join.reduce(operands)
            return joined


def describe(
    program: Program,
    leaves: Sequence[State],
    references: Sequence[State],
    *,
    before: State,
    after: State,
    suppressor: str | None = None,
) -> Reason:
    """Say how an expression came to its state."""
    parts = [
        *(
            {"rule": _comparison(rule), "state": state}
            for rule, state in zip(program.leaves, leaves, strict=True)
        ),
        *(
            {"alarm_id": alarm_id, "state": state}
            for alarm_id, state in zip(program.references, references, strict=True)
        ),
    ]
    change = f"Transition to {after}" if after is not before else f"Remaining as {after}"
    composition = _words(program.code, program, leaves, references)
    withheld = f"; actions are withheld while alarm {suppressor} is in alarm" if suppressor else ""
    return (
        f"{change} due to {composition}{withheld}",
        {
            "type": "composite",
            "composition": composition,
            "rules": parts,
            "suppressed_by": suppressor,
        },
    )


def _words(
    code: Code, program: Program, leaves: Sequence[State], references: Sequence[State]
) -> str:
    match code[0]:
        case "leaf":
            return f"{_comparison(program.leaves[code[1]])} is {leaves[code[1]]}"
        case "alarm":
            return f"alarm {program.references[code[1]]} is {references[code[1]]}"
        case "not":
            return f"not ({_words(code[1], program, leaves, references)})"
        case word:
            inner = (f"({_words(one, program, leaves, references)})" for one in code[1:])
            return f" {word} ".join(inner)


def _comparison(rule: LeafRule) -> str:
    return comparison(rule) if isinstance(rule, ThresholdRule) else answered.comparison(rule)


@dataclass(slots=True)
class Composite:
    """One alarm with a composite rule, being evaluated."""

    number: int
    program: Program
    leaves: tuple[int, ...]
    """Its leaves, by what `Leaves` knows them by."""
    references: tuple[int, ...]
    """The numbers of the alarms it names, in `References`."""
    suppressor: int
    """The number of its suppressor there; -1: it has none."""
    state: int = int(decide.UNKNOWN)
    suppressed: bool = False
    acts: int = 0
    """Bit i: it has actions for the state of number i."""
    repeats: bool = False
    schedule: int = 0
    told: bool = False
    """Whether its reason has been written since it was created."""
    written: tuple[int, ...] = ()
    """The leaves' states as the database has them."""
    is_open: bool = False
    """Whether a transition of it is open."""
    is_circular: bool = False
    """Whether it names itself, by way of others: it stays in insufficient data."""
    stepped: bool = False
    """Whether a step of a leaf was judged since it was last looked at."""


@dataclass(slots=True)
class References:
    """The states of alarms that other alarms name, whether they are there or not."""

    numbers: dict[tuple[str, str], int] = field(default_factory=dict)
    """By project and id: an alarm that has moved to another project is not the one named."""
    states: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    dependents: list[set[int]] = field(default_factory=list)
    """The numbers of the alarms that name each."""

    def number(self, project_id: str, alarm_id: str, state: int) -> int:
        """Give the number of an alarm; one that is named for the first time is in this state."""
        key = (project_id, alarm_id)
        number = self.numbers.get(key)
        if number is None:
            number = self.numbers[key] = len(self.dependents)
            self.dependents.append(set())
            if number == len(self.states):
                self.states = np.concatenate(
                    [self.states, np.full(number + 8, decide.UNKNOWN, np.int8)]
                )
            self.states[number] = state
        return number

    def set_state(self, project_id: str, alarm_id: str, state: int) -> set[int]:
        """Note the state of an alarm; give the numbers of those that this concerns."""
        number = self.numbers.get((project_id, alarm_id))
        if number is None:
            return set()
        changed = self.states[number] != state
        self.states[number] = state
        return set(self.dependents[number]) if changed else set()
