# SPDX-License-Identifier: Apache-2.0
"""The same decisions as the engine's, one alarm at a time and in plain Python.

It is written to be read: the vector engine is held against it, transition by transition, by tests
that feed both the same random alarms and samples. Beside them only `thermostat-replay test` uses
it, to show the datapoints around a failure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import floor, fsum, isnan, sqrt

import msgspec
import numpy as np

from thermostat.alarms.constraints import is_open
from thermostat.alarms.model import Alarm, State, Transition
from thermostat.alarms.outside import OutsideRule
from thermostat.alarms.rules import (
    AlarmRef,
    AllOf,
    AnyOf,
    Expression,
    JoinedRule,
    Leaf,
    MissingData,
    Not,
    OutsideLeaf,
    Statistic,
    ThresholdRule,
)
from thermostat.evaluate.reasons import Datapoint, breaches, counted
from thermostat.evaluate.sketch import bucket_keys, bucket_values
from thermostat.evaluate.ticks import SILENT_INTERVALS, US_PER_S, tick_s, window_length
from thermostat.store import selecting
from thermostat.store.base import Batch, Selection, Series

MOST_STEPS_BEHIND = 1000


# -- one window ------------------------------------------------------------------------------------


def statistic_of(statistic: Statistic, samples: Sequence[tuple[int, float]]) -> float:
    """Give a statistic of the (event time, volume) pairs of one period, in any order."""
    volumes = [volume for _, volume in samples]
    quantile = statistic.quantile
    if quantile is not None:
        middle = sorted(volumes)[floor(quantile * (len(volumes) - 1))]
        return float(bucket_values(bucket_keys(np.array([middle])))[0])
    mean = fsum(volumes) / len(volumes)
    statistics: dict[Statistic, float] = {
        Statistic.AVG: mean,
        Statistic.MIN: min(volumes),
        Statistic.MAX: max(volumes),
        Statistic.SUM: fsum(volumes),
        Statistic.COUNT: float(len(volumes)),
        Statistic.LAST: max(samples)[1],
        Statistic.STDDEV: sqrt(fsum((volume - mean) ** 2 for volume in volumes) / len(volumes)),
    }
    return statistics[statistic]


def judge(rule: ThresholdRule, datapoints: Sequence[Datapoint], state: State) -> State:
    """Give the state that follows from a window's datapoints, oldest first."""
    window = counted(rule, datapoints)
    present = [point for point in window if point.count]
    missing = rule.evaluation_periods - len(present)
    breaching = sum(breaches(rule, point.value, state) for point in present)
    holding = len(present) - breaching
    if rule.treat_missing_data is MissingData.BREACHING:
        breaching += missing
    elif rule.treat_missing_data is MissingData.NOT_BREACHING:
        holding += missing

    if breaching + holding < rule.needed:
        ignore = rule.treat_missing_data is MissingData.IGNORE
        return state if ignore else State.INSUFFICIENT_DATA
    if breaching >= rule.needed:
        return State.ALARM
    if holding >= rule.needed:
        return State.OK
    if state is State.INSUFFICIENT_DATA and present:
        newest = present[-1].value
        return State.ALARM if breaches(rule, newest, state) else State.OK
    return state


def judge_answer(rule: OutsideRule, values: Sequence[float | None], state: State) -> State:
    """Give the state that follows from what an outside store has answered, oldest first."""
    operator = rule.comparison_operator

    def breaching(value: float | None) -> bool:
        return value is not None and operator.holds(value, rule.threshold)

    values = [None if value is None or isnan(value) else value for value in values]
    newest = values[-rule.evaluation_periods :]
    if None in newest:
        return State.INSUFFICIENT_DATA
    if not any(map(breaching, newest)):
        return State.OK
    if all(map(breaching, newest)):
        wanted = State.ALARM
    elif state is State.INSUFFICIENT_DATA:
        wanted = State.ALARM if breaching(newest[-1]) else State.OK
    else:
        return state
    if wanted is State.ALARM and not all(map(breaching, values[-rule.lasting :])):
        return State.OK if state is State.INSUFFICIENT_DATA else state
    return wanted


@dataclass
class Member:
    """One series, and when it reported."""

    first_us: int
    """Event time of the first sample that was ever seen of it."""
    times_us: set[int] = field(default_factory=set)

    @property
    def last_us(self) -> int:
        """The newest sample's event time."""
        return max(self.times_us, default=0)

    def is_live(self, asked_us: int, tick_us: int) -> bool:
        """Tell whether it was silent for no longer than 1.5 of its own interval."""
        newest = sorted(self.times_us)[-2:]
        interval_us = newest[1] - newest[0] if len(newest) == 2 else tick_us
        return self.last_us >= asked_us - SILENT_INTERVALS * interval_us


