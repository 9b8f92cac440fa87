# SPDX-License-Identifier: Apache-2.0
"""A queue of batches on disk, bounded in bytes, that survives being killed at any instant.

    <directory>/00000000000000000042.batch    a header (magic, length, CRC-32) and the batch's bytes
    <directory>/.42.partial                   one being written
    <directory>/damaged/, refused/            batches set aside for a person to look at, bounded too

A batch is on disk under its final name before `put` returns: written to a temporary file, fsynced,
renamed, and the directory fsynced. Names grow, so their order is the queue's.
"""

import logging
import os
import struct
import zlib
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import NamedTuple

LOG = logging.getLogger(__name__)

_HEADER = struct.Struct("<8sQL")
_MAGIC = b"TSSPOOL1"
_SUFFIX = ".batch"
_ASIDE_SHARE = 0.1


class Entry(NamedTuple):
    """A batch in the queue, as `head` found it."""

    number: int
    batch: bytes


class Spool:
    """A first-in, first-out queue of batches in a directory of its own, for any thread.

    Raises OSError where the directory cannot be used.
    """

    def __init__(self, directory: Path, size_bytes: int) -> None:
        self._directory = directory
        self._size_bytes = size_bytes
        self._lock = Lock()
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self._used_bytes = 0
        self._next = 1
        self._full = False
        self.dropped = 0
        """Batches dropped so far because the spool was full."""
        self.damaged = 0
        """Batches set aside so far because their file was damaged."""
        self._open()

    def __len__(self) -> int:
        """Give the number of batches in the queue."""
        return len(self._sizes)

    @property
    def used_bytes(self) -> int:
        """The bytes that the queue takes on disk."""
        return self._used_bytes

    def put(self, batch: bytes) -> None:
        """Append a batch, dropping the oldest ones while the spool is full.

        It is on disk when this returns. Raises OSError.
        """
        content = _HEADER.pack(_MAGIC, len(batch), zlib.crc32(batch)) + batch
        with self._lock:
            self._make_room(len(content))
            if len(content) > self._size_bytes:
                self.dropped += 1
                LOG.error("A batch of %d bytes is larger than the spool: dropped", len(content))
                return
            number = self._next
            self._write(number, content)
            self._next = number + 1
            self._sizes[number] = len(content)
            self._used_bytes += len(content)

    def head(self) -> Entry | None:
        """Give the oldest batch without removing it, or None; damaged ones are set aside."""
        while True:
            with self._lock:
                if not self._sizes:
                    return None
                number = next(iter(self._sizes))
                path = self._path(number)
                try:
                    content = path.read_bytes()
                except FileNotFoundError:
                    content = b""
                batch = _open_envelope(content)
                if batch is not None:
                    return Entry(number, batch)
                self._forget(number)
                self.damaged += 1
            LOG.warning("The spooled batch %s is damaged: set aside", path)
            self._set_aside(path, "damaged")

    def remove(self, number: int) -> None:
        """Remove a batch that was delivered; nothing happens where it has been dropped already."""
        with self._lock:
            if number in self._sizes:
                self._forget(number)
                self._path(number).unlink(missing_ok=True)
                self._full = False

    def refuse(self, number: int) -> None:
        """Take a batch that the receiver will never take out of the queue, and keep it aside."""
        with self._lock:
            if number not in self._sizes:
                return
            self._forget(number)
        self._set_aside(self._path(number), "refused")

    def _open(self) -> None:
        self._directory.mkdir(mode=0o750, parents=True, exist_ok=True)
        for partial in self._directory.glob(".*.partial"):
            LOG.warning("Removing %s, left by an agent that was killed while writing it", partial)
            partial.unlink(missing_ok=True)
        numbered = sorted(
            (int(path.stem), path.stat().st_size)
            for path in self._directory.glob(f"*{_SUFFIX}")
            if path.stem.isdecimal()
        )
        self._sizes = OrderedDict(numbered)
        self._used_bytes = sum(self._sizes.values())
        if numbered:
            self._next = numbered[-1][0] + 1
        with self._lock:
            self._make_room(0)

    def _make_room(self, size: int) -> None:
        """Drop the oldest batches until this many bytes fit; logged once a burst."""
        before = self.dropped
        while self._sizes and self._used_bytes + size > self._size_bytes:
            number = next(iter(self._sizes))
            self._forget(number)
            self._path(number).unlink(missing_ok=True)
            self.dropped += 1
        if self.dropped > before and not self._full:
            self._full = True  # until the receiver takes a batch
            LOG.warning(
                "The spool %s is full (%d bytes): dropping the oldest batches until the receiver "
                "takes some",
                self._directory,
                self._size_bytes,
            )

    def _write(self, number: int, content: bytes) -> None:
        partial = self._directory / f".{number}.partial"
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(self._path(number))
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:020d}{_SUFFIX}"

    def _forget(self, number: int) -> None:
        self._used_bytes -= self._sizes.pop(number)

    def _set_aside(self, path: Path, shelf: str) -> None:
        """Move a file to a directory beside, whose newest files are kept, a tenth of the spool."""
        directory = self._directory / shelf
        try:
            directory.mkdir(mode=0o750, exist_ok=True)
            path.rename(directory / path.name)
            kept = sorted((file.stat().st_mtime_ns, file) for file in directory.iterdir())
            used = sum(file.stat().st_size for _, file in kept)
            for _, file in kept:
                if used <= self._size_bytes * _ASIDE_SHARE:
                    break
                used -= file.stat().st_size
                file.unlink()
        except FileNotFoundError:
            pass  # nothing left to keep
        except OSError as error:
            LOG.warning("Cannot set %s aside: %s", path, error)
            path.unlink(missing_ok=True)


def _open_envelope(content: bytes) -> bytes | None:
    """Give the batch in a file's bytes, or None where they are damaged."""
    if len(content) < _HEADER.size:
        return None
    magic, length, checksum = _HEADER.unpack_from(content)
    batch = content[_HEADER.size :]
    if magic != _MAGIC or len(batch) != length or zlib.crc32(batch) != checksum:
        return None
    return batch
