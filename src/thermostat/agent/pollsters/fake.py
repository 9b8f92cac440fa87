# SPDX-License-Identifier: Apache-2.0
"""A fake pollster that reads nothing: one counter that grows by 1 s of CPU time a poll."""

import time
from collections.abc import Sequence

from oslo_config import cfg

from thermostat.samples.model import Sample, SampleType


class FakePollster:
    """Yields one cumulative `cpu` sample a poll."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._host = conf.agent.host
        self._polls = 0

    def poll(self, timestamp_us: int) -> Sequence[Sample]:
        """Give the next sample of the fake counter, in ns."""
        self._polls += 1
        return [
            Sample(
                name="cpu",
                type=SampleType.CUMULATIVE,
                unit="ns",
                volume=self._polls * 1e9,
                resource_id=f"fake-{self._host}",
                timestamp_us=timestamp_us,
                monotonic_s=time.monotonic(),
                metadata={"display_name": "fake", "vcpus": 1},
            )
        ]

    def close(self) -> None:
        """Do nothing: there is no connection."""
