# SPDX-License-Identifier: Apache-2.0
"""From what is known of a pool to an alarm's state, in words and as `reason_data`. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.model import State
from thermostat.balancers.base import Pool, PoolAnswer, Unreadable

ALARM_TYPE = "loadbalancer_member_health"
FAILED = "ERROR"
"""Octavia's operating status of a member whose health check fails."""
MOST_NAMED = 3
"""How many members a sentence names."""

Member = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state that an alarm is to be in, and why."""

    state: State
    why: str
    unhealthy: Sequence[Member]

    def sentence(self, before: State) -> str:
        """Say it as the reason of a transition from that state, or of staying in it."""
        change = "Transition to" if self.state is not before else "Remaining as"
        return f"{change} {self.state} due to {self.why}"

    def reason_data(self, rule: LoadBalancerRule) -> dict[str, Any]:
        """Give what Aodh gives."""
        return {
            "type": ALARM_TYPE,
            "count": len(self.unhealthy),
            "most_recent": self.unhealthy[-1] if self.unhealthy else None,
            "unhealthy_members": list(self.unhealthy),
            "pool_id": rule.pool_id,
            "stack_id": rule.stack_id,
            "asg_id": rule.autoscaling_group_id,
        }


def decide(
    rule: LoadBalancerRule, project_id: str, answer: PoolAnswer, now_us: int, grace_us: int
) -> Verdict:
    """Give the state that this answer leads to for an alarm of this project.

    A pool of another project counts as one that does not exist.
    """
    if isinstance(answer, Unreadable):
        return Verdict(State.INSUFFICIENT_DATA, answer.reason, ())
    if answer is None or answer.project_id != project_id:
        why = f"a pool that does not exist in the project: {rule.pool_id}"
        return Verdict(State.INSUFFICIENT_DATA, why, ())
    unhealthy = [member for member in answer.failing if is_unhealthy(member, now_us, grace_us)]
    if unhealthy:
        return Verdict(State.ALARM, _named(unhealthy, answer), unhealthy)
    return Verdict(State.OK, "no unhealthy members", ())


def is_unhealthy(member: Member, now_us: int, grace_us: int) -> bool:
    """Tell whether a member counts: it is to serve, its check fails, and it is no longer new.

    A new member's check fails until what is to serve on it has started. One whose age is not known
    counts.
    """
    if member.get("operating_status") != FAILED or not member.get("admin_state_up", True):
        return False
    created_us = _created_us(member.get("created_at"))
    return created_us is None or now_us - created_us >= grace_us


def _created_us(text: object) -> int | None:
    """Give an ISO 8601 instant, which is UTC without an offset, in microseconds; None: unknown."""
    try:
        moment = datetime.fromisoformat(str(text))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return int(moment.timestamp() * 1_000_000)
    except (ValueError, OverflowError):
        return None


def _named(unhealthy: Sequence[Member], pool: Pool) -> str:
    """Name the members by address, port and id."""
    named = ", ".join(
        f"{one.get('address')} port {one.get('protocol_port')} ({one.get('id')})"
        for one in unhealthy[:MOST_NAMED]
    )
    more = f" and {len(unhealthy) - MOST_NAMED} more" if len(unhealthy) > MOST_NAMED else ""
    new = len(pool.failing) - len(unhealthy)
    left_out = f"; {new} that are new or switched off do not count" if new else ""
    return f"{len(unhealthy)} members unhealthy: {named}{more}{left_out}"