class Window:
    """The samples of one rule's group."""

    def __init__(self, rule: ThresholdRule, state: State) -> None:
        self.rule = rule
        self.state = state
        self.tick_us = tick_s(rule.period) * US_PER_S
        self.period_us = rule.period * US_PER_S
        self.samples: dict[tuple[int, int], float] = {}
        """Volumes by series and event time."""
        self.members: dict[int, Member] = {}
        self.step_us = 0
        """The last judged step."""
        self.since_us = 0

    def counts_from_us(self, member: Member) -> int:
        """Give the event time before which a member warms up."""
        return member.first_us + self.rule.warm_up * US_PER_S if self.rule.warm_up else 0

    def add(self, series_id: int, timestamp_us: int, volume: float) -> bool:
        """Count a sample of a member; False if no step still to be judged reaches back to it."""
        if timestamp_us < self.counts_from_us(self.members[series_id]):
            return True
        reach_us = self.period_us * window_length(self.rule)
        if timestamp_us <= self.step_us + self.tick_us - reach_us:
            return False
        self.samples[series_id, timestamp_us] = volume
        return True

    def is_due(self, now_us: int, allowed_lag_us: int) -> bool:
        """Tell whether the next step can be judged."""
        step_us = self.step_us + self.tick_us
        if step_us > now_us:
            return False
        overdue = now_us >= max(step_us, self.since_us) + allowed_lag_us
        return overdue or self.is_complete(step_us, now_us)

    def is_complete(self, step_us: int, now_us: int) -> bool:
        """Tell whether every live member has reported up to this step, and there is one."""
        newest_us = max((member.last_us for member in self.members.values()), default=0)
        reached_us = min(newest_us, now_us)
        asked_us = max(step_us, reached_us - reached_us % self.tick_us)
        live = [
            member
            for member in self.members.values()
            if member.is_live(asked_us, self.tick_us)
            and member.last_us >= self.counts_from_us(member)
        ]
        return bool(live) and all(member.last_us >= step_us for member in live)

    def datapoints(self, step_us: int) -> list[Datapoint]:
        """Give the datapoints of the periods that end at this step, oldest first."""
        length = window_length(self.rule)
        ends_us = [step_us - back * self.period_us for back in reversed(range(length))]
        return [self._datapoint(end_us) for end_us in ends_us]

    def _datapoint(self, end_us: int) -> Datapoint:
        start_us = end_us - self.period_us
        inside = {
            (series_id, time_us): volume
            for (series_id, time_us), volume in self.samples.items()
            if start_us < time_us <= end_us
        }
        reporting = {series_id for series_id, _ in inside}
        if not inside or not self._enough_reported(reporting, start_us, end_us):
            return Datapoint(start_us, end_us, 0, None)
        samples = [(time_us, volume) for (_, time_us), volume in inside.items()]
        value = statistic_of(self.rule.statistic, samples)
        return Datapoint(start_us, end_us, len(samples), value)

    def _enough_reported(self, reporting: set[int], start_us: int, end_us: int) -> bool:
        """Tell whether enough of those reported that were live at the start, or joined since."""
        if not self.rule.min_reporting_ratio:
            return True
        live = {
            series_id
            for series_id, member in self.members.items()
            if member.is_live(start_us, self.tick_us)
            and max(member.first_us, self.counts_from_us(member)) <= end_us
        }
        return bool(live) and len(live & reporting) >= (
            self.rule.min_reporting_ratio * len(live) - 1e-9
        )


# -- one alarm -------------------------------------------------------------------------------------

_ORDER = (State.OK, State.INSUFFICIENT_DATA, State.ALARM)


def combine(
    expression: Expression, leaves: Iterable[State], state_of: Callable[[str], State]
) -> State:
    """Give the state of an expression; `leaves` gives those of its leaves, from left to right."""
    states = iter(leaves)

    def of(node: Expression) -> int:
        match node:
            case Leaf() | OutsideLeaf():
                return _ORDER.index(next(states))
            case AlarmRef():
                return _ORDER.index(state_of(node.alarm_id))
            case Not():
                return 2 - of(node.operand)
            case AllOf():
                return min([of(one) for one in node.operands])
            case AnyOf():
                return max([of(one) for one in node.operands])

    return _ORDER[of(expression)]


def leaves_of(expression: Expression) -> list[ThresholdRule]:
    """Give the rules of an expression's leaves, from left to right."""
    match expression:
        case Leaf():
            return [expression.rule]
        case Not():
            return leaves_of(expression.operand)
        case AllOf() | AnyOf():
            return [rule for one in expression.operands for rule in leaves_of(one)]
        case _:
            return []


@dataclass
class Resident:
    """One alarm and its windows: one, or one a leaf."""

    alarm: Alarm
    windows: list[Window]


