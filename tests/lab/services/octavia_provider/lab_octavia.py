# SPDX-License-Identifier: Apache-2.0
"""An Octavia provider without load balancers: what is made of them is ACTIVE and ONLINE at once.

Octavia's own `noop_driver` leaves everything in PENDING_CREATE. This one reports through the real
driver agent, as providers do; health changes are reported from outside (tests/lab/octavia.py).
"""

import logging
import threading
import time
from typing import Any

from octavia.api.drivers.noop_driver import driver as noop
from octavia_lib.api.drivers import driver_lib
from octavia_lib.api.drivers.exceptions import UpdateStatusError
from oslo_config import cfg

LOG = logging.getLogger(__name__)
PAUSE_S = 0.1
ATTEMPTS = 50
# The API's words for the kinds of objects, and the provider interface's.
KINDS = {
    "loadbalancers": "loadbalancer",
    "listeners": "listener",
    "pools": "pool",
    "members": "member",
    "healthmonitors": "health_monitor",
}
IDS = {kind: f"{kind.removesuffix('s')}_id" for kind in KINDS}


def library() -> driver_lib.DriverLibrary:
    """The way to the driver agent."""
    agent = cfg.CONF.driver_agent
    return driver_lib.DriverLibrary(
        status_socket=agent.status_socket_path,
        stats_socket=agent.stats_socket_path,
        get_socket=agent.get_socket_path,
    )


def above(kind: str, item: Any) -> dict[str, str]:
    """The objects that the API has locked for a change of this one, by kind."""
    if kind == "loadbalancers":
        return {}
    if kind in ("members", "healthmonitors"):
        pool = library().get_pool(item.pool_id)
        return {"pools": item.pool_id, "loadbalancers": pool.loadbalancer_id}
    return {"loadbalancers": item.loadbalancer_id}


def report(kind: str, object_id: str, parents: dict[str, str], *, deleted: bool) -> None:
    """Tell the agent that the change is made, once the API has committed it."""
    active = {"provisioning_status": "ACTIVE"}
    now: dict[str, str] = (
        {"provisioning_status": "DELETED"} if deleted else active | {"operating_status": "ONLINE"}
    )
    for _ in range(ATTEMPTS):
        time.sleep(PAUSE_S)
        status = {parent: [{"id": known, **active}] for parent, known in parents.items()}
        status[kind] = [{"id": object_id, **now}]
        try:
            library().update_loadbalancer_status(status)
        except UpdateStatusError as error:
            LOG.info("%s %s: %s; again", kind, object_id, error)
        else:
            return


class LabProvider(noop.NoopProviderDriver):
    """Every change of every object succeeds."""


def _method(kind: str, name: str, verb: str) -> Any:
    stock = getattr(noop.NoopProviderDriver, f"{name}_{verb}")

    def change(self: LabProvider, *args: Any, **kwargs: Any) -> None:
        stock(self, *args, **kwargs)
        # An update has the old object, then the new one with what changed only.
        item = args[0]
        threading.Thread(
            target=report,
            args=(kind, getattr(item, IDS[kind]), above(kind, item)),
            kwargs={"deleted": verb == "delete"},
            daemon=True,
        ).start()

    return change


for _kind, _name in KINDS.items():
    for _verb in ("create", "update", "delete"):
        setattr(LabProvider, f"{_name}_{_verb}", _method(_kind, _name, _verb))
