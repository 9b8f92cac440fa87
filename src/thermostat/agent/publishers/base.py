# SPDX-License-Identifier: Apache-2.0
"""What a publisher does; drivers are found by the entry points `thermostat.publishers`."""

from typing import Protocol

from oslo_config import cfg


class Publisher(Protocol):
    """Hands batches of samples to a receiver. All calls come from one thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        """Check the options, without waiting for the receiver. Raises ConfigError."""
        ...

    def publish(self, batch: bytes) -> None:
        """Deliver one batch in the columnar form (`thermostat.samples.wire`).

        It has been taken for good when this returns. A batch may come a second time after a fault.
        Returns or raises within a bounded time. Raises BatchRefused or Unavailable.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...
