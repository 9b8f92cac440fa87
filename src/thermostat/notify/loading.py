# SPDX-License-Identifier: Apache-2.0
"""The installed transports, found by the entry points `thermostat.transports`."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from oslo_config.cfg import ConfigOpts

from thermostat.notify.transports.base import Transport

ENTRY_POINTS = "thermostat.transports"


def load_transports(conf: ConfigOpts) -> Mapping[str, Transport]:
    """Give a transport per URL scheme; schemes of one class share one."""
    kinds: dict[str, type[Transport]] = {
        entry.name: entry.load() for entry in entry_points(group=ENTRY_POINTS)
    }
    made = {kind: kind(conf) for kind in dict.fromkeys(kinds.values())}
    return {scheme: made[kind] for scheme, kind in kinds.items()}
