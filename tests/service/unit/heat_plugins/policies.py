# SPDX-License-Identifier: Apache-2.0
"""A template with a scaling policy, and what stands in for its group and for the time."""

import contextlib
import time
from datetime import UTC, datetime
from typing import Any

POLICY: dict[str, Any] = {
    "auto_scaling_group_id": {"get_resource": "group"},
    "adjustment_type": "change_in_capacity",
    "scaling_adjustment": "1",
}


def template(**changes: Any) -> dict[str, Any]:
    wanted = {name: value for name, value in {**POLICY, **changes}.items() if value is not None}
    return {
        "heat_template_version": "2018-08-31",
        "resources": {
            # In a group's place: its stack of members needs an engine behind a message bus.
            "group": {"type": "OS::Heat::TestResource"},
            "up": {"type": "OS::Metering::ScalingPolicy", "properties": wanted},
        },
        "outputs": {
            "activities": {"value": {"get_attr": ["up", "activities"]}},
            "url": {"value": {"get_attr": ["up", "alarm_url"]}},
        },
    }


class Group:
    """Stands in for a scaling group: the lab has the real one."""

    MIN_SIZE, MAX_SIZE, COMPLETE, SUSPEND = "min_size", "max_size", "COMPLETE", "SUSPEND"

    def __init__(self) -> None:
        self.name, self.action, self.status = "group", "CREATE", "COMPLETE"
        self.size = 1
        self.properties = {"min_size": 1, "max_size": 3}
        self.metadata: dict[str, Any] = {}
        self.adjusted: list[tuple[Any, ...]] = []
        self.meanwhile: list[Any] = []
        """What happens while its size changes."""
        self.just_after: list[Any] = []
        """What happens when it is free again, and its policy does not know that yet."""

    def free(self) -> None:
        self.status = "COMPLETE"

    def metadata_get(self, refresh: bool = False) -> dict[str, Any]:  # noqa: ARG002 - Heat gives it
        return self.metadata

    def metadata_set(self, metadata: dict[str, Any], merge: Any) -> None:
        self.metadata = merge(metadata, dict(self.metadata))

    def frozen_properties(self) -> Any:
        return contextlib.nullcontext()

    def adjust(self, adjustment: float, kind: str, min_step: Any, cooldown: float) -> None:
        from heat.engine import resource

        if self.status != "COMPLETE":
            raise resource.NoActionRequired
        self.adjusted.append((adjustment, kind, min_step, cooldown))
        self.size += int(adjustment)
        self.metadata |= {"scaling_in_progress": True}
        for event in self.meanwhile:
            event()
        now = datetime.now(UTC).replace(tzinfo=None).isoformat()
        self.metadata |= {"scaling_in_progress": False, "cooldown_end": {now: kind}}
        for event in self.just_after:
            event()


class Clock:
    """The time module, with a sleep that is a second long and takes none."""

    def __init__(self, sleep: Any) -> None:
        self._passed = 0.0
        self._sleep = sleep

    def time(self) -> float:
        return time.time() + self._passed

    def sleep(self, seconds: float) -> None:
        self._passed += 1.0
        self._sleep(seconds)
