# SPDX-License-Identifier: Apache-2.0
"""What a scaling policy decides. Pure: no I/O, no clock; times are seconds since the epoch.

The arithmetic is Heat's own (heat.scaling.scalingutil). What is decided here is which adjustment a
signal asks for, and whether the group may follow it now.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from heat.scaling import scalingutil

OUT, IN = "out", "in"


class Verdict(Enum):
    """What becomes of a signal."""

    SCALE = "scale"
    WAIT = "wait"
    """Later, when the group is free, if it is still true then."""
    DECLINE = "decline"


@dataclass(frozen=True)
class Step:
    """One step of a policy: what to do when the metric is this far past the threshold."""

    lower: float | None
    """Inclusive; None: no bound."""
    upper: float | None
    """Exclusive; None: no bound."""
    adjustment: float

    def holds(self, breach: float) -> bool:
        """Tell whether a breach of this size falls into the step."""
        is_above = self.lower is None or breach >= self.lower
        return is_above and (self.upper is None or breach < self.upper)


@dataclass(frozen=True)
class Policy:
    """A policy as its properties say."""

    adjustment_type: str
    adjustment: float | None
    """A simple policy's; None: it has steps."""
    steps: Sequence[Step]
    min_step: int | None
    cooldown_s: Mapping[str, float]
    """By direction: how long after a group has grown (`out`) or shrunk (`in`) it must not again."""


@dataclass(frozen=True)
class Group:
    """A group as it is when a signal comes."""

    name: str
    size: int
    smallest: int
    largest: int
    unready: str | None
    """Why its size cannot be changed now, such as `UPDATE IN_PROGRESS`; None: it can."""
    scaled_at: Mapping[str, float]
    """By direction: when a policy of this type last changed its size."""
    cooling_until: float = 0.0
    """Until when a policy of another type has asked that it be left alone."""


@dataclass(frozen=True)
class Decision:
    """What becomes of a signal, and why."""

    verdict: Verdict
    code: str
    """The reason in one word."""
    reason: str
    """The reason in a sentence."""
    size: int
    """The size that the group is to have, or keeps."""
    adjustment: float = 0.0
    wait_s: float = 0.0
    """How many seconds from now it may be possible; 0: not known."""

    @property
    def direction(self) -> str:
        """Give whether it makes the group larger (`out`) or smaller (`in`)."""
        return OUT if self.adjustment > 0 else IN


def breach_of(details: Any) -> float | None:
    """Give how far an alarm's newest datapoint is past its threshold: positive where it breaches.

    None where the signal does not tell, such as one that was sent by hand.
    """
    data = details.get("reason_data") if isinstance(details, Mapping) else None
    if not isinstance(data, Mapping):
        return None
    value, threshold = _number(data.get("most_recent")), _number(data.get("threshold"))
    if value is None or threshold is None:
        return None
    is_upper = data.get("comparison_operator") not in ("lt", "le")
    breach = value - threshold if is_upper else threshold - value
    # 70.1 - 50 is a little less than 20.1: a bound is meant as it is written.
    return None if math.isnan(breach) else float(f"{breach:.12g}")


def _number(value: Any) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def decide(policy: Policy, group: Group, breach: float | None, now: float) -> Decision:
    """Decide about a signal. A breach that is not known counts as 0: just past the threshold."""

    def declined(code: str, reason: str) -> Decision:
        return Decision(Verdict.DECLINE, code, reason, group.size)

    adjustment = policy.adjustment
    if adjustment is None:
        step = next((one for one in policy.steps if one.holds(breach or 0.0)), None)
        if step is None:
            return declined("no_step", f"no step is for a breach of {breach or 0.0:g}")
        adjustment = step.adjustment
    size = int(
        scalingutil.calculate_new_capacity(
            group.size,
            adjustment,
            policy.adjustment_type,
            policy.min_step,
            group.smallest,
            group.largest,
        )
    )
    if size == group.size:
        bound = "largest" if size == group.largest else "smallest"
        at_bound = size in {group.largest, group.smallest}
        return declined(
            "at_bound" if at_bound else "no_change",
            f"group {group.name} has its {bound} size, {size}"
            if at_bound
            else f"group {group.name} keeps its size, {size}",
        )
    change = f"from {group.size} to {size}"
    wanted = size - group.size
    if group.unready is not None:
        reason = f"group {group.name} is busy ({group.unready}): it cannot go {change} now"
        return Decision(Verdict.WAIT, "busy", reason, group.size, wanted)
    direction = OUT if wanted > 0 else IN
    until = max(
        group.cooling_until,
        group.scaled_at.get(direction, 0.0) + policy.cooldown_s.get(direction, 0.0),
    )
    if now < until:
        reason = (
            f"group {group.name} cools down for another {until - now:.0f} s: "
            f"it cannot go {change} now"
        )
        return Decision(Verdict.WAIT, "cooldown", reason, group.size, wanted, wait_s=until - now)
    return Decision(
        Verdict.SCALE, "scaled", f"group {group.name} goes {change}", size, adjustment=wanted
    )


def fraction(adjustment_type: str, adjustment: float) -> str | None:
    """Tell why such a policy may not adjust by this; None: it may."""
    if adjustment_type == scalingutil.PERCENT_CHANGE_IN_CAPACITY or adjustment == int(adjustment):
        return None
    return f"{adjustment:g} is no whole number, as {adjustment_type} needs"


def overlapping(steps: Sequence[Step]) -> tuple[int, str] | None:
    """Give the place of a step that cannot be, and why; None: all are well."""
    for place, step in enumerate(steps):
        if step.lower is not None and step.upper is not None and step.lower >= step.upper:
            return place, f"lower_bound {step.lower:g} is not below upper_bound {step.upper:g}"
        for other in steps[:place]:
            if _meet(step, other):
                return place, "overlaps another step"
    return None


def _meet(one: Step, other: Step) -> bool:
    first_lower = float("-inf") if one.lower is None else one.lower
    other_lower = float("-inf") if other.lower is None else other.lower
    first_upper = float("inf") if one.upper is None else one.upper
    other_upper = float("inf") if other.upper is None else other.upper
    return first_lower < other_upper and other_lower < first_upper
