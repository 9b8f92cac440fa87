# SPDX-License-Identifier: Apache-2.0
"""A signal that waits for its group, kept in its policy's metadata: one per policy."""

import time
import uuid
from contextlib import suppress
from typing import Any

from heat.common import exception

WAITING = "waiting_signal"
"""The policy's metadata about it: whose it is, its details, and when it last looked."""
FORGOTTEN_S = 60.0
"""One that has not looked for so many seconds has died with its engine."""


class Waiting:
    """A signal that waits. One that comes meanwhile only gives it newer details."""

    def __init__(self, details: Any) -> None:
        self.details = details
        self._id = uuid.uuid4().hex

    def begin(self, policy: Any) -> bool:
        """Note the signal; False: another one waits already, and goes on with these details."""
        is_first = True

        def merged(_: Any, current: Any) -> dict[str, Any]:
            nonlocal is_first
            other = (current or {}).get(WAITING)
            is_first = other is None or time.time() - other["seen"] > FORGOTTEN_S
            waiting = self._noted() if is_first else {**(other or {}), "details": self.details}
            return {**(current or {}), WAITING: waiting}

        policy.metadata_set({}, merged)  # of two at once only one is the first
        return is_first

    def look(self, policy: Any) -> bool:
        """Take up newer details, and note that it still waits; False: another one does instead."""
        is_mine = True

        def merged(_: Any, current: Any) -> dict[str, Any]:
            nonlocal is_mine
            found = (current or {}).get(WAITING)
            is_mine = found is None or found["id"] == self._id
            if not is_mine:
                return dict(current)
            if found is not None:
                self.details = found["details"]
            return {**(current or {}), WAITING: self._noted()}

        policy.metadata_set({}, merged)
        return is_mine

    def end(self, policy: Any) -> None:
        """Note that it waits no more."""

        def merged(_: Any, current: Any) -> dict[str, Any]:
            kept = dict(current or {})
            if kept.get(WAITING, {}).get("id") == self._id:
                del kept[WAITING]
            return kept

        with suppress(exception.NotFound, exception.ResourceNotAvailable):  # the policy is deleted
            policy.metadata_set({}, merged)

    def _noted(self) -> dict[str, Any]:
        return {"id": self._id, "details": self.details, "seen": time.time()}
