# SPDX-License-Identifier: Apache-2.0
"""What the demonstration asks of the cloud, as the tenant `demo`."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstack.exceptions import NotFoundException

from demo.console import DemoError
from tests.lab import Lab

GROUP_KEY = "server_group"


@dataclass(frozen=True)
class Datapoint:
    """The group's cpu_util over one period."""

    end: str
    average: float
    members: int


class Tenant:
    """The stack, its members and its alarms, through the real APIs."""

    def __init__(self, lab: Lab, stack: str) -> None:
        self._lab = lab
        self._cloud = lab.cloud("demo")
        self._heat = self._cloud.orchestration
        self.stack = stack

    # -- the stack ------------------------------------------------------------------------------

    def openstack(self, *arguments: str, timeout_s: float) -> str:
        """Run the `openstack` command as a user would, and give what it prints."""
        environment = {
            **os.environ,
            "OS_CLIENT_CONFIG_FILE": str(self._lab.info["clouds_file"]),
            "OS_CLOUD": "demo",
        }
        command = [str(Path(sys.executable).parent / "openstack"), *arguments]
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired:
            raise DemoError(f"`openstack {' '.join(arguments)}` took over {timeout_s} s") from None
        if done.returncode:
            raise DemoError(f"`openstack {' '.join(arguments)}`: {(done.stderr or done.stdout)}")
        return done.stdout

    def has_stack(self) -> bool:
        """Tell whether there is such a stack, in whatever state."""
        try:
            self._heat.get_stack(self.stack, resolve_outputs=False)
        except NotFoundException:
            return False
        return True

    def stack_status(self) -> str:
        """Give the stack's status; DemoError if it has failed."""
        found = self._heat.get_stack(self.stack, resolve_outputs=False)
        if found.status.endswith("FAILED"):
            raise DemoError(f"stack {self.stack}: {found.status}: {found.status_reason}")
        return str(found.status)

    def group_size(self) -> int:
        """Give how many members Heat's group has, those being made included."""
        return len(self._group_resources())

    def is_settled(self) -> bool:
        """Tell whether Heat has finished with every member of the group."""
        return all(one.status.endswith("COMPLETE") for one in self._group_resources())

    def _group_resources(self) -> Sequence[Any]:
        group = next(
            one for one in self._heat.resources(self.stack) if "ScalingGroup" in one.resource_type
        )
        return list(self._heat.resources(group.physical_resource_id))

    # -- the members ----------------------------------------------------------------------------

    def members(self) -> dict[str, str]:
        """Give the status of each server of the group, by id."""
        return {
            server.id: server.status
            for server in self._cloud.compute.servers()
            if (server.metadata or {}).get(f"metering.{GROUP_KEY}") == self.stack
        }

    def load(self, server_id: str, *, on: bool) -> None:
        """Make a guest busy, or idle again."""
        self._lab.load(server_id, on)

    # -- measuring and deciding -----------------------------------------------------------------

    def newest_datapoint(self, period_s: int) -> Datapoint | None:
        """Give the group's newest complete cpu_util."""
        rows = self._ask(
            "/v2/meters/cpu_util/statistics",
            **{
                "q.field": [f"metadata.user_metadata.{GROUP_KEY}", "timestamp"],
                "q.op": ["eq", "gt"],
                "q.value": [self.stack, _iso(time.time() - 10 * period_s)],
                "period": period_s,
            },
        )
        if not rows:
            return None
        newest = rows[-1]
        return Datapoint(newest["period_end"], newest["avg"], newest["count"])

    def alarms(self) -> dict[str, dict[str, Any]]:
        """Give the stack's alarms by their comparison operator: `gt` scales up, `lt` down."""
        wanted = f"{self.stack}-"
        return {
            alarm["threshold_rule"]["comparison_operator"]: alarm
            for alarm in self._ask("/v2/alarms")
            if alarm["name"].startswith(wanted)
        }

    def transitions(self, alarm_id: str) -> list[dict[str, Any]]:
        """Give an alarm's changes of state, newest first."""
        history = self._ask(f"/v2/alarms/{alarm_id}/history")
        return [event for event in history if event["type"] == "state transition"]

    def _ask(self, path: str, **query: Any) -> Any:
        answer = self._cloud.session.get(
            path, params=query, endpoint_filter={"service_type": "metering"}
        )
        return answer.json()


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
