# SPDX-License-Identifier: Apache-2.0
"""What a replay prints: its transitions as text in columns or as JSON lines, and a summary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from thermostat.alarms.model import Alarm, State, Transition

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STATE_WIDTH = max(len(state) for state in State)
_CHANGE_WIDTH = 2 * _STATE_WIDTH + len(" -> ")
_TIME_WIDTH = len("2026-01-01 00:00:00")
_LONGEST_NAME = 40


@dataclass(frozen=True, slots=True)
class Summary:
    """What a replay read and did."""

    samples_read: int
    """Samples in the files, or stored ones that the alarms are about."""
    samples: int
    """Samples of the alarms' meters between start and end, measured or derived."""
    bad_lines: int
    steps: int
    """Instants of event time at which the alarms were judged."""
    transitions: int
    repeated: int
    """Times that actions of an unchanged state would have been called again."""
    start_us: int
    end_us: int
    seconds: float


class TextReport:
    """A line for each transition, in columns."""

    def __init__(self, alarms: Sequence[Alarm], write: Callable[[str], object]) -> None:
        self._names = {alarm.alarm_id: alarm.name for alarm in alarms}
        longest = max((len(name) for name in self._names.values()), default=0)
        self._width = min(max(longest, len("ALARM")), _LONGEST_NAME)
        self._write = write
        self._begun = False

    def transition(self, one: Transition) -> None:
        """Print a transition, the first one after the columns' titles."""
        if not self._begun:
            self._begun = True
            self._line("TIME (UTC)", "ALARM", "STATE", "REASON")
        change = f"{one.previous} -> {one.state}" if one.is_change else f"{one.state} (repeated)"
        self._line(short_time(one.timestamp_us), self._names[one.alarm_id], change, one.reason)

    def summary(self, summary: Summary) -> None:
        """Print what was read and done."""
        read = f"{summary.samples_read} samples read"
        if summary.samples != summary.samples_read:
            read += f", {summary.samples} judged"
        if summary.bad_lines:
            read += f", {summary.bad_lines} bad lines skipped"
        told = f"{summary.transitions} transitions"
        if summary.repeated:
            told += f", {summary.repeated} repetitions"
        span = f"{short_time(summary.start_us)} to {short_time(summary.end_us)}"
        self._write(f"{span}: {read}; {summary.steps} steps; {told}; {summary.seconds:.2f} s\n")

    def _line(self, time: str, name: str, change: str, reason: str) -> None:
        self._write(
            f"{time:<{_TIME_WIDTH}}  {name:<{self._width}}  {change:<{_CHANGE_WIDTH}}  {reason}\n"
        )


class JsonReport:
    """A JSON object a line: the transitions, then the summary."""

    def __init__(self, alarms: Sequence[Alarm], write: Callable[[str], object]) -> None:
        self._names = {alarm.alarm_id: alarm.name for alarm in alarms}
        self._write = write

    def transition(self, one: Transition) -> None:
        """Print a transition."""
        self._line(
            {
                "timestamp": iso(one.timestamp_us),
                "alarm_id": one.alarm_id,
                "name": self._names[one.alarm_id],
                "previous": one.previous,
                "state": one.state,
                "repeated": not one.is_change,
                "suppressed": one.suppressed,
                "reason": one.reason,
                "reason_data": one.reason_data,
            }
        )

    def summary(self, summary: Summary) -> None:
        """Print what was read and done."""
        shown = msgspec.to_builtins(summary)
        shown["start"], shown["end"] = iso(shown.pop("start_us")), iso(shown.pop("end_us"))
        shown["seconds"] = round(shown["seconds"], 3)
        self._line({"summary": shown})

    def _line(self, value: Any) -> None:
        self._write(msgspec.json.encode(value).decode() + "\n")


Report = TextReport | JsonReport


def iso(instant_us: int) -> str:
    """Give an instant in ISO 8601, UTC."""
    instant = _EPOCH + timedelta(microseconds=instant_us)
    return instant.replace(tzinfo=None).isoformat() + "Z"


def short_time(instant_us: int) -> str:
    """Give an instant to the second, UTC."""
    return f"{_EPOCH + timedelta(microseconds=instant_us):%Y-%m-%d %H:%M:%S}"
