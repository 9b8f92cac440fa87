# SPDX-License-Identifier: Apache-2.0
"""One measured value, and the series it belongs to."""

from enum import StrEnum
from typing import Any

import msgspec


class SampleType(StrEnum):
    """How the volumes of one series relate to each other; the values are Ceilometer's."""

    GAUGE = "gauge"
    """A value at an instant; each stands alone."""
    DELTA = "delta"
    """A change since the sample before."""
    CUMULATIVE = "cumulative"
    """A counter that only grows, until it is reset."""


class SeriesKey(msgspec.Struct, frozen=True):
    """What identifies one series: one meter of one resource of one project."""

    meter: str
    resource_id: str
    project_id: str | None


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One value of one meter of one resource at one instant."""

    name: str
    """The meter, such as `cpu_util`."""
    type: SampleType
    unit: str
    """The unit of `volume`, such as `%` or `ns`."""
    volume: float
    """The value; finite."""
    resource_id: str
    project_id: str | None = None
    user_id: str | None = None
    timestamp_us: int
    """Event time in microseconds since the epoch, UTC."""
    monotonic_s: float | None = None
    """The sender's monotonic clock in seconds, where it sent one: rates prefer it."""
    metadata: dict[str, Any] = {}
    """Resource metadata; Nova's `metering.*` keys stand under `user_metadata`."""
    source: str = "openstack"

    @property
    def key(self) -> SeriesKey:
        """The series that this sample belongs to."""
        return SeriesKey(self.name, self.resource_id, self.project_id)
