# SPDX-License-Identifier: Apache-2.0
"""Replay: the engine that judges live samples, driven by recorded ones on their own clock.

The clock goes on in steps of the resolution, from instant to instant at which something can happen:
samples were measured since the one before, or the allowed lag of a step is over. The samples of one
instant are taken in together, whatever the order in which they were recorded, so the transitions
depend on event time alone. A step is judged on the samples up to it, which are all there: a coarser
resolution changes when a transition is told, and no state. (Only `min_reporting_ratio` asks who is
still live at that moment.)
"""

from collections.abc import Callable, Iterator, Sequence
from typing import cast

import msgspec
import numpy as np

from thermostat.alarms.model import NOT_EVALUATED, Alarm, State, Transition
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.ticks import tick_s, window_us
from thermostat.replay.past import PastStore, Recording, rows
from thermostat.replay.rules import threshold_rules
from thermostat.store.base import Batch, SampleStore

US_PER_S = 1_000_000
HOUR_US = 3600 * US_PER_S
WEEKLY_US = 8 * 24 * HOUR_US
"""After this time every weekly time constraint has been open, in microseconds."""


def as_new(alarm: Alarm) -> Alarm:
    """Give an alarm as it is when it was just created: what it is in now is of another time."""
    return msgspec.structs.replace(
        alarm,
        state=State.INSUFFICIENT_DATA,
        state_reason=NOT_EVALUATED,
        revision=1,
        judged_us=None,
        rule_states=(),
        suppressed=False,
    )


class Replay:
    """One run of some alarms over a recording; iterate over it once for the transitions."""

    def __init__(
        self,
        alarms: Sequence[Alarm],
        recording: Recording,
        *,
        start_us: int,
        end_us: int,
        allowed_lag_s: float,
        resolution_s: int = 1,
        linger: bool = False,
        on_instant: Callable[[int], None] | None = None,
    ) -> None:
        """Put the alarms on their way at the start, as if they were created then.

        With `linger` time goes on after the last sample until the allowed lag is over.
        `on_instant` is called with each instant before it is judged; what it raises ends the run.
        """
        self._recording = recording
        self._resolution_us = resolution_s * US_PER_S
        self._start_us, self._end_us = start_us, end_us
        self._lag_us = int(allowed_lag_s * US_PER_S)
        self._until_us = end_us + self._lag_us if linger else end_us
        self._ticks_us = {
            tick_s(rule.period) * US_PER_S
            for alarm in alarms
            for rule in threshold_rules(alarm.rule)
        } or {US_PER_S}
        # When no sample is in any window, the steps that follow are all judged alike.
        self._patience_us = (
            max(
                (window_us(rule) for alarm in alarms for rule in threshold_rules(alarm.rule)),
                default=0,
            )
            + self._lag_us
            + (WEEKLY_US if any(alarm.time_constraints for alarm in alarms) else HOUR_US)
        )
        self._on_instant = on_instant
        self._store = PastStore(recording, start_us)
        # An engine only reads from its store; what writes to one is left out here.
        self._engine = Engine(cast(SampleStore, self._store), allowed_lag_s)
        self._store.subscribe(self._engine.describe)
        self._engine.put_all([alarm.standing for alarm in alarms], start_us)
        self.samples = 0
        """How many samples were taken in."""
        self.instants = 0
        """How often the engine was asked to judge what is due."""

    def __iter__(self) -> Iterator[Transition]:
        """Give the transitions in the order in which they would have been written."""
        due_us = self._rounded(self._start_us)
        for batch in self._recording.batches(self._start_us, self._end_us):
            for instant_us, samples in self._by_instant(batch):
                yield from self._idle(due_us, instant_us)
                self._take_in(samples, instant_us)
                yield from self._judge(instant_us)
                due_us = self._next_deadline(instant_us)
        yield from self._idle(due_us, self._until_us)
        yield from self._judge(self._until_us)

    @property
    def failures(self) -> int:
        """How many steps could not be judged; their reasons are in the log."""
        return self._engine.failures

    def _by_instant(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        """Cut a batch where the clock stops: each part with the instant at or after its samples."""
        if not len(batch):
            return
        instants_us = np.minimum(
            -(-batch.timestamp_us // self._resolution_us) * self._resolution_us, self._end_us
        )
        cuts = np.flatnonzero(np.diff(instants_us)) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(batch)], strict=True):
            yield int(instants_us[first]), rows(batch, first, last)

    def _take_in(self, samples: Batch, instant_us: int) -> None:
        """Take in the samples of one instant, each into the group that its series was in then."""
        self.samples += len(samples)
        while (change_us := self._store.next_change_us) is not None and change_us <= instant_us:
            before = int(np.searchsorted(samples.timestamp_us, change_us))
            self._engine.ingest(rows(samples, 0, before))
            samples = rows(samples, before, len(samples))
            self._store.advance(change_us)
        self._store.advance(instant_us)
        self._engine.ingest(samples)

    def _idle(self, due_us: int, before_us: int) -> Iterator[Transition]:
        """Judge at each instant from the first to before the last at which a lag is over.

        A long time without any sample is passed over, once nothing more can happen in it.
        """
        before_us = min(before_us, due_us + self._patience_us)
        while due_us < before_us:
            self._store.advance(due_us)
            yield from self._judge(due_us)
            due_us = self._next_deadline(due_us)

    def _next_deadline(self, after_us: int) -> int:
        """Give the first instant after this one at which the allowed lag of a step is over."""
        due_us = [
            ((after_us - self._lag_us) // tick_us + 1) * tick_us + self._lag_us
            for tick_us in self._ticks_us
        ]
        # Steps before the start are waited for from the start on.
        first_us = self._start_us + self._lag_us
        return self._rounded(min([*due_us, first_us] if after_us < first_us else due_us))

    def _rounded(self, time_us: int) -> int:
        """Give the instant of the clock at or after this time."""
        return -(-time_us // self._resolution_us) * self._resolution_us

    def _judge(self, now_us: int) -> Iterator[Transition]:
        """Judge what is due, and let the engine go on from each transition as if it was written."""
        self.instants += 1
        if self._on_instant is not None:
            self._on_instant(now_us)
        while transitions := self._engine.evaluate(now_us):
            for transition in transitions:
                self._engine.committed(transition)
                yield transition
