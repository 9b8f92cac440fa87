# SPDX-License-Identifier: Apache-2.0
"""A fake publisher that keeps batches in memory, and fails as it is told to. It sends nothing."""

from oslo_config import cfg

from thermostat.agent.errors import PublishError


class FakePublisher:
    """Collects what is published."""

    def __init__(self, conf: cfg.ConfigOpts | None = None) -> None:
        del conf
        self.batches: list[bytes] = []
        """The batches that were taken, oldest first."""
        self.failure: PublishError | None = None
        """Raised instead of taking a batch, while it is set."""

    def publish(self, batch: bytes) -> None:
        """Keep the batch, or raise the failure."""
        if self.failure is not None:
            raise self.failure
        self.batches.append(batch)

    def close(self) -> None:
        """Do nothing: there is no connection."""
