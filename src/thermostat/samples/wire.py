# SPDX-License-Identifier: Apache-2.0
"""Samples as bytes: Ceilometer's two JSON forms, and the columnar form that the agent sends.

A whole request is refused with its first fault, so that a sender never has to guess which part of a
batch was stored. The columnar form is a msgpack map:

    {"metadata": [{…}, …],               each distinct resource metadata once
     "series": [[name, type, unit, resource_id, project_id, user_id, metadata index, source], …],
     "series_index": int32 …,            per sample, little endian
     "timestamp_us": int64 …,            per sample, microseconds since the epoch, UTC
     "volume": float64 …}                per sample

Rates and percentages in it were derived by the sender.
"""

import re
import sys
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from math import isfinite
from typing import Annotated, Any, Generic, NoReturn, TypeVar

import msgspec

from thermostat.samples.model import Sample, SampleType

COLUMNAR_TYPE = "application/vnd.thermostat.samples+msgpack"
"""The Content-Type of the columnar form."""

MAX_FUTURE_US = 86_400_000_000
"""How far ahead of the clock a sample's event time may be: one day, in microseconds."""

MAX_ID_LENGTH = 255
"""Characters that a name or an identifier may have."""

MAX_DEPTH = 20
"""How deep the maps and lists of resource metadata may be nested."""

_EPOCH = datetime(1970, 1, 1)

_NO_NUL = "^[^\\x00]*$"  # reasons of alarms quote texts, and not every database can hold it
NUL = b"\\u0000"
"""Without these bytes a JSON body has no NUL: a raw one is no JSON."""

Id = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_ID_LENGTH, pattern=_NO_NUL)]
Text = Annotated[str, msgspec.Meta(max_length=MAX_ID_LENGTH, pattern=_NO_NUL)]


class InvalidSamples(ValueError):  # noqa: N818 - it names what was sent, like InvalidSelection
    """A request's samples cannot be accepted; none of them was."""

    def __init__(self, index: int | None, field: str | None, reason: str) -> None:
        where = f"sample {index}: " if index is not None else ""
        super().__init__(f"{where}{f'{field}: ' if field else ''}{reason}")
        self.index = index
        """The position of the faulty sample, from 0; None where no single sample is at fault."""
        self.field = field
        """The faulty field by its name on the wire, or None."""
        self.reason = reason


class HttpSample(msgspec.Struct, kw_only=True, gc=False):
    """One sample as Ceilometer's HTTP publisher writes it."""

    name: Id
    """The meter's name."""
    type: SampleType
    """What kind of meter it is."""
    unit: Text
    """The meter's unit."""
    volume: float
    """The value; finite."""
    resource_id: Id
    """What was measured."""
    timestamp: datetime
    """When, in ISO 8601; without an offset it is UTC."""
    project_id: Text | None = None
    """Whose it is."""
    user_id: Text | None = None
    """Whose it is."""
    resource_metadata: dict[str, Any] | None = None
    """What is known of the resource, up to 20 levels deep, without NUL."""
    source: Text | None = None
    """Left out: `openstack`."""
    monotonic_time: float | None = None
    """The sender's monotonic clock, in seconds; rates are made with it."""


class BusSample(HttpSample, kw_only=True, gc=False):
    """One sample as Ceilometer writes it on its message bus, by UDP and by TCP."""

    name: Id = msgspec.field(name="counter_name")
    """The meter's name."""
    type: SampleType = msgspec.field(name="counter_type")
    """What kind of meter it is."""
    unit: Text = msgspec.field(name="counter_unit")
    """The meter's unit."""
    volume: float = msgspec.field(name="counter_volume")
    """The value; finite."""


_Form = TypeVar("_Form", bound=HttpSample)
_T = TypeVar("_T")


class _Decoders(Generic[_Form]):
    """The decoders of one JSON form: of a single object, and of an array."""

    def __init__(self, form: type[_Form]) -> None:
        self._one = msgspec.json.Decoder(form)
        self._many = msgspec.json.Decoder(list[form])  # type: ignore[valid-type]  # made at run time

    def decode(self, body: bytes, *, single: bool) -> list[_Form]:
        """Give the samples; msgspec.ValidationError where the body is JSON but not of this form."""
        return [_parse(self._one.decode, body)] if single else _parse(self._many.decode, body)


_http_form = _Decoders(HttpSample)
_bus_form = _Decoders(BusSample)


