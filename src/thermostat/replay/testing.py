# SPDX-License-Identifier: Apache-2.0
"""Running a test of alarms, and saying how what happened differs from what was expected."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from thermostat.alarms.model import NOT_EVALUATED, Alarm, State, Transition
from thermostat.alarms.rules import ThresholdRule
from thermostat.evaluate.reference import statistic_of
from thermostat.evaluate.ticks import window_length
from thermostat.replay.cases import Case, Expectation, read_cases
from thermostat.replay.core import Replay
from thermostat.replay.notation import offset
from thermostat.replay.past import PastStore
from thermostat.replay.recordings import MemoryRecording
from thermostat.replay.rules import threshold_rules
from thermostat.store.base import Selection

US_PER_S = 1_000_000
SHOWN_VALUES = 6
"""How many values of a series are shown on either side of a failed expectation."""
SHOWN_TRANSITIONS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one test."""

    case: Case
    failures: Sequence[str]
    """One text, of several lines, for each expectation that was not met."""


def run_file(path: Path) -> Iterator[Outcome]:
    """Run the tests of a file. Raises DocumentError, or OSError where it cannot be read."""
    return map(run_case, read_cases(path))


def run_case(case: Case) -> Outcome:
    """Run one test."""
    recording = MemoryRecording(case.samples)
    end_us = case.start_us + round(case.until_s * US_PER_S)
    replay = Replay(
        case.alarms,
        recording,
        start_us=case.start_us - 1,
        end_us=end_us,
        allowed_lag_s=case.allowed_lag_s,
    )
    story = _Story(case, recording, list(replay))
    failures = [f"{replay.failures} steps could not be judged"] if replay.failures else []
    failures += [text for one in case.expect if (text := story.failure(one))]
    if case.transitions is not None and (text := story.difference(case.transitions)):
        failures.append(text)
    return Outcome(case, failures)


