# SPDX-License-Identifier: Apache-2.0
"""What a scaling policy decides, without a stack."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[4] / "heat_plugins"))
from metering import scaling
from metering.scaling import Decision, Group, Policy, Step, Verdict

NOW = 1_000_000.0
SIMPLE = Policy("change_in_capacity", 1, (), None, {"out": 60.0, "in": 300.0})
STEPS = replace(
    SIMPLE, adjustment=None, steps=(Step(0, 20, 1), Step(20, None, 3), Step(None, 0, -1))
)
GROUP = Group("group", size=3, smallest=1, largest=6, unready=None, scaled_at={})


def signal(**data):
    return {"current": "alarm", "reason_data": data}


def decide(policy=SIMPLE, group=GROUP, breach=None, now=NOW) -> Decision:
    return scaling.decide(policy, group, breach, now)


class TestArithmetic:
    """It is Heat's own: these are the cases where hand-written ones differ."""

    @pytest.mark.parametrize(
        ("kind", "adjustment", "min_step", "size", "wanted"),
        [
            ("change_in_capacity", 2, None, 3, 5),
            ("change_in_capacity", -1, None, 3, 2),
            ("change_in_capacity", 9, None, 3, 6),
            ("change_in_capacity", -9, None, 3, 1),
            ("exact_capacity", 4, None, 3, 4),
            ("percent_change_in_capacity", 10, None, 3, 4),
            ("percent_change_in_capacity", -10, None, 3, 2),
            ("percent_change_in_capacity", 50, None, 3, 4),
            ("percent_change_in_capacity", -50, None, 5, 3),
            ("percent_change_in_capacity", 10, 2, 3, 5),
        ],
    )
    def test_size(self, kind, adjustment, min_step, size, wanted):
        policy = replace(SIMPLE, adjustment_type=kind, adjustment=adjustment, min_step=min_step)
        decision = decide(policy, replace(GROUP, size=size))
        assert (decision.verdict, decision.size) == (Verdict.SCALE, wanted)
        assert decision.adjustment == wanted - size
        assert decision.reason == f"group group goes from {size} to {wanted}"

    @pytest.mark.parametrize(
        ("adjustment", "size", "reason"),
        [
            (1, 6, "group group has its largest size, 6"),
            (-1, 1, "group group has its smallest size, 1"),
        ],
    )
    def test_at_a_bound(self, adjustment, size, reason):
        decision = decide(replace(SIMPLE, adjustment=adjustment), replace(GROUP, size=size))
        assert (decision.verdict, decision.code) == (Verdict.DECLINE, "at_bound")
        assert decision.reason == reason

    def test_no_change(self):
        policy = replace(SIMPLE, adjustment_type="exact_capacity", adjustment=3)
        assert decide(policy).code == "no_change"


class TestSteps:
    @pytest.mark.parametrize(
        ("breach", "wanted"), [(0, 4), (19.9, 4), (20, 6), (1e9, 6), (-0.1, 2), (None, 4)]
    )
    def test_by_how_far_the_metric_is_past_the_threshold(self, breach, wanted):
        assert decide(STEPS, breach=breach).size == wanted

    def test_a_gap_is_said(self):
        decision = decide(replace(STEPS, steps=(Step(10, 20, 1),)), breach=5.0)
        assert (decision.verdict, decision.code) == (Verdict.DECLINE, "no_step")
        assert decision.reason == "no step is for a breach of 5"

    @pytest.mark.parametrize(
        ("data", "breach"),
        [
            ({"most_recent": 95.0, "threshold": 80, "comparison_operator": "gt"}, 15.0),
            ({"most_recent": 10.0, "threshold": 20, "comparison_operator": "lt"}, 10.0),
            ({"most_recent": 30.0, "threshold": 20, "comparison_operator": "le"}, -10.0),
            ({"most_recent": 70.1, "threshold": 50.0}, 20.1),
            ({"most_recent": 10**400, "threshold": 80}, math.inf),
            ({"most_recent": math.inf, "threshold": 10**400}, None),
            ({"most_recent": math.nan, "threshold": 80}, None),
            ({"most_recent": 95.0}, None),
            ({"most_recent": None, "threshold": 80}, None),
            ({"most_recent": "high", "threshold": 80}, None),
            ({"most_recent": True, "threshold": 80}, None),
        ],
    )
    def test_breach_of_a_signal(self, data, breach):
        assert scaling.breach_of(signal(**data)) == breach

    @pytest.mark.parametrize("details", [None, "text", [], {}, {"reason_data": "text"}])
    def test_breach_of_other_signals(self, details):
        assert scaling.breach_of(details) is None

    @pytest.mark.parametrize(
        ("steps", "wrong"),
        [
            ([Step(0, 10, 1), Step(10, None, 2), Step(None, 0, -1)], None),
            ([Step(10, 10, 1)], (0, "lower_bound 10 is not below upper_bound 10")),
            ([Step(0, 10, 1), Step(9, None, 2)], (1, "overlaps another step")),
            ([Step(None, None, 1), Step(5, 6, 2)], (1, "overlaps another step")),
        ],
    )
    def test_steps_that_cannot_be(self, steps, wrong):
        assert scaling.overlapping(steps) == wrong


class TestWaiting:
    def test_a_busy_group(self):
        decision = decide(group=replace(GROUP, unready="UPDATE IN_PROGRESS"))
        assert (decision.verdict, decision.code) == (Verdict.WAIT, "busy")
        assert decision.reason == (
            "group group is busy (UPDATE IN_PROGRESS): it cannot go from 3 to 4 now"
        )

    def test_growing_cools_down_after_growing_only(self):
        grown = replace(GROUP, scaled_at={"out": NOW - 50})
        out, back = decide(group=grown), decide(replace(SIMPLE, adjustment=-1), grown)
        assert (out.verdict, out.code, round(out.wait_s)) == (Verdict.WAIT, "cooldown", 10)
        assert "cools down for another 10 s" in out.reason
        assert back.verdict is Verdict.SCALE

    def test_shrinking_has_a_cooldown_of_its_own(self):
        shrunk = replace(GROUP, scaled_at={"in": NOW - 299, "out": NOW - 61})
        assert decide(replace(SIMPLE, adjustment=-1), shrunk).code == "cooldown"
        assert decide(group=shrunk).verdict is Verdict.SCALE

    def test_another_policys_cooldown_holds_for_both(self):
        cooling = replace(GROUP, cooling_until=NOW + 5)
        for adjustment in (1, -1):
            decision = decide(replace(SIMPLE, adjustment=adjustment), cooling)
            assert (decision.code, decision.wait_s) == ("cooldown", 5.0)

    def test_the_bound_comes_first(self):
        """Waiting for what cannot be done helps nobody."""
        full = replace(GROUP, size=6, unready="UPDATE IN_PROGRESS")
        assert decide(group=full).verdict is Verdict.DECLINE
