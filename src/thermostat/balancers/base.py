# SPDX-License-Identifier: Apache-2.0
"""What judging members' health needs of a load balancing service."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Pool:
    """A pool as it is now."""

    project_id: str
    """The project that it belongs to."""
    failing: tuple[Mapping[str, Any], ...]
    """The members whose operating status is ERROR, as Octavia's API shows them."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A pool of which nothing is known now."""

    reason: str
    """Why: a sentence for the alarm's owner, without secrets."""


PoolAnswer = Pool | Unreadable | None
"""None: there is no such pool."""


class Balancers(Protocol):
    """Reads pools of all projects. Returns within a bounded time, and never raises."""

    def read(self, pool_ids: Collection[str]) -> Mapping[str, PoolAnswer]:
        """Give what is known of each of these pools."""
        ...
