# SPDX-License-Identifier: Apache-2.0
"""Reading recorded samples: JSON lines, and what Ceilometer's file publisher writes.

A line is one sample, or an array of them, in either of Ceilometer's forms. Ceilometer's publisher
writes JSON only with its option `json`; by default each line is a Python dictionary as `repr` shows
it. Such a line is parsed, never executed.
"""

import ast
import gzip
import re
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

from thermostat.replay.errors import BadLine
from thermostat.samples.model import Sample
from thermostat.samples.wire import InvalidSamples, decode_json

FAR_FUTURE_US = 253_402_300_799_000_000 - 86_400_000_000
"""A recording is not compared with the clock of today: any time up to the year 9999 will do."""
STDIN = "-"
_PYTHON = re.compile(rb"\s*\[?\s*\{\s*'")
_UTC = re.compile(r"\b(utc|UTC)\b")


class SampleReader:
    """Reads files of samples, and counts."""

    def __init__(
        self,
        wanted: Callable[[Sample], bool] = lambda _: True,
        *,
        skip_bad_lines: bool = False,
        on_lines: Callable[[int], None] | None = None,
    ) -> None:
        """Keep the samples that are `wanted`; with `skip_bad_lines` count bad lines and go on.

        `on_lines` is called now and then with the number of lines that were read so far.
        """
        self._wanted = wanted
        self._skip = skip_bad_lines
        self._on_lines = on_lines
        self._metadata: dict[bytes, dict[str, Any]] = {}
        self._texts: dict[Any, Any] = {}
        self.lines = 0
        self.samples = 0
        """How many samples the lines had, wanted or not."""
        self.bad_lines = 0
        self.first_bad: str | None = None

    def read(self, names: Iterable[str]) -> Iterator[Sample]:
        """Give the wanted samples of these files, `-` being standard input.

        Raises BadLine, or OSError where a file cannot be read.
        """
        for name in names:
            if name == STDIN:
                yield from self._read(sys.stdin.buffer, "standard input")
            else:
                try:
                    with _opened(name) as file:
                        yield from self._read(file, name)
                except (EOFError, zlib.error) as error:
                    raise OSError(f"{name} is cut off or damaged: {error}") from error

    def _read(self, file: Iterable[bytes], name: str) -> Iterator[Sample]:
        for number, line in enumerate(file, 1):
            self.lines += 1
            if self._on_lines is not None and self.lines % 10_000 == 0:
                self._on_lines(self.lines)
            if not line.strip():
                continue
            try:
                samples = samples_of(line)
            except ValueError as error:
                text = f"{name}:{number}: {error}"
                if not self._skip:
                    raise BadLine(text) from error
                self.bad_lines += 1
                self.first_bad = self.first_bad or text
                continue
            self.samples += len(samples)
            yield from (self._shared(sample) for sample in samples if self._wanted(sample))

    def _shared(self, sample: Sample) -> Sample:
        """Give the sample with one object for equal metadata and texts: most are the same."""
        content = msgspec.json.encode(sample.metadata, order="deterministic")
        text = self._texts.setdefault
        return Sample(
            name=text(sample.name, sample.name),
            type=sample.type,
            unit=text(sample.unit, sample.unit),
            volume=sample.volume,
            resource_id=text(sample.resource_id, sample.resource_id),
            project_id=text(sample.project_id, sample.project_id),
            user_id=text(sample.user_id, sample.user_id),
            timestamp_us=sample.timestamp_us,
            monotonic_s=sample.monotonic_s,
            metadata=self._metadata.setdefault(content, sample.metadata),
            source=text(sample.source, sample.source),
        )


def _opened(name: str) -> BinaryIO:
    """Open a file; one whose name ends in .gz is unpacked, as log rotation packs them."""
    if name.endswith(".gz"):
        return gzip.open(name)  # type: ignore[return-value]  # it does what is asked of it here
    return open(name, "rb")


def samples_of(line: bytes) -> list[Sample]:
    """Give the samples of one line. Raises ValueError, with the field and the reason."""
    if _PYTHON.match(line):
        line = msgspec.json.encode(_parsed(line))
    try:
        return decode_json(line, now_us=FAR_FUTURE_US)
    except InvalidSamples as error:
        raise ValueError(_reason(error, many=line.lstrip()[:1] == b"[")) from error


def _reason(error: InvalidSamples, *, many: bool) -> str:
    """Give what is wrong with a line, without the position of the only sample in it."""
    reason = error.reason.replace("The body", "the line")
    where = f"sample {error.index}: " if many and error.index is not None else ""
    return f"{where}{f'{error.field}: ' if error.field else ''}{reason}"


def _parsed(line: bytes) -> Any:
    """Give the value that a Python literal stands for; dates are allowed in it."""
    try:
        text = line.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"the line is not UTF-8: {error}") from error
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else error
        raise ValueError(f"the line is not a Python dictionary: {reason}") from error
    except (RecursionError, MemoryError):
        raise ValueError("the line is nested too deeply") from None
    return _value(tree.body)


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value) if value is None or isinstance(value, str | int | float):
            return value
        case ast.UnaryOp(ast.USub(), ast.Constant(value)) if isinstance(value, int | float):
            return -value
        case ast.List(elements) | ast.Tuple(elements) | ast.Set(elements):
            return [_value(element) for element in elements]
        case ast.Dict(keys, elements) if all(isinstance(key, ast.Constant) for key in keys):
            names = (key.value for key in keys if isinstance(key, ast.Constant))
            return {str(name): _value(one) for name, one in zip(names, elements, strict=True)}
        case ast.Name("nan" | "inf") | ast.UnaryOp(ast.USub(), ast.Name("inf")):
            raise ValueError("expected a finite number")
        case ast.Call(ast.Attribute(ast.Name("datetime"), "datetime"), numbers, keywords):
            return _datetime(numbers, keywords)
    raise ValueError(f"{ast.unparse(node)[:100]!r} is no text, number, list, dictionary or date")


def _datetime(numbers: Sequence[ast.expr], keywords: Sequence[ast.keyword]) -> datetime:
    """Give a date and time; without a time zone, or with one that is not UTC by name, it is UTC."""
    if any(keyword.arg not in ("tzinfo", "fold") for keyword in keywords):
        raise ValueError("a date has unknown arguments")
    values = [_value(number) for number in numbers]
    zones = [ast.unparse(keyword.value) for keyword in keywords if keyword.arg == "tzinfo"]
    if zones and not _UTC.search(zones[0]):
        raise ValueError(f"{zones[0]!r} is no time zone that can be read: only UTC can")
    try:
        return datetime(*values).replace(tzinfo=UTC)
    except (TypeError, ValueError) as error:
        raise ValueError(f"a date makes no sense: {error}") from error
