# SPDX-License-Identifier: Apache-2.0
"""The installed outside stores, found by the entry points `thermostat.outside_stores`."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from oslo_config.cfg import ConfigOpts

from thermostat.outside.base import OutsideStore

ENTRY_POINTS = "thermostat.outside_stores"


def load_outside_stores(conf: ConfigOpts) -> Mapping[str, OutsideStore]:
    """Give each outside store that answers some type of rule as it is configured, by its name."""
    made: dict[str, OutsideStore] = {
        entry.name: entry.load()(conf) for entry in entry_points(group=ENTRY_POINTS)
    }
    return {name: store for name, store in made.items() if store.types}


def stores_by_type(stores: Mapping[str, OutsideStore]) -> Mapping[str, str]:
    """Give the name of the store that answers rules of each type."""
    return {kind: name for name, store in stores.items() for kind in sorted(store.types)}
