# SPDX-License-Identifier: Apache-2.0
"""The story: a stack at rest, load, one member more, no load, one member less."""

import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from demo.cloud import Tenant
from demo.console import Console, DemoError
from demo.deployment import POLL_INTERVAL_S, Deployment

PERIOD_S = 10
COOLDOWN_S = 15
HIGH, LOW = "gt", "lt"
AFTER_POLL_S = 3.0
"""The load begins this long after a poll: most of the next interval then already shows it."""
MAINTENANCE = Path(__file__).parent / "maintenance.yml"
TASK = re.compile(r"^TASK \[(.*?)\] \**\n(?:FAILED.*\n)*(\w+): \[\w+\](.*?)\n\n", re.M | re.S)
UPSTREAM_GROWN_S = 20.0
"""Ceilometer, Gnocchi, Aodh and Heat, tuned to 10 s polling and 5 s evaluation (README)."""
GROWN_WITHIN_S = 12.0


@dataclass
class Change:
    """When each stage of one change of size was reached, in seconds since the load changed."""

    decided: float | None = None
    delivered: float | None = None
    resized: float | None = None
    settled: float | None = None
    reason: str = ""


class Story:
    """Drives the stack and tells what happens."""

    def __init__(
        self, console: Console, tenant: Tenant, deployment: Deployment, template: Path
    ) -> None:
        self._console = console
        self._tenant = tenant
        self._deployment = deployment
        self._template = template

    # -- steps ----------------------------------------------------------------------------------

    def create_stack(self, environment: Path) -> None:
        """Create the stack with the `openstack` command; an old one of that name goes first."""
        console, tenant = self._console, self._tenant
        if tenant.has_stack():
            console.progress(f"removing the stack {tenant.stack} of an earlier run")
            tenant.openstack("stack", "delete", "--yes", "--wait", tenant.stack, timeout_s=120)
        parameters = {
            "ImageId": "tiny",
            "InstanceType": "tiny",
            "Period": str(PERIOD_S),
            "Cooldown": str(COOLDOWN_S),
            "HighThreshold": "30",
            "MaxSize": "2",
        }
        words = ["stack", "create", "-t", str(self._template), "-e", str(environment)]
        for name, value in parameters.items():
            words += ["--parameter", f"{name}={value}"]
        relative = [_relative(word) for word in words]
        console.say(f"$ openstack {' '.join(relative)} {tenant.stack}")
        tenant.openstack(*words, tenant.stack, timeout_s=60)
        console.say("the alarm that makes it grow, as its template has it:")
        template = json.loads(self._template.read_text())
        high = {"CPUAlarmHigh": template["Resources"]["CPUAlarmHigh"]}
        console.show(json.dumps(high, indent=2))
        console.wait(
            "Heat creates the group, its first member, two policies, two alarms",
            lambda: True if tenant.stack_status() == "CREATE_COMPLETE" else None,
            timeout_s=120,
            detail=tenant.stack_status,
        )
        for alarm in tenant.alarms().values():
            console.say(f"alarm {_short(alarm, tenant.stack)}: {_condition(alarm)}")

    def rest(self) -> None:
        """Wait until the idle group has been measured and judged."""
        console, tenant = self._console, self._tenant
        self._settle_members(1)
        console.wait(
            "the agent polls twice, the server judges",
            lambda: True if tenant.alarms()[HIGH]["state"] == "ok" else None,
            timeout_s=6 * POLL_INTERVAL_S,
            detail=self._measured,
        )
        for operator in (HIGH, LOW):
            alarm = tenant.alarms()[operator]
            console.say(f"alarm {_short(alarm, tenant.stack)} is {alarm['state']!r}")
        console.say(self._measured())
        console.say("at its minimum size the group does not shrink, so Heat ignores the low alarm")

    def scale_out(self) -> Change:
        """Load the guest right after a poll and watch the group grow."""
        console, tenant = self._console, self._tenant
        self._await_poll()
        (busy,) = tenant.members()
        began = time.time()
        tenant.load(busy, on=True)
        console.say(f"server {busy[:8]} spins from now on ({AFTER_POLL_S:.0f} s after a poll)")
        change = self._watch(HIGH, began, size=2)
        console.say("the group has two members, both ACTIVE")
        return change

    def scale_in(self) -> Change:
        """Stop the load and watch the group shrink."""
        console, tenant = self._console, self._tenant
        began = time.time()
        for server in tenant.members():
            tenant.load(server, on=False)
        console.say("every guest halts again")
        change = self._watch(LOW, began, size=1)
        console.say("the group has one member again (Heat removes the oldest)")
        return change

    def maintain(self) -> None:
        """Run the operator's playbook, module, lookup and action plugin, and tell its tasks."""
        console, stack = self._console, self._tenant.stack
        console.say(f"$ ansible-playbook demo/maintenance.yml -e stack={stack}")
        printed = self._deployment.play(console, str(MAINTENANCE), {"stack": stack})
        for name, result, more in TASK.findall(printed):
            said = re.search(r'"msg": "(.*)"', more)
            console.say(f"{result:8} {name}{': ' + said.group(1) if said else ''}")

    def summary(self, out: Change, back: Change) -> str:
        """Give the table of what took how long."""
        rows = [
            ("", "out", "back"),
            ("load changed", 0.0, 0.0),
            ("alarm raised", out.decided, back.decided),
            ("webhook answered by Heat", out.delivered, back.delivered),
            ("group resized by Heat", out.resized, back.resized),
            ("new member ACTIVE / old one gone", out.settled, back.settled),
        ]
        return "\n".join(
            f"{name:34}{_seconds(one):>10}{_seconds(two):>10}" for name, one, two in rows
        )

    # -- watching -------------------------------------------------------------------------------

    def _watch(self, operator: str, began: float, size: int) -> Change:
        """Watch one alarm and the group until Heat has brought it to this size."""
        console, tenant = self._console, self._tenant
        change = Change()
        alarm = tenant.alarms()[operator]
        name = _short(alarm, tenant.stack)
        timeout_s = 90.0

        def look() -> bool | None:
            if change.decided is None:
                fired = self._fired(alarm["alarm_id"], began)
                if fired:
                    change.decided, change.reason = fired
                    console.say(f"alarm {name} after {change.decided:.1f} s: {change.reason}")
            if change.decided is not None and change.delivered is None:
                when = self._deployment.first_delivery(alarm["alarm_id"], began)
                change.delivered = when and when - began
            if change.resized is None and tenant.group_size() == size:
                change.resized = time.time() - began
                console.say(f"Heat's group has {size} after {change.resized:.1f} s")
            statuses = tenant.members()
            if (
                change.resized is not None
                and list(statuses.values()) == ["ACTIVE"] * size
                and tenant.is_settled()
            ):
                change.settled = time.time() - began
                return True
            return None

        console.wait(
            f"alarm {name} and a group of {size}",
            look,
            timeout_s=timeout_s,
            every_s=0.4,
            detail=self._measured,
        )
        return change

    def _fired(self, alarm_id: str, since: float) -> tuple[float, str] | None:
        """Give when the alarm went to `alarm` after this time, and why."""
        for event in self._tenant.transitions(alarm_id):
            detail = _detail(event)
            when = datetime.fromisoformat(event["timestamp"]).replace(tzinfo=UTC).timestamp()
            if detail["state"] == "alarm" and when >= since:
                return when - since, detail["transition_reason"]
        return None

    def _settle_members(self, size: int) -> None:
        self._console.wait(
            f"{size} member{'s' * (size > 1)} ACTIVE",
            lambda: True if list(self._tenant.members().values()) == ["ACTIVE"] * size else None,
            timeout_s=60,
        )

    def _await_poll(self) -> None:
        """Wait until a little after the agent's next poll; polls are aligned to the epoch."""
        wait_s = POLL_INTERVAL_S - time.time() % POLL_INTERVAL_S + AFTER_POLL_S
        end = time.monotonic() + wait_s
        while (left := end - time.monotonic()) > 0:
            self._console.progress(f"the next poll, in {left:.0f} s")
            time.sleep(min(left, 0.5))

    def _measured(self) -> str:
        point = self._tenant.newest_datapoint(PERIOD_S)
        if point is None:
            return "nothing measured yet"
        members = f"{point.members} member{'s' * (point.members != 1)}"
        return f"cpu_util {point.average:.1f} % over {members}"


