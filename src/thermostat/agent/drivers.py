# SPDX-License-Identifier: Apache-2.0
"""Finds pollsters and publishers by their entry points."""

from importlib.metadata import entry_points
from typing import Any

from thermostat.agent.errors import ConfigError

POLLSTERS = "thermostat.pollsters"
PUBLISHERS = "thermostat.publishers"


def load(group: str, name: str, option: str) -> Any:
    """Give the driver class of this name. Raises ConfigError, which names the option."""
    found = {point.name: point for point in entry_points(group=group)}
    if name not in found:
        known = ", ".join(sorted(found)) or "none is installed"
        raise ConfigError(f"{option}: There is no {name!r} ({known})")
    try:
        return found[name].load()
    except ImportError as error:
        raise ConfigError(f"{option}: {name!r} cannot be loaded: {error}") from error