class _Story:
    """What happened in one test."""

    def __init__(
        self, case: Case, recording: MemoryRecording, transitions: Sequence[Transition]
    ) -> None:
        self._case = case
        self._recording = recording
        self._told = transitions
        self._changes = [one for one in transitions if one.is_change]
        self._alarms = {alarm.alarm_id: alarm for alarm in case.alarms}

    # -- one expected state ----------------------------------------------------------------------

    def failure(self, expected: Expectation) -> str | None:
        """Say what is wrong if the state at this time is not as expected; None if it is."""
        state, reason = self._at(expected)
        wrong_state = state is not expected.state
        if not wrong_state and (expected.reason is None or expected.reason in reason):
            return None
        found = f"expected {expected.state}, found {state}"
        if not wrong_state:
            found = f"is {state} as expected, but its reason has no {expected.reason!r}"
        return "\n".join(
            [
                f"line {expected.line}: at {offset(expected.at_s)}: {expected.alarm}: {found}",
                f"  reason: {reason}",
                *(f"  {line}" for line in self._datapoints(expected)),
                *(f"  {line}" for line in self._series(expected)),
                *(f"  {line}" for line in self._before(expected)),
            ]
        )

    def _at(self, expected: Expectation) -> tuple[State, str]:
        """Give the state at a time, and the newest reason that was given for it."""
        until_us = self._us(expected.at_s)
        told = [
            one
            for one in self._told
            if one.alarm_id == expected.alarm_id and one.timestamp_us <= until_us
        ]
        if not told:
            alarm = self._alarms[expected.alarm_id]
            return alarm.state, NOT_EVALUATED
        return told[-1].state, told[-1].reason

    def _datapoints(self, expected: Expectation) -> Iterator[str]:
        """Show the datapoints of each threshold rule in the window that ends at this time."""
        alarm = self._alarms[expected.alarm_id]
        for rule in threshold_rules(alarm.rule):
            points = ", ".join(
                f"{self._offset(end_us)} "
                + (
                    f"{statistic_of(rule.statistic, found):g} ({len(found)})"
                    if found
                    else "missing"
                )
                for end_us, found in self._window(alarm, rule, self._us(expected.at_s))
            )
            yield (
                f"datapoints of {rule.statistic} of {rule.meter_name} over {rule.period} s "
                f"{rule.comparison_operator.symbol} {rule.threshold:g}, by end (samples): {points}"
            )

    def _window(
        self, alarm: Alarm, rule: ThresholdRule, end_us: int
    ) -> Iterator[tuple[int, Sequence[tuple[int, float]]]]:
        """Give the samples of each period of the window that ends then, with the period's end."""
        store = PastStore(self._recording, end_us)
        series = store.series(Selection(rule.meter_name, alarm.project_id, rule.query))
        ids = [one.series_id for one in series]
        period_us = rule.period * US_PER_S
        for index in reversed(range(window_length(rule))):
            last_us = end_us - index * period_us
            batch = self._recording.scan(ids, last_us - period_us, last_us)
            yield (
                last_us,
                list(zip(batch.timestamp_us.tolist(), batch.volume.tolist(), strict=True)),
            )

    def _series(self, expected: Expectation) -> Iterator[str]:
        """Show the values around this time of every series that the alarm's rules may be about."""
        rules = list(threshold_rules(self._alarms[expected.alarm_id].rule))
        meters = {rule.meter_name for rule in rules}
        shown = [one for one in self._case.series if one.meter in meters]
        for one in shown or self._case.series:
            values = [
                (at_s, "_" if value is None else f"{value:g}") for at_s, value in one.values.items()
            ]
            past = [pair for pair in values if pair[0] <= expected.at_s][-SHOWN_VALUES:]
            future = [pair for pair in values if pair[0] > expected.at_s][:2]
            text = "  ".join(f"{offset(at_s)}={value}" for at_s, value in past)
            text += "  |  " + "  ".join(f"{offset(at_s)}={value}" for at_s, value in future)
            yield f"series {one.meter} of {one.resource}: {text.rstrip(' |')}"

    def _before(self, expected: Expectation) -> Iterator[str]:
        """Show the last changes of the alarm's state up to this time."""
        changes = [
            one
            for one in self._changes
            if one.alarm_id == expected.alarm_id and one.timestamp_us <= self._us(expected.at_s)
        ]
        if not changes:
            yield "no change of state before"
        for one in changes[-SHOWN_TRANSITIONS:]:
            yield f"changed at {self._offset(one.timestamp_us)}: {one.previous} -> {one.state}"

    # -- all changes of state --------------------------------------------------------------------

    def difference(self, expected: Sequence[Expectation]) -> str | None:
        """Say how the changes of state differ from the expected ones; None if they do not."""
        wanted = sorted(expected, key=lambda one: (one.at_s, one.alarm_id))
        found = sorted(self._changes, key=lambda one: (one.timestamp_us, one.alarm_id))
        lines = list(self._compared(wanted, found))
        if all(line[0] == " " for line in lines):
            return None
        head = "the changes of state differ (- expected, + found):"
        return "\n".join([head, *(f"  {line}" for line in lines)])

    def _compared(
        self, wanted: Sequence[Expectation], found: Sequence[Transition]
    ) -> Iterator[str]:
        matcher = SequenceMatcher(
            None,
            [(self._us(one.at_s), one.alarm_id, one.state) for one in wanted],
            [(one.timestamp_us, one.alarm_id, one.state) for one in found],
            autojunk=False,
        )
        for operation, i1, i2, j1, j2 in matcher.get_opcodes():
            if operation == "equal":
                for one, other in zip(wanted[i1:i2], found[j1:j2], strict=True):
                    agrees = one.previous in (None, other.previous) and (
                        one.reason is None or one.reason in other.reason
                    )
                    yield from (
                        [f"  {self._found(other)}"]
                        if agrees
                        else [f"- {_wanted(one)}", f"+ {self._found(other, reason=True)}"]
                    )
            else:
                yield from (f"- {_wanted(one)}" for one in wanted[i1:i2])
                yield from (f"+ {self._found(one, reason=True)}" for one in found[j1:j2])

    def _found(self, one: Transition, *, reason: bool = False) -> str:
        name = self._alarms[one.alarm_id].name
        text = f"{self._offset(one.timestamp_us):>8}  {name}: {one.previous} -> {one.state}"
        return f"{text}  ({one.reason})" if reason else text

    # -- time ------------------------------------------------------------------------------------

    def _us(self, at_s: float) -> int:
        return self._case.start_us + round(at_s * US_PER_S)

    def _offset(self, timestamp_us: int) -> str:
        """Give an instant as the time since the start; before it, with a minus."""
        since_s = (timestamp_us - self._case.start_us) / US_PER_S
        return f"-{offset(-since_s)}" if since_s < 0 else offset(since_s)


def _wanted(one: Expectation) -> str:
    previous = f"{one.previous} -> " if one.previous is not None else "-> "
    text = f"{offset(one.at_s):>8}  {one.alarm}: {previous}{one.state}  (line {one.line})"
    return text if one.reason is None else f"{text}  (… {one.reason} …)"
