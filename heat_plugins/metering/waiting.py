# SPDX-License-Identifier: Apache-2.0
"""A signal that waits for its group, kept in its policy's metadata: one per policy.

The newest one waits in the place of the one before it, in a thread of its own: so none relies on
another that may have ended with its engine.
"""

import uuid
from contextlib import suppress
from typing import Any

from heat.common import exception

WAITING = "waiting_signal"
"""The policy's metadata that says which signal waits."""


class Waiting:
    """A signal that waits."""

    def __init__(self) -> None:
        self._id = uuid.uuid4().hex

    def begin(self, policy: Any) -> bool:
        """Note that it waits; tell whether another one did, which no longer does."""
        was_another = False

        def merged(_: Any, current: Any) -> dict[str, Any]:
            nonlocal was_another
            was_another = WAITING in (current or {})
            return {**(current or {}), WAITING: self._id}

        policy.metadata_set({}, merged)
        return was_another

    def goes_on(self, policy: Any) -> bool:
        """Tell whether it still waits: whether no other one does in its place."""
        return bool(policy.metadata_get(refresh=True).get(WAITING) == self._id)

    def end(self, policy: Any) -> bool:
        """Note that it waits no more; tell whether it did until now."""
        was_mine = False

        def merged(_: Any, current: Any) -> dict[str, Any]:
            nonlocal was_mine
            kept = dict(current or {})
            was_mine = kept.get(WAITING) == self._id
            if was_mine:
                del kept[WAITING]
            return kept

        with suppress(exception.NotFound, exception.ResourceNotAvailable):  # the policy is deleted
            policy.metadata_set({}, merged)
        return was_mine
