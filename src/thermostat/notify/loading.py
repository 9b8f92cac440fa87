# SPDX-License-Identifier: Apache-2.0
"""The installed transports, found by the entry points `thermostat.transports`."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from oslo_config.cfg import ConfigOpts

from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.base import Transport

ENTRY_POINTS = "thermostat.transports"


def load_transports(conf: ConfigOpts) -> Mapping[str, Transport]:
    """Give a transport per URL scheme that is allowed; schemes of one class share one."""
    conf.register_opts(OPTS, group=GROUP)
    allowed = conf[GROUP].allowed_schemes
    kinds: dict[str, type[Transport]] = {
        entry.name: entry.load()
        for entry in entry_points(group=ENTRY_POINTS)
        if not allowed or entry.name in allowed
    }
    made = {kind: kind(conf) for kind in dict.fromkeys(kinds.values())}
    return {scheme: made[kind] for scheme, kind in kinds.items()}
