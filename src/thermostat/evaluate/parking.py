# SPDX-License-Identifier: Apache-2.0
"""Which alarms are left alone for a while, since the database refuses what follows for them.

They would be judged and refused for ever otherwise, at the cost of all the others.
"""

from collections.abc import Iterable

FIRST_PAUSE_S = 5.0
"""How long an alarm is parked at first; each time twice as long."""
LONGEST_PAUSE_S = 600.0


class Parking:
    """The alarms whose transitions were refused. Times are seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._pause_s: dict[str, float] = {}
        self._until_s: dict[str, float] = {}

    def __len__(self) -> int:
        """How many alarms are parked now."""
        return len(self._until_s)

    def __contains__(self, alarm_id: str) -> bool:
        """Tell whether the newest transition of an alarm was refused."""
        return alarm_id in self._pause_s

    def park(self, alarm_id: str, now_s: float) -> None:
        """Leave an alarm alone: its transition was refused."""
        pause_s = min(2.0 * self._pause_s.get(alarm_id, FIRST_PAUSE_S / 2.0), LONGEST_PAUSE_S)
        self._pause_s[alarm_id] = pause_s
        self._until_s[alarm_id] = now_s + pause_s

    def due(self, now_s: float) -> set[str]:
        """Take out the alarms that were left alone for long enough; it is known who they were."""
        due = {alarm_id for alarm_id, until_s in self._until_s.items() if until_s <= now_s}
        for alarm_id in due:
            del self._until_s[alarm_id]
        return due

    def forget(self, alarm_ids: Iterable[str]) -> None:
        """Take in that these alarms were written, or changed by others."""
        for alarm_id in alarm_ids:
            self._pause_s.pop(alarm_id, None)
            self._until_s.pop(alarm_id, None)
