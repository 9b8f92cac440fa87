# SPDX-License-Identifier: Apache-2.0
"""The engine: alarms, the windows of their groups, and the steps that are to be judged.

It stores nothing and calls nobody: `evaluate` returns transitions, and whoever runs it tells with
`committed` or `rejected` what became of them. An alarm is not judged further while one of its
transitions is open, so that no judgement rests on a state that was never written.
"""

import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from thermostat.alarms.constraints import is_open
from thermostat.alarms.model import Alarm, Transition
from thermostat.evaluate.decide import judge
from thermostat.evaluate.matching import AlarmIndex
from thermostat.evaluate.window import Window
from thermostat.samples.wire import MAX_FUTURE_US
from thermostat.store.base import Batch, SampleStore, Selection, Series

LOG = logging.getLogger(__name__)
US_PER_S = 1_000_000
MOST_STEPS_BEHIND = 1000
"""After a longer pause than this many steps an alarm goes on with the newest ones."""


@dataclass(slots=True)
class _Resident:
    """One alarm that is being evaluated."""

    alarm: Alarm
    window: Window
    judged_us: int
    """The last step that was judged."""
    since_us: int
    """When its window was opened: until the allowed lag after this, senders may catch up."""
    open_transition: bool = False


class Engine:
    """Evaluates alarms over live windows that ingestion feeds. Every method is thread-safe."""

    def __init__(self, store: SampleStore, allowed_lag_s: float) -> None:
        self._store = store
        self._allowed_lag_us = int(allowed_lag_s * US_PER_S)
        self._lock = threading.RLock()
        self._residents: dict[str, _Resident] = {}
        self._index = AlarmIndex()
        self._series: dict[int, Series] = {}
        self._alarms_by_series: dict[int, tuple[str, ...]] = {}
        self.failures = 0
        """Steps that could not be judged; their reasons are in the log."""

    def __len__(self) -> int:
        return len(self._residents)

    def put(self, alarm: Alarm, now_us: int) -> None:
        """Evaluate this alarm from now on, or with this definition from now on.

        Raises StoreError if its window cannot be read; then nothing has changed.
        """
        with self._lock:
            known = self._residents.get(alarm.alarm_id)
            if known and known.alarm.revision > alarm.revision:
                return  # two edits at once: the newer one came first
            if known and (known.alarm.rule, known.alarm.project_id) == (
                alarm.rule,
                alarm.project_id,
            ):
                known.alarm = alarm
                self._reopen(known)
                return
            window = self._load_window(alarm, now_us)
            self.remove(alarm.alarm_id)
            self._open(alarm, window, now_us)

    def remove(self, alarm_id: str) -> None:
        """Evaluate this alarm no longer; nothing happens if it was not being evaluated."""
        with self._lock:
            resident = self._residents.pop(alarm_id, None)
            if resident is None:
                return
            self._index.remove(alarm_id, _selection(resident.alarm))
            self._rematch(resident.alarm.rule.meter_name)

    def ingest(self, batch: Batch) -> int:
        """Add stored samples to the windows of the alarms whose groups they belong to.

        Gives how many of them came too late for an open window of such an alarm.
        """
        late = 0
        with self._lock:
            for series_id, timestamp_us, volume in zip(
                batch.series_id.tolist(),
                batch.timestamp_us.tolist(),
                batch.volume.tolist(),
                strict=True,
            ):
                for alarm_id in self._matching(series_id):
                    window = self._residents[alarm_id].window
                    late += not window.add(series_id, timestamp_us, volume)
        return late

    def evaluate(self, now_us: int) -> list[Transition]:
        """Judge every step that is due at this time; give what is worth telling, one per alarm.

        An alarm that cannot be judged, which is a fault of ours, costs the others nothing: its step
        is passed over.
        """
        transitions = []
        with self._lock:
            for resident in self._residents.values():
                try:
                    transition = self._advance(resident, now_us)
                except Exception:  # one alarm must not end all alarming
                    self.failures += 1
                    LOG.exception("Alarm %s cannot be judged", resident.alarm.alarm_id)
                    continue
                if transition is not None:
                    transitions.append(transition)
        return transitions

    def committed(self, transition: Transition) -> None:
        """Go on from the state that this transition left in the database."""
        with self._lock:
            resident = self._residents.get(transition.alarm_id)
            # Where an edit came between writing and telling, `put` has brought the newer alarm.
            if resident and resident.alarm.revision == transition.revision:
                resident.alarm = _after(resident.alarm, transition)
                resident.open_transition = False

    def rejected(self, transition: Transition) -> None:
        """Judge the step of this transition again: it could not be written."""
        with self._lock:
            resident = self._residents.get(transition.alarm_id)
            if resident:
                self._reopen(resident)

    @staticmethod
    def _reopen(resident: _Resident) -> None:
        """Judge the step of an open transition again."""
        if resident.open_transition:
            resident.judged_us -= resident.window.tick_us
            resident.open_transition = False

    # -- steps ----------------------------------------------------------------------------------

    def _advance(self, resident: _Resident, now_us: int) -> Transition | None:
        """Judge the due steps of one alarm, up to the first that is worth telling."""
        window, tick_us = resident.window, resident.window.tick_us
        newest_us = window.floor(now_us)
        oldest_us = newest_us - MOST_STEPS_BEHIND * tick_us
        resident.judged_us = max(resident.judged_us, oldest_us)
        while not resident.open_transition and resident.judged_us < newest_us:
            step_us = resident.judged_us + tick_us
            deadline_us = max(step_us, resident.since_us) + self._allowed_lag_us
            if now_us < deadline_us and not window.is_complete(step_us, now_us):
                break
            resident.judged_us = step_us
            transition = self._judge(resident, step_us, now_us)
            window.forget(step_us)
            if transition is not None:
                resident.open_transition = True
                return transition
        return None

    @staticmethod
    def _judge(resident: _Resident, step_us: int, now_us: int) -> Transition | None:
        alarm = resident.alarm
        if not is_open(alarm.time_constraints, step_us):
            return None
        verdict = judge(alarm.rule, resident.window.datapoints(step_us), alarm.state)
        repeats = alarm.repeat_actions and alarm.actions(verdict.state)
        if verdict.state is alarm.state and not repeats:
            return None
        return Transition(
            alarm_id=alarm.alarm_id,
            revision=alarm.revision,
            previous=alarm.state,
            state=verdict.state,
            reason=verdict.reason,
            reason_data=verdict.reason_data,
            timestamp_us=now_us,
        )

    # -- groups ---------------------------------------------------------------------------------

    def _load_window(self, alarm: Alarm, now_us: int) -> Window:
        """Build the window of an alarm from the store."""
        window = Window(alarm.rule)
        series = self._store.series(_selection(alarm))
        start_us = now_us - window.length_us - self._allowed_lag_us - window.tick_us
        ids = [one.series_id for one in series]
        self._fill(window, self._store.scan(ids, start_us, now_us + MAX_FUTURE_US))
        return window

    def _open(self, alarm: Alarm, window: Window, now_us: int) -> None:
        """Judge an alarm from the newest step that has samples on.

        That step may have been judged before a restart. Judging it again changes no state; only
        actions that repeat are told once more.
        """
        newest_us = window.floor(min(window.newest_us or now_us, now_us))
        resident = _Resident(alarm, window, newest_us - window.tick_us, now_us)
        self._residents[alarm.alarm_id] = resident
        self._index.add(alarm.alarm_id, _selection(alarm))
        self._rematch(alarm.rule.meter_name)

    @staticmethod
    def _fill(window: Window, batch: Batch) -> None:
        for series_id, timestamp_us, volume in zip(
            batch.series_id.tolist(),
            batch.timestamp_us.tolist(),
            batch.volume.tolist(),
            strict=True,
        ):
            window.add(series_id, timestamp_us, volume)

    def _matching(self, series_id: int) -> Iterable[str]:
        """Give the alarms that this series feeds; its newest metadata decides."""
        series = self._store.get_series(series_id)
        if self._series.get(series_id) is not series:
            matching = self._index.matching(series)
            for alarm_id in set(self._alarms_by_series.get(series_id, ())) - set(matching):
                if alarm_id in self._residents:
                    self._residents[alarm_id].window.leave(series_id)
            self._series[series_id] = series
            self._alarms_by_series[series_id] = matching
        return self._alarms_by_series[series_id]

    def _rematch(self, meter: str) -> None:
        """Match the series of a meter anew when they are next seen."""
        for series_id in [i for i, one in self._series.items() if one.key.meter == meter]:
            del self._series[series_id]


def _selection(alarm: Alarm) -> Selection:
    return Selection(alarm.rule.meter_name, alarm.project_id, alarm.rule.query)


def _after(alarm: Alarm, transition: Transition) -> Alarm:
    """Give the alarm as a committed transition leaves it."""
    if not transition.is_change:
        return alarm
    return msgspec.structs.replace(
        alarm,
        state=transition.state,
        state_reason=transition.reason,
        state_timestamp_us=transition.timestamp_us,
        revision=transition.revision + 1,
    )
