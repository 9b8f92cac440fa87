# SPDX-License-Identifier: Apache-2.0
"""An alarm that does not exist yet, judged over stored samples; the work is bounded."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from thermostat.alarms.model import Alarm, State, Transition
from thermostat.evaluate.ticks import tick_s
from thermostat.replay.core import Replay
from thermostat.replay.recordings import StoreRecording
from thermostat.replay.rules import threshold_rules
from thermostat.store.base import SampleStore

US_PER_S = 1_000_000
MOST_SAMPLES = 500_000
"""How many stored samples one preview reads."""
MOST_STEPS = 100_000
"""At how many instants of event time one preview judges."""
MOST_SECONDS = 30.0
"""How long one preview works."""
COARSEST_S = 10
"""Samples are taken in together for as many seconds, unless a rule's window slides faster."""


class TooMuchWork(Exception):  # noqa: N818 - it says what was asked for
    """A preview would take too long; the message says what to narrow."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What an alarm would have done."""

    transitions: Sequence[Transition]
    """Its changes of state."""
    state: State
    reason: str
    samples: int
    """Stored samples that were read, for its windows at the start and after it."""
    series: int
    """Series that were read."""


def preview(
    alarm: Alarm,
    named: Sequence[Alarm],
    store: SampleStore,
    *,
    start_us: int,
    end_us: int,
    earliest_us: int = 0,
    allowed_lag_s: float,
    clock: Callable[[], float] = time.monotonic,
) -> Preview:
    """Judge an alarm, and those that its rule names, from the start to the end.

    Nothing is looked for at or before `earliest_us`. Raises TooMuchWork, or StoreUnavailable.
    """
    alarms = [*named, alarm]
    resolution_s = _resolution_s(alarms)
    steps = (end_us - start_us) // (resolution_s * US_PER_S)
    if steps > MOST_STEPS:
        raise TooMuchWork(
            f"{steps} steps of {resolution_s} s, more than {MOST_STEPS}:"
            " ask for a shorter span of time, or give the rule a longer period"
        )
    budget = _Budget(clock)
    recording = StoreRecording(store, alarms, earliest_us=earliest_us, on_read=budget.read)
    replay = Replay(
        alarms,
        recording,
        start_us=start_us,
        end_us=end_us,
        allowed_lag_s=allowed_lag_s,
        resolution_s=resolution_s,
        on_instant=lambda _: budget.check_time(),
    )
    told = [one for one in replay if one.alarm_id == alarm.alarm_id]
    return Preview(
        transitions=[one for one in told if one.is_change],
        state=told[-1].state if told else alarm.state,
        reason=told[-1].reason if told else alarm.state_reason,
        samples=budget.samples,
        series=recording.series_count,
    )


def _resolution_s(alarms: Sequence[Alarm]) -> int:
    ticks = (tick_s(rule.period) for alarm in alarms for rule in threshold_rules(alarm.rule))
    return min([COARSEST_S, *ticks])


class _Budget:
    """What one preview may still do."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._until_s = clock() + MOST_SECONDS
        self.samples = 0

    def read(self, samples: int) -> None:
        """Count samples that were read."""
        self.samples += samples
        if self.samples > MOST_SAMPLES:
            raise TooMuchWork(
                f"more than {MOST_SAMPLES} samples: ask for a shorter span of time, or narrow the"
                " query"
            )
        self.check_time()

    def check_time(self) -> None:
        if self._clock() > self._until_s:
            raise TooMuchWork(
                f"it takes more than {MOST_SECONDS:g} s: ask for a shorter span of time, or narrow"
                " the query"
            )
