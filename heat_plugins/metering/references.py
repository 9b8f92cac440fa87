# SPDX-License-Identifier: Apache-2.0
"""References to alarms within the properties of an alarm that joins others.

Before anything is made, a reference to a resource of the stack must be one to an alarm, and an id
that is written as it is must be that of an alarm of the project.
"""

from collections.abc import Iterator
from typing import Any

from heat.engine import function
from oslo_log import log as logging

from . import actions, client

LOG = logging.getLogger(__name__)
Written = tuple[list[Any], Any]
"""The path of a property, and its value with its functions unresolved."""


def twice(stack: Any, raws: list[Any]) -> int | None:
    """Give the place of a reference that is there before; None: each is there once."""
    seen: list[Any] = []
    for place, raw in enumerate(raws):
        target = actions.referenced(stack, raw)
        known = raw if target is None else (target.name,)
        if known in seen and (target is not None or isinstance(raw, str)):
            return place
        seen.append(known)
    return None


class RefersToAlarms:
    """An alarm some of whose properties are references to alarms."""

    def alarm_references(self) -> Iterator[Written]:
        """Give the references as the template has them."""
        raise NotImplementedError

    def validate(self: Any) -> Any:
        """Refuse also references to what is no alarm."""
        result = super().validate()  # type: ignore[misc]
        for path, raw in self.alarm_references():
            reason = _why_not(self.stack, raw, self.client)
            if reason is not None:
                raise self.property_error(path, reason)
        return result


def _why_not(stack: Any, raw: Any, alarms: Any) -> str | None:
    """Tell why this is no reference to an alarm; None: it is one, or that cannot be told yet."""
    target = actions.referenced(stack, raw)
    if target is not None:
        is_other = target.type().startswith(("OS::", "AWS::")) and "Alarm" not in target.type()
        return f"{target.name} ({target.type()}) is no alarm" if is_other else None
    if actions.depends_on_resources(raw):
        return None
    alarm_id = function.resolve(raw)
    if not isinstance(alarm_id, str) or not alarm_id:
        return None
    try:
        alarms().get(alarm_id)
    except client.AlarmNotFound as error:
        return str(error)
    except client.AlarmServiceError as error:
        LOG.warning("Alarm %s is not looked up before the stack is made: %s", alarm_id, error)
    return None
