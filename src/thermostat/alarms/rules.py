# SPDX-License-Identifier: Apache-2.0
"""The types of alarm rules, by the name that stands in an alarm's `type`."""

from collections.abc import Mapping

from thermostat.alarms.model import ThresholdRule

RULE_TYPES: Mapping[str, type[ThresholdRule]] = {"threshold": ThresholdRule}


def rule_type(rule: ThresholdRule) -> str:
    """Give the name of this rule's type."""
    return next(name for name, known in RULE_TYPES.items() if type(rule) is known)