def _relative(word: str) -> str:
    path = Path(word)
    root = Path(__file__).parents[1]
    return str(path.relative_to(root)) if path.is_absolute() and path.is_relative_to(root) else word


def _short(alarm: dict[str, Any], stack: str) -> str:
    """Give the resource's name out of `<stack>-<resource>-<suffix>`."""
    return str(alarm["name"]).removeprefix(f"{stack}-").rsplit("-", 1)[0]


def _condition(alarm: dict[str, Any]) -> str:
    rule = alarm["threshold_rule"]
    where = ", ".join(f"{one['field']} = {one['value']}" for one in rule["query"])
    return (
        f"{rule['statistic']} of {rule['meter_name']} {rule['comparison_operator']} "
        f"{rule['threshold']:g} over {rule['evaluation_periods']} x {rule['period']} s"
        f" where {where}"
    )


def _detail(event: dict[str, Any]) -> dict[str, Any]:
    detail = event["detail"]
    return json.loads(detail) if isinstance(detail, str) else detail


def _seconds(value: float | str | None) -> str:
    if isinstance(value, str):
        return value
    return "-" if value is None else f"{value:.1f} s"


def check(out: Change) -> None:
    """Raise DemoError unless the group had grown in time."""
    if out.resized is None or out.resized > GROWN_WITHIN_S:
        raise DemoError(f"the group had grown after {_seconds(out.resized)}, not in 12 s")
