# SPDX-License-Identifier: Apache-2.0
"""`POST /v2/alarms/preview`: what an alarm that does not exist yet would have done."""

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Annotated, Any

import falcon
import msgspec
from msgspec import Meta

from thermostat.alarms.model import Alarm, Transition
from thermostat.api import policies
from thermostat.api.alarms import AlarmNoun, references_checked
from thermostat.api.body import read_object
from thermostat.api.context import authorize
from thermostat.api.conversion import convert
from thermostat.api.errors import bad_field
from thermostat.api.params import instant_us
from thermostat.api.services import Services
from thermostat.db.mapping import iso
from thermostat.replay.core import as_new
from thermostat.replay.preview import Preview, TooMuchWork, preview
from thermostat.replay.rules import named_by, unrecorded

HOUR_US = 3_600_000_000
MOST_AT_ONCE = 2
"""Previews that are made at the same time; more are refused."""
MOST_NAMED = 50
"""How many other alarms a previewed one may name, directly or not."""
RETRY_AFTER_S = 5


class Span(msgspec.Struct, frozen=True):
    """The time over which the alarm is judged."""

    hours: Annotated[float, Meta(gt=0)] | None = None
    """How many hours before the end it starts; at most 168. Default 6."""
    start: str | None = None
    """When it starts, in ISO 8601."""
    end: str | None = None
    """When it ends, in ISO 8601; left out: now."""


_SPAN_FIELDS = Span.__struct_fields__
DEFAULT_HOURS = 6.0
MOST_HOURS = 168.0


class PreviewResource(AlarmNoun):
    """An alarm that is judged over the past and forgotten."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self._turns = threading.BoundedSemaphore(MOST_AT_ONCE)

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Give the transitions that the alarm would have made; nothing is created or called."""
        authorize(self._services.enforcer, req, policies.PREVIEW_ALARM)
        document = read_object(req)
        given = {field: document.pop(field) for field in _SPAN_FIELDS if field in document}
        start_us, end_us = self._span(convert(given, Span))
        alarm = self._defined(req, document, str(uuid.uuid4()))
        for field, reason in unrecorded(alarm.rule):
            raise bad_field(field, reason)
        with references_checked():
            self._services.alarms.check_references(alarm)
        named = self._named(alarm)
        with self._turn():
            try:
                found = preview(
                    alarm,
                    named,
                    self._services.store,
                    start_us=start_us,
                    end_us=end_us,
                    earliest_us=self._earliest_us(self._services.now_us()),
                    allowed_lag_s=self._services.allowed_lag_s,
                )
            except TooMuchWork as error:
                raise falcon.HTTPBadRequest(
                    description=f"The preview is too large: {error}"
                ) from error
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode(_shape(found, start_us, end_us))

    def _span(self, span: Span) -> tuple[int, int]:
        """Give start and end in microseconds of event time."""
        now_us = self._services.now_us()
        end_us = now_us if span.end is None else _instant_us("end", span.end)
        if end_us > now_us:
            raise bad_field("end", "is in the future")
        if span.start is None:
            hours = DEFAULT_HOURS if span.hours is None else span.hours
            if hours > MOST_HOURS:
                raise bad_field("hours", f"must be at most {MOST_HOURS:g}")
            start_us = end_us - int(hours * HOUR_US)
        elif span.hours is not None:
            raise bad_field("hours", "cannot be given together with start")
        else:
            start_us = _instant_us("start", span.start)
        field = "start" if span.start is not None else "hours"
        if start_us >= end_us:
            raise bad_field(field, "must be before the end")
        if end_us - start_us > MOST_HOURS * HOUR_US:
            raise bad_field(field, f"must be at most {MOST_HOURS:g} hours before the end")
        if start_us < self._earliest_us(now_us):
            kept = self._services.retention_hours
            reason = "is before 1970" if kept is None else f"samples are kept for {kept} hours only"
            raise bad_field(field, reason)
        return start_us, end_us

    def _earliest_us(self, now_us: int) -> int:
        """Give the event time before which no samples are kept."""
        kept = self._services.retention_hours
        return 0 if kept is None else now_us - kept * HOUR_US

    def _named(self, alarm: Alarm) -> list[Alarm]:
        """Give the alarms that this one depends on, as new."""
        named = list(islice(named_by(alarm, self._services.alarms.find), MOST_NAMED + 1))
        if len(named) > MOST_NAMED:
            raise falcon.HTTPBadRequest(
                description=f"The preview is too large: it depends on more than {MOST_NAMED} alarms"
            )
        for other in named:
            for _, reason in unrecorded(other.rule):
                raise falcon.HTTPBadRequest(
                    description="The preview is not possible: it depends on alarm"
                    f" {other.alarm_id}, and {reason}"
                )
        return [as_new(other) for other in named]

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(blocking=False):
            raise falcon.HTTPServiceUnavailable(
                description=f"{MOST_AT_ONCE} previews are being made already; try again.",
                retry_after=RETRY_AFTER_S,
            )
        try:
            yield
        finally:
            self._turns.release()


def _instant_us(field: str, text: str) -> int:
    try:
        return instant_us(text)
    except (ValueError, OverflowError):
        raise bad_field(field, f"{text!r} is not a date and time in ISO 8601") from None


def _shape(found: Preview, start_us: int, end_us: int) -> dict[str, Any]:
    return {
        "transitions": [_transition(one) for one in found.transitions],
        "state": found.state,
        "state_reason": found.reason,
        "evaluated_from": iso(start_us),
        "evaluated_until": iso(end_us),
        "samples": found.samples,
        "series": found.series,
    }


def _transition(one: Transition) -> dict[str, Any]:
    return {
        "timestamp": iso(one.timestamp_us),
        "previous": one.previous,
        "state": one.state,
        "suppressed": one.suppressed,
        "reason": one.reason,
        "reason_data": one.reason_data,
    }