class ReferenceEngine:
    """What the engine does, for threshold rules and composites; transitions are written at once."""

    def __init__(self, series: Callable[[], Iterable[Series]], allowed_lag_s: float) -> None:
        self._series = series
        self._allowed_lag_us = int(allowed_lag_s * US_PER_S)
        self._residents: dict[str, Resident] = {}
        self._members: dict[int, Member] = {}

    def put(self, alarm: Alarm, now_us: int) -> None:
        """Judge an alarm from now on; nothing was sampled before."""
        if isinstance(alarm.rule, ThresholdRule):
            windows = [Window(alarm.rule, alarm.state)]
        else:
            rules = leaves_of(_expression(alarm))
            windows = [Window(rule, State.INSUFFICIENT_DATA) for rule in rules]
        for window in windows:
            window.step_us = (now_us // window.tick_us - 1) * window.tick_us
            window.since_us = now_us
        self._residents[alarm.alarm_id] = Resident(alarm, windows)

    def state(self, alarm_id: str) -> State:
        """Give an alarm's state; insufficient data where there is none."""
        resident = self._residents.get(alarm_id)
        return resident.alarm.state if resident else State.INSUFFICIENT_DATA

    def ingest(self, batch: Batch) -> int:
        """Count samples in the windows that they match; give how many came too late for one."""
        self._match_all()
        late = 0
        rows = zip(
            batch.series_id.tolist(),
            batch.timestamp_us.tolist(),
            batch.volume.tolist(),
            strict=True,
        )
        for series_id, timestamp_us, volume in rows:
            self._members[series_id].times_us.add(timestamp_us)
            for resident in self._residents.values():
                for window in resident.windows:
                    if series_id in window.members:
                        late += not window.add(series_id, timestamp_us, volume)
        return late

    def _match_all(self) -> None:
        described = list(self._series())
        for series in described:
            self._members.setdefault(series.series_id, Member(series.first_us))
        for resident in self._residents.values():
            for window in resident.windows:
                rule = window.rule
                selection = Selection(rule.meter_name, resident.alarm.project_id, rule.query)
                window.members = {
                    series.series_id: self._members[series.series_id]
                    for series in described
                    if selecting.matches(series, selection)
                }

    def evaluate(self, now_us: int) -> list[Transition]:
        """Judge every step that is due at this time, in the order of event time."""
        self._match_all()
        told: list[Transition] = []
        windows = [window for one in self._residents.values() for window in one.windows]
        for window in windows:
            newest_us = now_us - now_us % window.tick_us
            oldest_us = newest_us - MOST_STEPS_BEHIND * window.tick_us
            window.step_us = max(window.step_us, oldest_us)
        while due := [w for w in windows if w.is_due(now_us, self._allowed_lag_us)]:
            step_us = min(window.step_us + window.tick_us for window in due)
            for resident in self._residents.values():
                for window in resident.windows:
                    if window in due and window.step_us + window.tick_us == step_us:
                        self._step(resident, window, step_us)
            told += self._conclude_all(step_us, now_us)
        told += self._conclude_all(now_us, now_us)
        return told

    @staticmethod
    def _step(resident: Resident, window: Window, step_us: int) -> None:
        window.step_us = step_us
        plain = isinstance(resident.alarm.rule, ThresholdRule)
        if not plain or is_open(resident.alarm.time_constraints, step_us):
            window.state = judge(window.rule, window.datapoints(step_us), window.state)

    def _conclude_all(self, time_us: int, now_us: int) -> Iterable[Transition]:
        """Give the transitions that the windows' states lead to, each written before the next.

        An alarm comes after those that it names: here, after those that were put before it.
        """
        for resident in self._residents.values():
            alarm = resident.alarm
            after = self._conclude(resident, time_us)
            if after is not alarm.state:
                resident.alarm = msgspec.structs.replace(
                    alarm, state=after, revision=alarm.revision + 1
                )
                yield Transition(
                    alarm_id=alarm.alarm_id,
                    revision=alarm.revision,
                    previous=alarm.state,
                    state=after,
                    reason="",
                    reason_data={},
                    timestamp_us=now_us,
                    step_us=time_us,
                )

    def _conclude(self, resident: Resident, time_us: int) -> State:
        alarm = resident.alarm
        if isinstance(alarm.rule, ThresholdRule):
            return resident.windows[0].state
        if not is_open(alarm.time_constraints, time_us):
            return alarm.state
        leaves = [window.state for window in resident.windows]
        return combine(_expression(alarm), leaves, self.state)


def _expression(alarm: Alarm) -> Expression:
    if not isinstance(alarm.rule, JoinedRule):
        raise TypeError(f"{type(alarm.rule).__name__} is judged elsewhere")
    return alarm.rule.expression
