# SPDX-License-Identifier: Apache-2.0
"""What a pollster does; drivers are found by the entry points `thermostat.pollsters`."""

from collections.abc import Sequence
from typing import Protocol

from oslo_config import cfg

from thermostat.samples.model import Sample


class Pollster(Protocol):
    """Reads meters of resources. All calls come from one thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Check the options and make ready, without waiting for what will be polled.

        Raises ConfigError.
        """
        ...

    def poll(self, timestamp_us: int) -> Sequence[Sample]:
        """Read every meter once; each sample bears this time, and monotonic_s its real one.

        Returns within the polling interval whatever the polled resources do, leaving out those that
        do not answer. Raises PollError where nothing could be read.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...
