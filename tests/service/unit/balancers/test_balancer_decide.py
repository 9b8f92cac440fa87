# SPDX-License-Identifier: Apache-2.0
"""Which members count, and what an alarm says of them."""

import pytest

from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.model import State
from thermostat.balancers.base import Pool, Unreadable
from thermostat.balancers.decide import decide, is_unhealthy

NOW_US = 1_764_000_000_000_000  # 2025-11-24T16:00:00
GRACE_US = 120_000_000
RULE = LoadBalancerRule(pool_id="p", stack_id="s", autoscaling_group_id="g")
MEMBER = {
    "id": "m1",
    "address": "10.0.0.11",
    "protocol_port": 80,
    "operating_status": "ERROR",
    "admin_state_up": True,
    "created_at": "2025-11-24T15:00:00",
}


def judge(answer, project_id="mine"):
    return decide(RULE, project_id, answer, NOW_US, GRACE_US)


class TestUnhealthy:
    @pytest.mark.parametrize(
        ("changes", "counts"),
        [
            ({}, True),
            ({"operating_status": "ONLINE"}, False),
            ({"operating_status": "NO_MONITOR"}, False),
            ({"operating_status": "OFFLINE"}, False),
            ({"operating_status": "DRAINING"}, False),
            ({"admin_state_up": False}, False),
            ({"created_at": "2025-11-24T15:58:01"}, False),
            ({"created_at": "2025-11-24T15:58:00"}, True),
            ({"created_at": "2025-11-24T17:58:00+02:00"}, True),
            ({"created_at": "2025-11-24T15:58:00.000001"}, False),
            ({"created_at": None}, True),
            ({"created_at": "yesterday"}, True),
        ],
    )
    def test_a_member(self, changes, counts):
        assert is_unhealthy({**MEMBER, **changes}, NOW_US, GRACE_US) is counts


class TestVerdict:
    def test_one_failing_member_is_enough(self):
        verdict = judge(Pool("mine", (MEMBER,)))
        assert verdict.state is State.ALARM
        said = verdict.sentence(State.OK)
        assert said == ("Transition to alarm due to 1 members unhealthy: 10.0.0.11 port 80 (m1)")
        assert verdict.sentence(State.ALARM).startswith("Remaining as alarm due to")
        assert verdict.reason_data(RULE) == {
            "type": "loadbalancer_member_health",
            "count": 1,
            "most_recent": MEMBER,
            "unhealthy_members": [MEMBER],
            "pool_id": "p",
            "stack_id": "s",
            "asg_id": "g",
        }

    def test_many_are_counted_and_some_are_named(self):
        members = tuple({**MEMBER, "id": f"m{number}"} for number in range(5))
        new = {**MEMBER, "created_at": "2025-11-24T15:59:59"}
        said = judge(Pool("mine", (*members, new))).sentence(State.OK)
        assert "5 members unhealthy" in said
        assert said.endswith("(m2) and 2 more; 1 that are new or switched off do not count")

    @pytest.mark.parametrize("members", [(), ({**MEMBER, "admin_state_up": False},)])
    def test_none_is_ok(self, members):
        verdict = judge(Pool("mine", members))
        assert verdict.state is State.OK
        assert verdict.reason_data(RULE)["count"] == 0
        assert verdict.reason_data(RULE)["most_recent"] is None

    def test_another_projects_pool_is_one_that_does_not_exist(self):
        foreign, missing = judge(Pool("theirs", (MEMBER,))), judge(None)
        assert foreign == missing
        assert missing.state is State.INSUFFICIENT_DATA
        assert "does not exist in the project: p" in missing.sentence(State.OK)

    def test_what_cannot_be_read_is_not_known(self):
        verdict = judge(Unreadable("Octavia being out of reach: no answer in time"))
        assert verdict.state is State.INSUFFICIENT_DATA
        assert verdict.sentence(State.OK) == (
            "Transition to insufficient data due to Octavia being out of reach: no answer in time"
        )
