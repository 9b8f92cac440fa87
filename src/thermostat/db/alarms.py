# SPDX-License-Identifier: Apache-2.0
"""The alarms: definitions, states and history. Each method is one transaction."""

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

import msgspec
from sqlalchemy import (
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from thermostat.alarms.model import Alarm, RefusedTransition, Standing, State, Transition
from thermostat.alarms.rules import RULE_TYPES
from thermostat.db import quotas, recording, results, trust_faults
from thermostat.db.engine import MOST_IDS
from thermostat.db.filters import EVERYTHING, Filter, condition
from thermostat.db.history import Author, Change, Event, note
from thermostat.db.mapping import (
    STANDING_COLUMNS,
    Reader,
    StandingReader,
    describe,
    from_row,
    to_row,
)
from thermostat.db.outbox import use_new_trust
from thermostat.db.paging import Page, paged
from thermostat.db.references import check_references
from thermostat.db.retired_trusts import retire, take_up
from thermostat.db.searching import search
from thermostat.db.tables import ALARM, EVALUATOR, HISTORY
from thermostat.db.writing import writer

LOG = logging.getLogger(__name__)
MANUALLY_SET = "Manually set via API"
ROWS_AT_ONCE = 1000
"""How many rows a read of all alarms holds at a time."""
_EVENT_FIELDS = [HISTORY.c[field] for field in Event.__struct_fields__]
_REFUSALS = (DataError, IntegrityError, ValueError, TypeError, LookupError, ArithmeticError)
"""What a database, its driver and we ourselves raise for what is in a row, not for its state."""
_UNTOLD_CHANGES = frozenset({"timestamp", "state_timestamp", "evaluate_timestamp"})


class AlarmNotFound(LookupError):  # noqa: N818 - it reads as a state
    """There is no such alarm, or not for this caller."""


class AlarmRepository:
    """The alarms of all projects. Every method may be called from any thread."""

    def __init__(
        self,
        engine: Engine,
        limits: quotas.Limits = quotas.NO_LIMITS,
        *,
        counts_results: bool = False,
    ) -> None:
        self.counts_results = counts_results
        """Whether it counts how often each alarm is found in each state."""
        self._reads = engine
        self._writes = writer(engine)
        self._limits = limits

    def check(self) -> str | None:
        """Give the reason why the database cannot be used, or None."""
        try:
            with self._reads.begin() as connection:
                connection.execute(select(ALARM.c.alarm_id).limit(1))
        except SQLAlchemyError as error:
            LOG.warning("The alarm database cannot be used: %s", error)
            return "the alarm database cannot be used"
        return None

    # -- reading --------------------------------------------------------------------------------

    def find(self, alarm_id: str) -> Alarm | None:
        """Give an alarm of any project, or None."""
        with self._reads.begin() as connection:
            return _find(connection, select(ALARM).where(ALARM.c.alarm_id == alarm_id))

    def standing(self, types: Collection[str] = frozenset(RULE_TYPES)) -> Iterator[Standing]:
        """Give every enabled alarm of these types, all as they are when the first is asked for.

        Equal parts of them are the same objects.
        """
        read = StandingReader().standing
        with self._reads.begin() as connection:
            rows = connection.execution_options(yield_per=ROWS_AT_ONCE).execute(
                select(*STANDING_COLUMNS).where(ALARM.c.enabled.is_(True), ALARM.c.type.in_(types))
            )
            yield from _readable(read, rows)

    def standing_of(
        self, alarm_ids: Collection[str], types: Collection[str] = frozenset(RULE_TYPES)
    ) -> Sequence[Standing]:
        """Give those of these alarms that are enabled, and of these types."""
        read, ids = StandingReader().standing, sorted(alarm_ids)
        with self._reads.begin() as connection:
            return [
                alarm
                for begin in range(0, len(ids), MOST_IDS)
                for alarm in _readable(
                    read,
                    connection.execute(
                        _STANDING_OF, {"ids": ids[begin : begin + MOST_IDS], "types": sorted(types)}
                    ),
                )
            ]

    def list(self, where: Mapping[str, Any], page: Page) -> Sequence[Alarm]:
        """Give the alarms whose columns have these values, in order. Raises UnknownMarker."""
        query = select(ALARM).where(*(ALARM.c[name] == value for name, value in where.items()))
        with self._reads.begin() as connection:
            rows = connection.execute(paged(connection, query, ALARM.c.alarm_id, page))
            return list(map(Reader().alarm, rows.all()))

    def history(
        self,
        alarm_id: str,
        where: Mapping[str, Any],
        page: Page,
        also: Filter = EVERYTHING,
    ) -> Sequence[Event]:
        """Give what happened to an alarm, in order, of those columns. Raises UnknownMarker."""
        query = select(*_EVENT_FIELDS).where(
            HISTORY.c.alarm_id == alarm_id,
            *(HISTORY.c[name] == value for name, value in where.items()),
            condition(also, HISTORY, self._reads.dialect.name),
        )
        with self._reads.begin() as connection:
            rows = connection.execute(paged(connection, query, HISTORY.c.event_id, page))
            return list(map(_event, rows.all()))

    def search(self, wanted: Filter, page: Page) -> Sequence[Alarm]:
        """Give the alarms that a filter asks for, in order. Raises TooLong."""
        with self._reads.begin() as connection:
            return search(connection, list(ALARM.c), wanted, page, read=Reader().alarm)

    def search_history(self, wanted: Filter, page: Page) -> Sequence[Event]:
        """Give what a filter asks for of the history of all alarms, in order. Raises TooLong."""
        with self._reads.begin() as connection:
            return search(connection, list(HISTORY.c), wanted, page, read=_event)

    def count_by_state(self) -> Mapping[State, int]:
        """Give how many alarms are in each state, over all projects."""
        query = select(ALARM.c.state, func.count()).group_by(ALARM.c.state)
        with self._reads.begin() as connection:
            counted = {State(state): count for state, count in connection.execute(query)}
        return {state: counted.get(state, 0) for state in State}

    # -- users' changes -------------------------------------------------------------------------

    def trust_faults(self, alarms: Iterable[Alarm]) -> Mapping[str, str]:
        """Give, by the trust's id, why Keystone refuses the trusts of these alarms that it does."""
        ids = {alarm.trust_id for alarm in alarms if alarm.trust_id is not None}
        if not ids:
            return {}
        with self._reads.begin() as connection:
            return trust_faults.faults(connection, ids)

    def check_references(self, alarm: Alarm) -> None:
        """Raise BadReference where creating this alarm would."""
        with self._reads.begin() as connection:
            check_references(connection, alarm)

    def create(self, alarm: Alarm, author: Author) -> None:
        """Add an alarm. Raises BadReference and OverQuota."""
        with self._writes.begin() as connection:
            check_references(connection, alarm)
            connection.execute(_INSERT, to_row(alarm))
            if alarm.trust_id is not None:
                take_up(connection, alarm.trust_id)
            detail, now_us = describe(alarm), alarm.timestamp_us
            note(connection, alarm, Change.CREATION, detail, author=author, timestamp_us=now_us)
            quotas.count(connection, None, alarm, self._limits)

    def replace(
        self, alarm_id: str, change: Callable[[Alarm], Alarm], author: Author, now_us: int
    ) -> Alarm:
        """Put `change(current)` in an alarm's place and give it.

        Raises AlarmNotFound, BadReference if it names alarms that it may not and did not, and
        OverQuota if it moves to an owner that has as many as it may have.

        Its revision grows, and a trust that it no longer has is retired; what may still be sent to
        a URL that it keeps uses its new one. What was judged is kept where it was judged by the
        same rule. A change that changes nothing writes nothing.
        """
        with self._writes.begin() as connection:
            current = _locked(connection, alarm_id)
            wanted = _judged_as(current, change(current))
            if wanted == current:
                return current
            if not _is_judged_alike(current, wanted):
                check_references(connection, wanted)
            alarm = msgspec.structs.replace(
                wanted, timestamp_us=now_us, revision=current.revision + 1
            )
            _write(connection, alarm)
            if alarm.trust_id not in (None, current.trust_id):
                take_up(connection, alarm.trust_id)
                use_new_trust(connection, current, alarm)
            if current.trust_id not in (None, alarm.trust_id):
                retire(connection, current.trust_id, now_us)
            before, now = describe(current), describe(alarm)
            changed = {
                field: value
                for field, value in now.items()
                if value != before[field] and field not in _UNTOLD_CHANGES
            }
            if changed:
                note(
                    connection,
                    alarm,
                    Change.RULE_CHANGE,
                    changed,
                    author=author,
                    timestamp_us=now_us,
                )
            quotas.count(connection, current, alarm, self._limits)
            return alarm

    def set_state(self, alarm_id: str, state: State, author: Author, now_us: int) -> Alarm:
        """Put an alarm into a state by hand, which fires no action. Raises AlarmNotFound."""
        with self._writes.begin() as connection:
            current = _locked(connection, alarm_id)
            alarm = msgspec.structs.replace(
                current,
                state=state,
                state_reason=MANUALLY_SET,
                state_timestamp_us=now_us,
                revision=current.revision + 1,
                suppressed=False,
            )
            _write(connection, alarm)
            detail = {"state": state, "transition_reason": MANUALLY_SET}
            note(
                connection,
                alarm,
                Change.STATE_TRANSITION,
                detail,
                author=author,
                timestamp_us=now_us,
            )
            return alarm

    def delete(self, alarm_id: str, author: Author, now_us: int) -> None:
        """Delete an alarm and retire its trust. Raises AlarmNotFound.

        Notifications that were decided before are still delivered.
        """
        with self._writes.begin() as connection:
            alarm = _locked(connection, alarm_id)
            connection.execute(delete(ALARM).where(ALARM.c.alarm_id == alarm_id))
            if alarm.trust_id is not None:
                retire(connection, alarm.trust_id, now_us)
            detail = describe(alarm)
            note(connection, alarm, Change.DELETION, detail, author=author, timestamp_us=now_us)
            quotas.count(connection, alarm, None, self._limits)
            results.forget(connection, alarm_id)

    # -- quotas ---------------------------------------------------------------------------------

    def quota(self, project_id: str) -> int:
        """Give how many alarms a project may have; -1: as many as it likes."""
        with self._reads.begin() as connection:
            return quotas.quota_of(connection, project_id, self._limits)

    def set_quota(self, project_id: str, limit: int) -> None:
        """Let a project have so many alarms from now on; -1: as many as it likes."""
        with self._writes.begin() as connection:
            quotas.set_quota(connection, project_id, limit)

    def delete_quota(self, project_id: str) -> None:
        """Let a project have as many alarms as the configuration says."""
        with self._writes.begin() as connection:
            quotas.delete_quota(connection, project_id)

    # -- the evaluator's ------------------------------------------------------------------------

    def record(self, transition: Transition) -> bool:
        """Write one transition, as `record_all` does. Raises RefusedTransition."""
        try:
            return self.record_all([transition])[0]
        except _REFUSALS as error:
            raise RefusedTransition(f"{type(error).__name__}: {error}") from error

    def record_all(self, transitions: Sequence[Transition]) -> Sequence[bool]:
        """Write transitions with their history and notifications: all in one transaction.

        Gives False for those of which nothing is written because the alarm was edited, disabled
        or deleted since the revision that was judged. Only a change of state makes the revision
        grow, by one, and is in the history. A quiet transition queues no notification, and nor
        does one whose alarm is suppressed.
        """
        with self._writes.begin() as connection:
            written = recording.record_all(connection, transitions)
            if self.counts_results:
                results.count(connection, compress(transitions, written))
            return written

    def results(self, project_id: str | None) -> Mapping[tuple[str, str], Mapping[State, int]]:
        """Give how often alarms were found in each state, by project and alarm.

        Those of one project, or with None of all.
        """
        with self._reads.begin() as connection:
            return results.results(connection, project_id)

    def judged_us(self) -> int | None:
        """Give the step up to which all alarms were judged and written; None before the first."""
        with self._reads.begin() as connection:
            judged_us: int | None = connection.scalar(select(EVALUATOR.c.judged_us))
            return judged_us

    def note_judged(self, judged_us: int) -> None:
        """Note the step up to which all alarms were judged and written."""
        with self._writes.begin() as connection:
            connection.execute(update(EVALUATOR).values(judged_us=judged_us))

    def try_writing(self) -> None:
        """Write what is there already; raises where the database cannot be written."""
        with self._writes.begin() as connection:
            connection.execute(update(EVALUATOR).values(judged_us=EVALUATOR.c.judged_us))

    def purge_history(self, before_us: int) -> int:
        """Delete history older than this; give how many rows that were."""
        with self._writes.begin() as connection:
            old = delete(HISTORY).where(HISTORY.c.timestamp_us < before_us)
            return connection.execute(old).rowcount


def _readable(
    read: Callable[[Sequence[Any]], Standing], rows: Iterable[Sequence[Any]]
) -> Iterator[Standing]:
    """Give what rows say; one from before a rule had today's limits costs the others nothing."""
    for row in rows:
        try:
            alarm = read(row)
        except msgspec.ValidationError:
            LOG.exception("Alarm %s is not evaluated: its definition cannot be read", row[0])
        else:
            yield alarm


def _event(row: Row[Any]) -> Event:
    return Event(**{field: row._mapping[field] for field in Event.__struct_fields__})


_STANDING_OF = select(*STANDING_COLUMNS).where(
    ALARM.c.enabled.is_(True),
    ALARM.c.alarm_id.in_(bindparam("ids", expanding=True)),
    ALARM.c.type.in_(bindparam("types", expanding=True)),
)
_INSERT = insert(ALARM)
_UPDATE = update(ALARM).where(ALARM.c.alarm_id == bindparam("of"))


def _locking(alarm_id: str) -> Select[Any]:
    """Give the query for an alarm whose row stays locked until the transaction ends.

    SQLite, which knows no row locks, leaves the clause out: there the whole database is locked.
    """
    return select(ALARM).where(ALARM.c.alarm_id == alarm_id).with_for_update()


def _find(connection: Connection, query: Select[Any]) -> Alarm | None:
    row = connection.execute(query).one_or_none()
    return None if row is None else from_row(row)


def _locked(connection: Connection, alarm_id: str) -> Alarm:
    alarm = _find(connection, _locking(alarm_id))
    if alarm is None:
        raise AlarmNotFound(alarm_id)
    return alarm


def _is_judged_alike(one: Alarm, other: Alarm) -> bool:
    return (one.rule, one.project_id) == (other.rule, other.project_id)


def _judged_as(current: Alarm, wanted: Alarm) -> Alarm:
    """Give the wanted alarm with what is known from judging it by the same rule, if it was."""
    if not _is_judged_alike(current, wanted):
        return msgspec.structs.replace(wanted, judged_us=None, rule_states=(), suppressed=False)
    return msgspec.structs.replace(
        wanted,
        judged_us=current.judged_us,
        rule_states=current.rule_states,
        suppressed=current.suppressed and wanted.state is current.state,
    )


def _write(connection: Connection, alarm: Alarm) -> None:
    connection.execute(_UPDATE, {**to_row(alarm), "of": alarm.alarm_id})
