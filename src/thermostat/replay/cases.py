# SPDX-License-Identifier: Apache-2.0
"""Test files: alarms, series in a compact notation, and the states that are expected of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from thermostat.alarms.model import Alarm, State
from thermostat.replay.definitions import documents_of, make_alarms
from thermostat.replay.documents import Document, load_all
from thermostat.replay.errors import DocumentError, NotationError
from thermostat.replay.notation import duration_s, values
from thermostat.samples.model import Sample, SampleType

US_PER_S = 1_000_000
PROJECT = "project"
"""The project of alarms that name none."""
START = "2026-01-01T00:00:00Z"
"""When the first value of each series was measured, unless the file says otherwise: a Thursday."""
LONGEST_S = 31 * 86_400
"""The longest span of time that a test may cover."""

_Span = str | float
_Name = Annotated[str, Meta(min_length=1)]


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mapping in which an unknown key is an error."""


class _Series(_Strict, frozen=True, kw_only=True):
    """One series and its values, one for each interval from the start on."""

    meter: Annotated[str, Meta(min_length=1, max_length=255)]
    resource: Annotated[str, Meta(min_length=1, max_length=255)]
    values: str | float
    type: SampleType = SampleType.GAUGE
    unit: str = ""
    project: str | None = None
    user: str | None = None
    source: str = "openstack"
    metadata: dict[str, Any] = {}


class _Expected(_Strict, frozen=True, kw_only=True):
    """The state of an alarm at a time after the start."""

    at: _Span
    alarm: _Name
    state: State
    reason: str | None = None


class _ExpectedTransition(_Expected, frozen=True, kw_only=True):
    """A change of state at a time after the start."""

    previous: State | None = None


class _Test(_Strict, frozen=True, kw_only=True):
    name: _Name
    series: list[_Series] = []
    expect: list[_Expected] = []
    transitions: list[_ExpectedTransition] | None = None
    until: _Span | None = None
    alarms: list[Any] | None = None
    alarm_files: list[str] | None = None
    interval: _Span | None = None
    start: str | None = None
    allowed_lag: _Span | None = None


class _File(_Strict, frozen=True, kw_only=True):
    tests: Annotated[list[_Test], Meta(min_length=1)]
    alarms: list[Any] = []
    alarm_files: list[str] = []
    interval: _Span = 60
    start: str = START
    allowed_lag: _Span = 0


@dataclass(frozen=True, slots=True)
class Expectation:
    """What an alarm's state, or its change of state, is to be."""

    line: int
    at_s: float
    """Seconds after the start."""
    alarm_id: str
    alarm: str
    """As the file names it."""
    state: State
    previous: State | None
    reason: str | None
    """A text that the reason has in it; None: any."""