def decode_json(body: bytes, *, now_us: int) -> list[Sample]:
    """Give the samples of a JSON array or of a single object, in either of Ceilometer's forms.

    Timestamps without an offset are UTC. Raises InvalidSamples.
    """
    single = body.lstrip()[:1] == b"{"
    wire: Sequence[HttpSample]
    try:
        try:
            wire = _http_form.decode(body, single=single)
        except msgspec.ValidationError:
            if not _looks_like_bus_form(body):
                raise
            wire = _bus_form.decode(body, single=single)
    except msgspec.ValidationError as error:
        _refuse(error, index=0 if single else None)
    latest_us = now_us + MAX_FUTURE_US
    samples = [_accept(index, item, latest_us) for index, item in enumerate(wire)]
    if NUL in body:
        for index, sample in enumerate(samples):
            if not is_plain(sample.metadata, MAX_DEPTH):  # of JSON: nothing else can be wrong
                raise InvalidSamples(index, "resource_metadata", _HAS_NUL)
    return samples


def _parse(decode: Callable[[bytes], _T], body: bytes) -> _T:
    try:
        return decode(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidSamples(None, None, f"The body is not valid JSON: {error}") from error
    except RecursionError:
        raise InvalidSamples(None, None, "The body is nested too deeply") from None


def _looks_like_bus_form(body: bytes) -> bool:
    """Tell whether the first sample has one of the bus form's names."""
    try:
        decoded = _parse(msgspec.json.decode, body)
    except msgspec.ValidationError:  # such as a number out of range
        return False
    first = decoded[0] if isinstance(decoded, list) and decoded else decoded
    return isinstance(first, dict) and any(name.startswith("counter_") for name in first)


def _accept(index: int, item: HttpSample, latest_us: int) -> Sample:
    bus = isinstance(item, BusSample)
    if not isfinite(item.volume):
        raise InvalidSamples(
            index, "counter_volume" if bus else "volume", "Expected a finite number"
        )
    if item.monotonic_time is not None and not isfinite(item.monotonic_time):
        raise InvalidSamples(index, "monotonic_time", "Expected a finite number")
    metadata = item.resource_metadata or {}
    if not is_shallow(metadata, MAX_DEPTH):
        reason = f"More than {MAX_DEPTH} levels of maps and lists"
        raise InvalidSamples(index, "resource_metadata", reason)
    timestamp_us = us_since_epoch(item.timestamp)
    _check_time(index, "timestamp", timestamp_us, latest_us)
    return Sample(
        name=item.name,
        type=item.type,
        unit=item.unit,
        volume=item.volume,
        resource_id=item.resource_id,
        project_id=item.project_id,
        user_id=item.user_id,
        timestamp_us=timestamp_us,
        monotonic_s=item.monotonic_time,
        metadata=metadata,
        source=item.source or "openstack",
    )


def is_shallow(value: dict[str, Any] | list[Any], depth: int) -> bool:
    """Tell whether a decoded JSON map or list has at most `depth` levels, itself among them."""
    # for every sample: comparing types takes a fraction of what isinstance with ABCs takes
    inner: Iterable[Any] = value.values() if type(value) is dict else value
    for item in inner:
        kind = type(item)
        if (kind is dict or kind is list) and (depth == 1 or not is_shallow(item, depth - 1)):
            return False
    return True


def us_since_epoch(when: datetime) -> int:
    """Give microseconds since the epoch; without an offset it is UTC."""
    # Several times as fast as subtracting aware datetimes and dividing by a microsecond.
    since = when.replace(tzinfo=None) - _EPOCH
    if when.tzinfo is not None:
        since -= when.utcoffset() or timedelta()
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _check_time(index: int, field: str, timestamp_us: int, latest_us: int) -> None:
    if timestamp_us > latest_us:
        raise InvalidSamples(index, field, "More than one day in the future")
    if timestamp_us < 0:
        raise InvalidSamples(index, field, "Before 1970")


class SeriesRow(msgspec.Struct, frozen=True, array_like=True):
    """What all samples of one series share, on the wire."""

    name: Id
    type: SampleType
    unit: Text
    resource_id: Id
    project_id: Text | None
    user_id: Text | None
    metadata: Annotated[int, msgspec.Meta(ge=0)]
    source: Text


class _Columns(msgspec.Struct):
    metadata: list[dict[str, Any]]
    series: list[SeriesRow]
    series_index: bytes
    timestamp_us: bytes
    volume: bytes


_columns_decoder = msgspec.msgpack.Decoder(_Columns)
_msgpack = msgspec.msgpack.Encoder()


def encode_columnar(samples: Sequence[Sample]) -> bytes:
    """Give the columnar form of these samples, in their order."""
    metadata: list[dict[str, Any]] = []
    metadata_by_content: dict[bytes, int] = {}
    metadata_by_id: dict[int, int] = {}  # the samples keep them alive, so an id means one dict
    rows: dict[SeriesRow, int] = {}
    series_index = array("i")
    for sample in samples:
        position = metadata_by_id.get(id(sample.metadata))
        if position is None:
            content = _msgpack.encode(sample.metadata)
            position = metadata_by_content.setdefault(content, len(metadata))
            if position == len(metadata):
                metadata.append(sample.metadata)
            metadata_by_id[id(sample.metadata)] = position
        row = SeriesRow(
            sample.name,
            sample.type,
            sample.unit,
            sample.resource_id,
            sample.project_id,
            sample.user_id,
            position,
            sample.source,
        )
        series_index.append(rows.setdefault(row, len(rows)))
    return _msgpack.encode(
        _Columns(
            metadata=metadata,
            series=list(rows),
            series_index=_little_endian(series_index),
            timestamp_us=_little_endian(array("q", [sample.timestamp_us for sample in samples])),
            volume=_little_endian(array("d", [sample.volume for sample in samples])),
        )
    )


def decode_columnar(body: bytes, *, now_us: int) -> list[Sample]:
    """Give the samples of a columnar body; those of one resource may share one metadata dict.

    Raises InvalidSamples.
    """
    try:
        columns = _parse(_columns_decoder.decode, body)
    except msgspec.ValidationError as error:
        _refuse(error)
    series_index = _column("i", "series_index", columns.series_index)
    timestamp_us = _column("q", "timestamp_us", columns.timestamp_us)
    volume = _column("d", "volume", columns.volume)
    if not len(series_index) == len(timestamp_us) == len(volume):
        lengths = f"{len(series_index)}, {len(timestamp_us)} and {len(volume)}"
        reason = f"series_index, timestamp_us and volume differ in length: {lengths}"
        raise InvalidSamples(None, None, reason)
    for row, metadata in enumerate(columns.metadata):
        if not is_plain(metadata, MAX_DEPTH):
            reason = (
                f"Row {row} holds a NUL, or more than text, numbers, lists and maps, or more than "
                f"{MAX_DEPTH} levels"
            )
            raise InvalidSamples(None, "metadata", reason)
    for row, series in enumerate(columns.series):
        if series.metadata >= len(columns.metadata):
            raise InvalidSamples(None, "series", f"Row {row} names metadata that was not sent")
    latest_us = now_us + MAX_FUTURE_US
    samples = []
    for index, (number, when_us, value) in enumerate(
        zip(series_index, timestamp_us, volume, strict=True)
    ):
        if not 0 <= number < len(columns.series):
            raise InvalidSamples(index, "series_index", f"There is no series {number}")
        if not isfinite(value):
            raise InvalidSamples(index, "volume", "Expected a finite number")
        _check_time(index, "timestamp_us", when_us, latest_us)
        series = columns.series[number]
        samples.append(
            Sample(
                name=series.name,
                type=series.type,
                unit=series.unit,
                volume=value,
                resource_id=series.resource_id,
                project_id=series.project_id,
                user_id=series.user_id,
                timestamp_us=when_us,
                metadata=columns.metadata[series.metadata],
                source=series.source,
            )
        )
    return samples


def _little_endian(column: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        column.byteswap()
    return column.tobytes()


def _column(code: str, field: str, content: bytes) -> "array[Any]":
    column = array(code)
    try:
        column.frombytes(content)
    except ValueError:
        reason = f"{len(content)} bytes are not a multiple of {column.itemsize}"
        raise InvalidSamples(None, field, reason) from None
    if sys.byteorder == "big":
        column.byteswap()
    return column


def is_plain(value: Any, depth: int) -> bool:
    """Tell whether a value has a JSON equivalent of at most `depth` levels, without NUL."""
    if isinstance(value, str):
        return "\0" not in value
    if isinstance(value, Mapping | list):
        inner = value.values() if isinstance(value, Mapping) else value
        return (
            depth > 0
            and (isinstance(value, list) or all(map(_is_key, value)))
            and all(is_plain(item, depth - 1) for item in inner)
        )
    if isinstance(value, float):
        return isfinite(value)
    return value is None or isinstance(value, int)


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and "\0" not in key


_AT = re.compile(
    r"^(?P<reason>.*?)(?: - at `\$(?:\[(?P<index>\d+)\])?\.?(?P<field>[^`]*)`)?$", re.S
)
_HAS_NUL = "Has a NUL character"
_MISSING = re.compile(r"^Object missing required field `(?P<field>[^`]*)`$")


def _refuse(error: msgspec.ValidationError, index: int | None = None) -> NoReturn:
    """Raise InvalidSamples for what the decoder found, with its position and field taken apart."""
    found = _AT.match(str(error))
    if not found:
        raise InvalidSamples(index, None, str(error)) from error
    reason, field = found["reason"], found["field"]
    if found["index"]:
        index = int(found["index"])
    missing = _MISSING.match(reason)
    if missing:
        field, reason = missing["field"], "Missing"
    elif reason.endswith(f"regex {_NO_NUL!r}"):
        reason = _HAS_NUL
    raise InvalidSamples(index, field or None, reason) from error
