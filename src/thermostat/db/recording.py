# SPDX-License-Identifier: Apache-2.0
"""Writing the evaluator's transitions: many at once, each only onto the alarm that was judged."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, insert, update

from thermostat.alarms.model import Alarm, Transition
from thermostat.db.grouping import in_groups
from thermostat.db.history import EVALUATOR, Change, event_row
from thermostat.db.locking import locked_alarms
from thermostat.db.mapping import to_json
from thermostat.db.outbox import notification_rows
from thermostat.db.silences import Silence
from thermostat.db.tables import ALARM, HISTORY, NOTIFICATION
from thermostat.db.withholding import Silencing, silenced_rows, withhold

_UPDATE = update(ALARM).where(ALARM.c.alarm_id == bindparam("of"))
"""Sets the columns that its parameters name."""


def record_all(connection: Connection, transitions: Sequence[Transition]) -> list[bool]:
    """Write transitions with their history and notifications; tell of each whether it was written.

    As if each was written after the one before it, but that what recurs is not written after one
    of the same alarm that was not.
    """
    written: list[bool] = []
    refused: set[str] = set()
    silencing = Silencing(connection, transitions)
    for run in _runs(transitions):
        written += _record_run(connection, run, refused, silencing)
    return written


def _runs(transitions: Sequence[Transition]) -> Iterator[Sequence[Transition]]:
    """Divide them so that no part has two transitions of one alarm."""
    begin = 0
    seen: set[str] = set()
    for position, transition in enumerate(transitions):
        if transition.alarm_id in seen:
            yield transitions[begin:position]
            begin = position
            seen.clear()
        seen.add(transition.alarm_id)
    if seen:
        yield transitions[begin:]


def _record_run(
    connection: Connection,
    transitions: Sequence[Transition],
    refused: set[str],
    silencing: Silencing,
) -> list[bool]:
    judged = locked_alarms(connection, [transition.alarm_id for transition in transitions])
    written = []
    changes, repeats, spoken = [], [], []
    telling = _Telling(silencing)
    for transition in transitions:
        alarm = judged.get(transition.alarm_id)
        is_lost = transition.recurs and transition.alarm_id in refused
        if alarm is None or alarm.revision != transition.revision or is_lost:
            refused.add(transition.alarm_id)
            written.append(False)
            continue
        written.append(True)
        if transition.quiet:
            spoken.append(_known(transition) | {"state_reason": _text(transition.reason)})
            continue
        if transition.is_change:
            changes.append(_known(transition) | _new_state(transition))
        elif transition.recurs:
            spoken.append(_known(transition) | {"state_reason": _text(transition.reason)})
        else:
            repeats.append(_known(transition))
        telling.add(alarm, transition)
    for statement, rows in (
        (_UPDATE, changes),
        (_UPDATE, repeats),
        (_UPDATE, spoken),
        (insert(HISTORY), telling.events),
        (insert(NOTIFICATION), in_groups(connection, telling.notifications)),
        (insert(NOTIFICATION), telling.silent),
    ):
        if rows:
            connection.execute(statement, rows)
    withhold(connection, telling.silenced)
    return written


class _Telling:
    """What transitions leave in the history and in the outbox."""

    def __init__(self, silencing: Silencing) -> None:
        self._silencing = silencing
        self.events: list[Mapping[str, Any]] = []
        self.notifications: list[Mapping[str, Any]] = []
        self.silent: list[Mapping[str, Any]] = []
        """Notifications that are never delivered."""
        self.silenced: list[tuple[Alarm, Transition, Silence]] = []

    def add(self, alarm: Alarm, transition: Transition) -> None:
        """Take in a transition that is not quiet."""
        silence = self._silencing.of(alarm, transition)
        if transition.is_change or transition.recurs:
            self.events.append(_event(alarm, transition, silence))
        if silence is not None:
            self.silent += silenced_rows(alarm, transition, silence)
            self.silenced.append((alarm, transition, silence))
        elif not transition.suppressed:
            self.notifications += notification_rows(alarm, transition)


def _known(transition: Transition) -> dict[str, Any]:
    return {
        "of": transition.alarm_id,
        "rule_states": to_json(transition.rule_states),
        "suppressed": transition.suppressed,
        "judged_us": transition.step_us,
        "evaluate_timestamp_us": transition.timestamp_us,
    }


def _text(reason: str) -> str:
    """Give a reason as every database takes it: a sample's texts may be in it."""
    return reason.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _new_state(transition: Transition) -> dict[str, Any]:
    return {
        "state": transition.state.value,
        "state_reason": _text(transition.reason),
        "state_timestamp_us": transition.timestamp_us,
        "revision": transition.revision + 1,
    }


def _event(alarm: Alarm, transition: Transition, silence: Silence | None) -> Mapping[str, Any]:
    detail = {
        "state": transition.state,
        "transition_reason": transition.reason,
        "reason_data": transition.reason_data,
    }
    return event_row(
        alarm,
        Change.STATE_TRANSITION,
        detail if silence is None else {**detail, "silenced_by": silence.silence_id},
        author=EVALUATOR,
        timestamp_us=transition.timestamp_us,
    )
