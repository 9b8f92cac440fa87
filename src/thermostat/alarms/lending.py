# SPDX-License-Identifier: Apache-2.0
"""What an alarm's trust is lent for: calling its `trust+` actions."""

from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.model import Alarm, State

TRUST_PREFIX = "trust+"
HEAT_PREFIX = "trust+heat:"


def is_of_a_trust(action: str) -> bool:
    """Tell whether this action, or one of this scheme, is called with the alarm's trust."""
    return action.startswith(TRUST_PREFIX)


def trust_actions(alarm: Alarm) -> frozenset[tuple[str, ...]]:
    """Give what the alarm's trust is lent for: the actions that are called with it.

    What `trust+heat` acts on is not in its URL but in the rule.
    """
    return frozenset(
        (action, *(_healed(alarm) if action.startswith(HEAT_PREFIX) else ()))
        for state in State
        for action in alarm.actions(state)
        if is_of_a_trust(action)
    )


def lent_anew(before: Alarm, after: Alarm) -> frozenset[str]:
    """Give the actions for which an alarm's new trust is lent as the one before it was.

    None where the alarm has another owner; whoever gave the new one has named these URLs.
    """
    if (before.user_id, before.project_id) != (after.user_id, after.project_id):
        return frozenset()
    return frozenset(action for action, *_ in trust_actions(before) & trust_actions(after))


def _healed(alarm: Alarm) -> tuple[str, ...]:
    """Give the stack that is updated and the group whose members are replaced."""
    if not isinstance(alarm.rule, LoadBalancerRule):
        return ()
    return alarm.rule.stack_id, alarm.rule.autoscaling_group_id