@dataclass(frozen=True, slots=True)
class SeriesCase:
    """One series with its values by second after the start."""

    meter: str
    resource: str
    values: Mapping[float, float | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One test, ready to run."""

    file: str
    line: int
    name: str
    alarms: Sequence[Alarm]
    series: Sequence[SeriesCase]
    samples: Sequence[Sample]
    expect: Sequence[Expectation]
    transitions: Sequence[Expectation] | None
    """All changes of state, in order; None: any."""
    start_us: int
    until_s: float
    allowed_lag_s: float


def read_cases(path: Path) -> list[Case]:
    """Give the tests of a file. Raises DocumentError, or OSError where a file cannot be read."""
    documents = list(load_all(path))
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise DocumentError(f"{path}: a test file is one mapping, with alarms and tests")
    document = documents[0]
    file = document.convert(_File)
    cases = [
        _case(document, file, document.part("tests", index), test)
        for index, test in enumerate(file.tests)
    ]
    seen: set[str] = set()
    for index, case in enumerate(cases):
        if case.name in seen:
            raise document.error(f"tests[{index}].name", f"{case.name!r} is the name of two tests")
        seen.add(case.name)
    return cases


def _case(document: Document, file: _File, part: Document, test: _Test) -> Case:
    if not test.expect and test.transitions is None:
        raise part.error("", "a test expects something: give expect or transitions")
    interval_s = _span(document, part, "interval", file.interval, test.interval)
    if interval_s < 1:
        raise _holder(document, part, test.interval).error("interval", "must be at least 1 second")
    start_us = _instant_us(document, part, file.start, test.start)
    alarms = _alarms(document, file, part, test, start_us)
    series = list(_series(part, test, interval_s))
    samples = list(_samples(part, test, series, _default_project(alarms), start_us))
    expect = [
        _expectation(part.part("expect", index), one, alarms)
        for index, one in enumerate(test.expect)
    ]
    transitions = [
        _expectation(part.part("transitions", index), one, alarms)
        for index, one in enumerate(test.transitions or ())
    ]
    ends_s = [one.at_s for one in [*expect, *transitions]]
    ends_s += [max(one.values) for one in series]
    until_s = max(ends_s, default=0) if test.until is None else _seconds(part, "until", test.until)
    if until_s > LONGEST_S:
        raise part.error("", f"covers more than {LONGEST_S // 86_400} days")
    late = next((one for one in expect if one.at_s > until_s), None)
    if late is not None:
        raise part.error("until", f"ends before the expectation of line {late.line}")
    return Case(
        file=document.file,
        line=part.node.start_mark.line + 1,
        name=test.name,
        alarms=alarms,
        series=series,
        samples=samples,
        expect=expect,
        transitions=None if test.transitions is None else transitions,
        start_us=start_us,
        until_s=until_s,
        allowed_lag_s=_span(document, part, "allowed_lag", file.allowed_lag, test.allowed_lag),
    )


def _alarms(
    document: Document, file: _File, part: Document, test: _Test, start_us: int
) -> list[Alarm]:
    """Give a test's own alarms, or else the file's."""
    own = test.alarms is not None or test.alarm_files is not None
    holder = part if own else document
    inline, names = (test.alarms, test.alarm_files) if own else (file.alarms, file.alarm_files)
    documents = [holder.part("alarms", index) for index in range(len(inline or ()))]
    for index, name in enumerate(names or ()):
        try:
            documents += documents_of(Path(document.file).parent / name)
        except OSError as error:
            raise holder.error(
                f"alarm_files[{index}]", f"{name}: {error.strerror or error}"
            ) from error
    if not documents:
        raise part.error("", "there are no alarms: give alarms or alarm_files")
    return make_alarms(documents, project_id=PROJECT, now_us=start_us)


def _series(part: Document, test: _Test, interval_s: float) -> Iterator[SeriesCase]:
    seen: set[tuple[str, str, str | None]] = set()
    for index, one in enumerate(test.series):
        key = (one.meter, one.resource, one.project)
        if key in seen:
            raise part.error(f"series[{index}]", f"{one.meter} of {one.resource} is there already")
        seen.add(key)
        try:
            numbers = values(str(one.values))
        except NotationError as error:
            raise part.error(f"series[{index}].values", str(error)) from error
        yield SeriesCase(
            one.meter,
            one.resource,
            {position * interval_s: value for position, value in enumerate(numbers)},
        )


def _samples(
    part: Document,
    test: _Test,
    series: Sequence[SeriesCase],
    project_id: str | None,
    start_us: int,
) -> Iterator[Sample]:
    for index, (one, case) in enumerate(zip(test.series, series, strict=True)):
        if one.project is None and project_id is None:
            raise part.error(f"series[{index}]", "the alarms are of several projects: give project")
        for at_s, value in case.values.items():
            if value is not None:
                yield Sample(
                    name=one.meter,
                    type=one.type,
                    unit=one.unit,
                    volume=value,
                    resource_id=one.resource,
                    project_id=one.project or project_id,
                    user_id=one.user,
                    timestamp_us=start_us + round(at_s * US_PER_S),
                    metadata=one.metadata,
                    source=one.source,
                )


def _default_project(alarms: Sequence[Alarm]) -> str | None:
    projects = {alarm.project_id for alarm in alarms}
    return projects.pop() if len(projects) == 1 else None


def _expectation(part: Document, one: _Expected, alarms: Sequence[Alarm]) -> Expectation:
    by_id = [alarm.alarm_id for alarm in alarms if alarm.alarm_id == one.alarm]
    found = by_id or [alarm.alarm_id for alarm in alarms if alarm.name == one.alarm]
    if len(found) != 1:
        known = ", ".join(sorted({alarm.name for alarm in alarms}))
        reason = f"{one.alarm!r} is the name of more than one alarm: use its id"
        raise part.error("alarm", reason if found else f"{one.alarm!r} is not one of {known}")
    return Expectation(
        line=part.node.start_mark.line + 1,
        at_s=_seconds(part, "at", one.at),
        alarm_id=found[0],
        alarm=one.alarm,
        state=one.state,
        previous=one.previous if isinstance(one, _ExpectedTransition) else None,
        reason=one.reason,
    )


def _holder(document: Document, part: Document, own: object) -> Document:
    """Give where an option stands: in the test, or for all tests of the file."""
    return document if own is None else part


def _span(
    document: Document, part: Document, field: str, common: _Span, own: _Span | None
) -> float:
    return _seconds(_holder(document, part, own), field, common if own is None else own)


def _seconds(part: Document, field: str, given: _Span) -> float:
    try:
        return duration_s(given)
    except NotationError as error:
        raise part.error(field, str(error)) from error


def _instant_us(document: Document, part: Document, common: str, own: str | None) -> int:
    given = common if own is None else own
    try:
        instant = datetime.fromisoformat(given)
    except ValueError:
        raise _holder(document, part, own).error(
            "start", f"{given!r} is not a date and time in ISO 8601"
        ) from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return round(instant.timestamp()) * US_PER_S
