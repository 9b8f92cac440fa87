# SPDX-License-Identifier: Apache-2.0
"""Silences: spans of time in which no action of the alarms that they match is called."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    bindparam,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from thermostat.alarms.model import Alarm, State
from thermostat.alarms.rules import rule_type
from thermostat.alarms.texts import Value
from thermostat.db import quotas
from thermostat.db.mapping import to_json
from thermostat.db.tables import SILENCE, WITHHELD
from thermostat.db.writing import writer
from thermostat.patterns import finder

MOST_TERMS = 20
"""How many terms a matcher may have."""


class Op(StrEnum):
    """How a term compares."""

    EQ = "eq"
    NE = "ne"
    REGEX = "regex"


class Term(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One condition on an alarm."""

    field: Literal["name", "alarm_id", "description", "severity", "type", "state"]
    """What of the alarm is compared; `state` is the one that would be told."""
    value: Value
    """With what; a regular expression of RE2 is found anywhere in the field."""
    op: Op = Op.EQ
    """How."""


Matcher = Annotated[tuple[Term, ...], Meta(min_length=1, max_length=MOST_TERMS)]


class Status(StrEnum):
    """Where a silence stands."""

    PENDING = "pending"
    ACTIVE = "active"
    EXPIRED = "expired"


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """One silence as it is stored. Timestamps are microseconds since the epoch, UTC."""

    silence_id: str
    project_id: str | None
    """None: it is for the alarms of all projects."""
    matcher: tuple[Term, ...]
    """All of its terms must hold."""
    from_us: int
    until_us: int
    user_id: str
    """Who made it."""
    comment: str
    created_us: int
    updated_us: int

    def status(self, now_us: int) -> Status:
        """Tell where it stands at this time."""
        return _status(self.from_us, self.until_us, now_us)

    def silences(self, alarm: Alarm, state: State, at_us: int) -> bool:
        """Tell whether it is for this alarm, in this state, at this time."""
        if not self.from_us <= at_us < self.until_us:
            return False
        if self.project_id not in (None, alarm.project_id):
            return False
        return all(_holds(term)(_value(alarm, state, term.field)) for term in self.matcher)


class SilenceNotFound(LookupError):  # noqa: N818 - it reads as a state
    """There is no such silence."""


class SilenceExpired(Exception):  # noqa: N818 - it reads as a state
    """The silence is over."""


class TooManySilences(Exception):  # noqa: N818 - it names what was asked for
    """The project has as many silences as it may have."""


def silences_after(connection: Connection, at_us: int) -> Sequence[Silence]:
    """Give the silences that were not over at this time, the one that ends last first."""
    rows = connection.execute(_AFTER, {"at_us": at_us})
    return [_silence(row) for row in rows]


