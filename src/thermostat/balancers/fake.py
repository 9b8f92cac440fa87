# SPDX-License-Identifier: Apache-2.0
"""A fake load balancing service: pools that tests fill. It asks nobody."""

from collections.abc import Collection, Mapping
from typing import Any

from thermostat.balancers.base import Pool, PoolAnswer, Unreadable


class FakeBalancers:
    """Pools in memory."""

    def __init__(self) -> None:
        self.pools: dict[str, Pool] = {}
        self.away: str | None = None
        """While it is set, nothing can be read, for this reason."""
        self.asked: list[frozenset[str]] = []
        """The pools that each call asked for."""

    def have(self, pool_id: str, project_id: str, *failing: Mapping[str, Any]) -> None:
        """Let there be this pool with these failing members."""
        self.pools[pool_id] = Pool(project_id, failing)

    def read(self, pool_ids: Collection[str]) -> Mapping[str, PoolAnswer]:
        """Give the pools."""
        self.asked.append(frozenset(pool_ids))
        if self.away is not None:
            return dict.fromkeys(pool_ids, Unreadable(self.away))
        return {pool_id: self.pools.get(pool_id) for pool_id in pool_ids}
