# SPDX-License-Identifier: Apache-2.0
"""The configured store, found by the entry points `thermostat.stores`."""

from importlib.metadata import entry_points
from typing import Protocol

from oslo_config import cfg

from thermostat.store.base import SampleStore, StoreUnavailable

ENTRY_POINTS = "thermostat.stores"
GROUP = "store"
OPTS = [
    cfg.StrOpt(
        "driver",
        default="embedded",
        help="Where samples are kept: a name of the entry points thermostat.stores.",
    ),
]


class _Driver(Protocol):
    def from_conf(self, conf: cfg.ConfigOpts) -> SampleStore: ...


def load_store(conf: cfg.ConfigOpts) -> SampleStore:
    """Open the store that [store] driver names. Raises StoreUnavailable or StoreFull."""
    drivers = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    name = conf[GROUP].driver
    if name not in drivers:
        known = ", ".join(sorted(drivers))
        raise StoreUnavailable(f"[store] driver: {name!r} is not one of {known}")
    driver: _Driver = drivers[name].load()
    return driver.from_conf(conf)