class SilenceRepository:
    """The silences of all projects. Every method may be called from any thread."""

    def __init__(self, engine: Engine, most_per_project: int = 100) -> None:
        self._reads = engine
        self._writes = writer(engine)
        self._most = most_per_project

    def find(self, silence_id: str) -> Silence | None:
        """Give a silence of any project, or None."""
        with self._reads.begin() as connection:
            row = connection.execute(_of(silence_id)).one_or_none()
        return None if row is None else _silence(row)

    def list(self, project_id: str | None, *, limit: int | None = None) -> Sequence[Silence]:
        """Give a project's silences and those for all projects, the one that ends last first.

        With None those of every project.
        """
        query = select(*_COLUMNS).order_by(SILENCE.c.until_us.desc(), SILENCE.c.silence_id)
        if project_id is not None:
            own = SILENCE.c.project_id == project_id
            query = query.where(or_(own, SILENCE.c.project_id.is_(None)))
        with self._reads.begin() as connection:
            return [_silence(row) for row in connection.execute(query.limit(limit))]

    def create(self, silence: Silence) -> None:
        """Add a silence. Raises TooManySilences.

        Of those of its project that are over, as many as it may have are kept.
        """
        own = _is_of(silence.project_id)
        with self._writes.begin() as connection:
            quotas.lock(connection, silence.project_id or "")
            is_open = SILENCE.c.until_us > silence.created_us
            count = connection.scalar(select(func.count()).select_from(SILENCE).where(own, is_open))
            if (count or 0) >= self._most:
                raise TooManySilences(
                    f"there are {self._most} silences already: expire one that is not needed"
                )
            newest = (
                select(SILENCE.c.silence_id)
                .where(own, ~is_open)
                .order_by(SILENCE.c.until_us.desc())
                .limit(self._most)
            )
            connection.execute(
                delete(SILENCE).where(own, ~is_open, SILENCE.c.silence_id.not_in(newest))
            )
            connection.execute(insert(SILENCE).values(_row(silence)))

    def change(self, silence_id: str, change: Callable[[Silence], Silence], now_us: int) -> Silence:
        """Put `change(current)` in a silence's place and give it.

        Raises SilenceNotFound, and SilenceExpired if it is over. What it withheld is looked at
        anew.
        """
        with self._writes.begin() as connection:
            row = connection.execute(_of(silence_id).with_for_update()).one_or_none()
            if row is None:
                raise SilenceNotFound(silence_id)
            current = _silence(row)
            if current.status(now_us) is Status.EXPIRED:
                raise SilenceExpired(silence_id)
            silence = msgspec.structs.replace(change(current), updated_us=now_us)
            connection.execute(
                update(SILENCE).where(SILENCE.c.silence_id == silence_id).values(_row(silence))
            )
            connection.execute(
                update(WITHHELD)
                .where(WITHHELD.c.silence_id == silence_id)
                .values(recheck_us=now_us)
            )
        return silence

    def count_by_status(self, now_us: int) -> dict[Status, int]:
        """Give how many silences have each status, over all projects."""
        with self._reads.begin() as connection:
            counted = dict.fromkeys(Status, 0)
            for row in connection.execute(select(SILENCE.c.from_us, SILENCE.c.until_us)):
                counted[_status(row.from_us, row.until_us, now_us)] += 1
        return counted

    def purge(self, before_us: int) -> int:
        """Delete silences that were over before this time; give how many that were."""
        with self._writes.begin() as connection:
            over = delete(SILENCE).where(SILENCE.c.until_us < before_us)
            return connection.execute(over).rowcount


def _status(from_us: int, until_us: int, now_us: int) -> Status:
    if now_us >= until_us:
        return Status.EXPIRED
    return Status.ACTIVE if now_us >= from_us else Status.PENDING


@lru_cache(maxsize=10_000)
def _holds(term: Term) -> Callable[[str], bool]:
    """Give what tells whether a term holds of a field's text."""
    match term.op:
        case Op.EQ:
            return lambda text: text == term.value
        case Op.NE:
            return lambda text: text != term.value
        case Op.REGEX:
            return finder(term.value)


def _value(alarm: Alarm, state: State, field: str) -> str:
    if field == "state":
        return state.value
    if field == "type":
        return rule_type(alarm.rule)
    return str(getattr(alarm, field))


_COLUMNS = [SILENCE.c[field] for field in Silence.__struct_fields__]
_AFTER = (
    select(*_COLUMNS)
    .where(SILENCE.c.until_us > bindparam("at_us"))
    .order_by(SILENCE.c.until_us.desc(), SILENCE.c.silence_id)
)
_terms = lru_cache(maxsize=1_000)(msgspec.json.Decoder(tuple[Term, ...]).decode)


def _of(silence_id: str) -> Select[Any]:
    return select(*_COLUMNS).where(SILENCE.c.silence_id == silence_id)


def _is_of(project_id: str | None) -> ColumnElement[bool]:
    if project_id is None:
        return SILENCE.c.project_id.is_(None)
    return SILENCE.c.project_id == project_id


def _silence(row: Row[Any]) -> Silence:
    values = dict(row._mapping)
    return Silence(**{**values, "matcher": _terms(values["matcher"])})


def _row(silence: Silence) -> dict[str, Any]:
    return {**msgspec.structs.asdict(silence), "matcher": to_json(silence.matcher)}
