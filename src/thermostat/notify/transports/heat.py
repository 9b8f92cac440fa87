# SPDX-License-Identifier: Apache-2.0
"""`trust+heat://`: have Heat replace the members of a scaling group that are unhealthy.

It acts on the notifications of `loadbalancer_member_health` alarms, in the name of the alarm's
owner: the group's resource that holds an unhealthy member is marked unhealthy, and the stack is
updated as it is, upon which Heat makes a new one in its place.

A repetition does no harm: a resource is marked by its physical id, so its replacement never is;
what was replaced or is being deleted is passed over; and what is marked in a stack that is being
updated is left to that update. A notification that comes late asks Octavia first which of its
members still fail.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
from keystoneauth1.adapter import Adapter
from oslo_config import cfg

from thermostat.balancers.octavia import GROUP as OCTAVIA
from thermostat.balancers.octavia import OPTS as OCTAVIA_OPTS
from thermostat.balancers.octavia import OctaviaAway, OctaviaRefused, PoolReader
from thermostat.db.outbox import Notification
from thermostat.endpoints import endpoint_options
from thermostat.notify.opts import GROUP as NOTIFIER
from thermostat.notify.opts import OPTS as NOTIFIER_OPTS
from thermostat.notify.transports.base import DeliveryFailed, no_token
from thermostat.notify.transports.openstack import Service
from thermostat.trusts import TrustError, Trusts

GROUP = "heat"
OPTS = endpoint_options("orchestration")
MARKED = "CHECK_FAILED"
"""The status of a resource that was marked unhealthy."""
REASON = "unhealthy load balancer member"
MAX_DEPTH = 5
"""How deep a member may lie in the stacks of its group; Heat nests no deeper by default."""
LATE_US = 60_000_000
"""The age of a notification from which on its members may have recovered."""
IDS_AT_ONCE = 50
"""How many ids one request names."""
FINAL = frozenset({400, 403, 404})
"""Answers of Heat that another attempt would not change."""


class _Member(msgspec.Struct, frozen=True):
    id: str


class _ReasonData(msgspec.Struct, frozen=True):
    pool_id: str
    stack_id: str
    asg_id: str
    unhealthy_members: tuple[_Member, ...]


class _Body(msgspec.Struct, frozen=True):
    reason_data: _ReasonData


_DECODER = msgspec.json.Decoder(_Body)


class HeatTransport:
    """Heals scaling groups."""

    def __init__(self, conf: cfg.ConfigOpts, trusts: Trusts | None = None) -> None:
        conf.register_opts(NOTIFIER_OPTS, group=NOTIFIER)
        conf.register_opts(OPTS, group=GROUP)
        conf.register_opts(OCTAVIA_OPTS, group=OCTAVIA)
        self._trusts = trusts or Trusts(conf)
        options = conf[NOTIFIER]
        self._timeouts_s = (options.connect_timeout, options.read_timeout)

    def send(self, notification: Notification, now_us: int) -> None:
        """Have the members replaced that the notification names; none of them is fine."""
        trust_id = notification.trust_id
        if trust_id is None:
            raise DeliveryFailed("the alarm has no trust", final=True)
        try:
            wanted = _DECODER.decode(notification.body).reason_data
        except msgspec.ValidationError:
            raise DeliveryFailed(
                "only alarms of type loadbalancer_member_health name members to replace", final=True
            ) from None
        if not wanted.unhealthy_members:
            return
        try:
            self._trusts.token(trust_id)
            heat = _Heat(self._trusts.client(trust_id, GROUP), self._timeouts_s)
            octavia = PoolReader(self._trusts.client(trust_id, OCTAVIA), self._timeouts_s)
        except TrustError as error:
            raise no_token(error) from error
        ids: Sequence[str] = [member.id for member in wanted.unhealthy_members]
        if now_us - notification.created_us > LATE_US:
            ids = _still_failing(octavia, wanted.pool_id, ids)
        _heal(heat, wanted, ids)


@dataclass(frozen=True, slots=True)
class _Resource:
    """One resource of a stack."""

    physical_id: str
    status: str
    stack_id: str
    """The stack that it is in."""


@dataclass(frozen=True, slots=True)
class _Stack:
    """A stack by its place in the API."""

    stack_id: str
    path: str
    status: str

    @property
    def is_busy(self) -> bool:
        """Whether Heat is at work on it."""
        return self.status.endswith("_IN_PROGRESS")


def _still_failing(octavia: PoolReader, pool_id: str, ids: Sequence[str]) -> Sequence[str]:
    """Give those of the members whose check still fails: others would be replaced for nothing."""
    try:
        failing = octavia.failing_members(pool_id) or ()
    except (OctaviaAway, OctaviaRefused) as error:
        raise DeliveryFailed(f"whether the members still fail is not known: {error}") from None
    known = {member.get("id") for member in failing}
    return [one for one in ids if one in known]


def _heal(heat: "_Heat", wanted: _ReasonData, ids: Sequence[str]) -> None:
    if not ids:
        return
    group = heat.stack(wanted.asg_id)
    units = list(_units(heat, group, ids))
    if not units:
        return  # they were replaced meanwhile, or belong to others
    stack = heat.stack(wanted.stack_id)
    unmarked = [unit for unit in units if unit.status != MARKED]
    if stack.is_busy or group.is_busy:
        if unmarked:
            status = stack.status if stack.is_busy else group.status
            raise DeliveryFailed(f"Heat is at work on the stack ({status})")
        return
    for unit in unmarked:
        heat.mark_unhealthy(group, unit)
    heat.update(stack)


def _units(heat: "_Heat", group: _Stack, ids: Sequence[str]) -> Iterator[_Resource]:
    """Give the resources of the group's own stack that are or hold what has these physical ids.

    A resource that holds others has the id of their stack. What Heat deletes is left out.
    """
    for _ in range(MAX_DEPTH):
        above: dict[str, None] = {}
        for resource in heat.resources(group, ids):
            if resource.stack_id == group.stack_id:
                if not resource.status.startswith("DELETE_"):
                    yield resource
            else:
                above[resource.stack_id] = None
        if not above:
            return
        ids = list(above)


class _Heat:
    """Heat's API in the name of an alarm's owner. What goes wrong is a DeliveryFailed."""

    def __init__(self, client: Adapter, timeouts_s: tuple[float, float]) -> None:
        self._heat = Service("Heat", client, timeouts_s, FINAL)

    def stack(self, named: str) -> _Stack:
        """Find a stack by its id, its name, or the ARN that Heat's references may have."""
        path = f"/stacks/{quote(named.rpartition('/')[2], safe='')}"
        answer = self._heat.call("GET", path)
        # Where the stack is named by one word Heat names its place.
        place = urlsplit(answer.headers.get("Location", "")).path.rpartition("/stacks/")[2]
        if answer.status_code != 302 or place.count("/") != 1:
            raise DeliveryFailed(f"Heat answered {answer.status_code} where it names a stack")
        path = f"/stacks/{place}"
        found = self._json(self._heat.call("GET", path, params={"resolve_outputs": "false"}))
        return _Stack(
            stack_id=found["stack"]["id"], path=path, status=found["stack"]["stack_status"]
        )

    def resources(self, group: _Stack, physical_ids: Sequence[str]) -> Iterator[_Resource]:
        """Give the resources with these physical ids in a stack and in those within it."""
        for begin in range(0, len(physical_ids), IDS_AT_ONCE):
            query = {
                "nested_depth": MAX_DEPTH,
                "physical_resource_id": list(physical_ids[begin : begin + IDS_AT_ONCE]),
            }
            answer = self._heat.call("GET", f"{group.path}/resources", params=query)
            for found in self._json(answer)["resources"]:
                (stack,) = (link["href"] for link in found["links"] if link["rel"] == "stack")
                yield _Resource(
                    physical_id=found["physical_resource_id"],
                    status=found["resource_status"],
                    stack_id=stack.rpartition("/")[2],
                )

    def mark_unhealthy(self, group: _Stack, unit: _Resource) -> None:
        """Mark a resource of the group, if it is still there."""
        self._heat.call(
            "PATCH",
            f"{group.path}/resources/{quote(unit.physical_id, safe='')}",
            fine=(404,),
            json={"mark_unhealthy": True, "resource_status_reason": REASON},
        )

    def update(self, stack: _Stack) -> None:
        """Have Heat bring the stack in line with the template and parameters that it has."""
        self._heat.call("PATCH", stack.path, json={})

    @staticmethod
    def _json(answer: Any) -> Any:
        try:
            return answer.json()
        except ValueError:
            raise DeliveryFailed("Heat's answer is not JSON") from None
