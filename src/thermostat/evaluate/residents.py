# SPDX-License-Identifier: Apache-2.0
"""The alarms that are being evaluated, as columns: what each is known by, and at which revision."""

from collections.abc import Sequence

import msgspec
import numpy as np

from thermostat.alarms.model import Standing

NONE = -1


class Residents:
    """Alarms by number; the number of an alarm that is gone is given out again."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._free: list[int] = []
        self.revision = np.zeros(0, np.int64)
        self.window = np.zeros(0, np.int32)
        """The window of an alarm with a threshold rule; -1: it has a composite one."""
        self._fingerprint = np.zeros(0, np.int64)
        self._project = np.zeros(0, np.int32)
        self._projects: dict[str, int] = {}
        self._project_ids: list[str] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def add_all(self, alarms: Sequence[Standing]) -> list[int]:
        """Give the numbers of new alarms."""
        numbers = [self._free.pop() for _ in range(min(len(self._free), len(alarms)))]
        begin, end = len(self._ids), len(self._ids) + len(alarms) - len(numbers)
        numbers += range(begin, end)
        self._ids += [""] * (end - begin)
        if end > len(self.revision):
            self._grow(max(64, end, len(self.revision) * 5 // 4))
        for alarm, number in zip(alarms, numbers, strict=True):
            self._ids[number] = alarm.alarm_id
            self._numbers[alarm.alarm_id] = number
        self.revision[numbers] = [alarm.revision for alarm in alarms]
        self._fingerprint[numbers] = [_fingerprint(alarm) for alarm in alarms]
        self._project[numbers] = [self._project_number(alarm.project_id) for alarm in alarms]
        self.window[numbers] = NONE
        return numbers

    def remove(self, number: int) -> None:
        """Forget an alarm."""
        del self._numbers[self._ids[number]]
        self._free.append(number)

    def find(self, alarm_id: str) -> int | None:
        """Give the number of an alarm; None if it is not evaluated."""
        return self._numbers.get(alarm_id)

    def alarm_id(self, number: int) -> str:
        """Give the id of an alarm."""
        return self._ids[number]

    def find_in(self, project_id: str, alarm_id: str) -> int | None:
        """Give the number of an alarm of this project; None if none of that id is evaluated."""
        number = self._numbers.get(alarm_id)
        if number is None or self._project[number] != self._projects.get(project_id):
            return None
        return number

    def project_id(self, number: int) -> str:
        """Give the project of an alarm."""
        return self._project_ids[int(self._project[number])]

    def is_same(self, number: int, alarm: Standing) -> bool:
        """Tell whether this definition looks at the same group with the same rule."""
        return int(self._fingerprint[number]) == _fingerprint(alarm)

    def _project_number(self, project_id: str) -> int:
        number = self._projects.get(project_id)
        if number is None:
            number = self._projects[project_id] = len(self._project_ids)
            self._project_ids.append(project_id)
        return number

    def _grow(self, size: int) -> None:
        for name in ("revision", "window", "_fingerprint", "_project"):
            old = getattr(self, name)
            new = np.zeros(size, old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)


def _fingerprint(alarm: Standing) -> int:
    # of the text: Python's hashes of -1.0 and -2.0 are the same
    return hash((msgspec.json.encode(alarm.rule), alarm.project_id))
