# SPDX-License-Identifier: Apache-2.0
"""Repair of a write-ahead log whose end was damaged, as a power failure can leave it.

An entry of DuckDB's log is its size and its checksum, each 8 bytes little endian, and `size` bytes
of content; DuckDB names the position of the content whose checksum is wrong. Where nothing follows
the damaged entry, it belongs to the last transaction, which was being written when the power
failed, and can be cut off. Damage with more entries behind it is left to the operator.
"""

import logging
import re
import shutil
import struct
import time
from pathlib import Path

LOG = logging.getLogger(__name__)

_CORRUPT = re.compile(r"Corrupt WAL file.*?byte position (?P<position>\d+)", re.S)
_HEADER = struct.Struct("<QQ")


def repair(database: Path, message: str) -> bool:
    """Cut a damaged last entry off the log; False if the message names no such damage.

    The damaged log is kept beside the new one.
    """
    found = _CORRUPT.search(message)
    log = database.with_name(database.name + ".wal")
    if not found or not log.exists():
        return False
    start = int(found["position"]) - _HEADER.size
    if start < 0 or not _is_last(log, start):
        LOG.critical("The log %s is damaged before its end: it is left as it is. %s", log, message)
        return False
    kept = log.with_name(f"{log.name}.damaged-{int(time.time())}")
    shutil.copy2(log, kept)
    with log.open("r+b") as file:
        file.truncate(start)
    LOG.critical(
        "The end of the log %s is damaged. Its last entry, from byte %d on, was cut off: samples "
        "that arrived in the last moment before the store stopped may be lost. The damaged log is "
        "kept as %s.",
        log,
        start,
        kept,
    )
    return True


def _is_last(log: Path, start: int) -> bool:
    """Tell whether nothing but zeros follows the entry that starts here."""
    with log.open("rb") as file:
        file.seek(start)
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return True
        size, _ = _HEADER.unpack(header)
        file.seek(start + _HEADER.size + size)
        return not any(any(chunk) for chunk in iter(lambda: file.read(1 << 20), b""))
