# SPDX-License-Identifier: Apache-2.0
"""Bodies of the columnar form, split into their table of series and their numbers.

An agent sends the same table again and again. It is told by a keyed hash of its bytes, and decoded
only where that is new. Where anything is wrong, `wire.decode_columnar` says what.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

import msgspec
import numpy as np
import xxhash
from numpy.typing import NDArray

from thermostat.samples.columns import Fingerprints, Floats, Ints, Unusual, check_plausible
from thermostat.samples.model import Sample
from thermostat.samples.wire import MAX_DEPTH, InvalidSamples, SeriesRow, decode_columnar, is_plain

_encode = msgspec.msgpack.Encoder().encode
_hash = xxhash.xxh3_64_intdigest

_T = TypeVar("_T", bound=np.generic)


class _Wire(msgspec.Struct):
    metadata: msgspec.Raw
    series: msgspec.Raw
    series_index: memoryview
    timestamp_us: memoryview
    volume: memoryview


_decoder = msgspec.msgpack.Decoder(_Wire)
_metadata_decoder = msgspec.msgpack.Decoder(list[msgspec.Raw])
_series_decoder = msgspec.msgpack.Decoder(list[SeriesRow])
_one_metadata_decoder = msgspec.msgpack.Decoder(dict[str, Any])


@dataclass(frozen=True, slots=True)
class Table:
    """What a body says of its series."""

    rows: Sequence[SeriesRow]
    metadata: Sequence[dict[str, Any]]
    fingerprint: Fingerprints
    """By row: stands for everything that it says."""

    def sample(self, row: int, timestamp_us: int) -> Sample:
        """Give a sample of one row's series, without a volume."""
        series = self.rows[row]
        return Sample(
            name=series.name,
            type=series.type,
            unit=series.unit,
            volume=0.0,
            resource_id=series.resource_id,
            project_id=series.project_id,
            user_id=series.user_id,
            timestamp_us=timestamp_us,
            metadata=self.metadata[series.metadata],
            source=series.source,
        )


@dataclass(frozen=True, slots=True)
class Frame:
    """One body; its numbers are checked, its table is not."""

    table_id: int
    """Tells the table from all others: 128 bits."""
    series_index: NDArray[np.int32]
    """By sample: the row of the table; at least 0."""
    timestamp_us: Ints
    volume: Floats
    _wire: _Wire
    _body: bytes
    _now_us: int

    def __len__(self) -> int:
        return len(self.volume)

    def table(self, key: int) -> Table:
        """Decode the table, with fingerprints by this key. Raises InvalidSamples."""
        try:
            texts = _metadata_decoder.decode(self._wire.metadata)
            metadata = [_one_metadata_decoder.decode(text) for text in texts]
            rows = _series_decoder.decode(self._wire.series)
            if not all(is_plain(one, MAX_DEPTH) for one in metadata):
                self.refuse()
            fingerprints = [_hash(_description(row, texts[row.metadata]), key) for row in rows]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, IndexError):
            self.refuse()
        return Table(rows, metadata, np.array(fingerprints, np.uint64))

    def refuse(self) -> NoReturn:
        """Raise the InvalidSamples that says what is wrong with this body."""
        _refuse(self._body, self._now_us)


def read_frame(body: bytes, *, now_us: int, key: int) -> Frame:
    """Split a columnar body. Raises InvalidSamples; what is wrong with its table is told later."""
    try:
        wire = _decoder.decode(body)
        frame = Frame(
            _table_id(wire, key),
            _column(wire.series_index, "<i4", np.int32),
            _column(wire.timestamp_us, "<i8", np.int64),
            _column(wire.volume, "<f8", np.float64),
            wire,
            body,
            now_us,
        )
        _check(frame, now_us)
    except (Unusual, ValueError, RecursionError):  # msgspec's errors are ValueErrors
        _refuse(body, now_us)
    return frame


def _table_id(wire: _Wire, key: int) -> int:
    digest = xxhash.xxh3_128(wire.metadata, seed=key)
    digest.update(wire.series)
    return digest.intdigest()


def _column(content: memoryview, wire_type: str, native: type[_T]) -> NDArray[_T]:
    """Give a column in memory of its own, where it is aligned."""
    if not len(content):
        return np.empty(0, native)
    return np.frombuffer(content, wire_type).astype(native)


def _description(row: SeriesRow, metadata: msgspec.Raw) -> bytes:
    return _encode(
        (
            row.name,
            row.type.value,
            row.unit,
            row.resource_id,
            row.project_id,
            row.user_id,
            row.source,
            metadata,
        )
    )


def _check(frame: Frame, now_us: int) -> None:
    """Raise Unusual where the numbers are not as they must be."""
    if not len(frame.series_index) == len(frame.timestamp_us) == len(frame.volume):
        raise Unusual
    check_plausible(frame.timestamp_us, frame.volume, now_us)
    if len(frame) and frame.series_index.min() < 0:
        raise Unusual


def _refuse(body: bytes, now_us: int) -> NoReturn:
    decode_columnar(body, now_us=now_us)
    raise InvalidSamples(None, None, "The body cannot be read")
