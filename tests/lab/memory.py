# SPDX-License-Identifier: Apache-2.0
"""How much memory processes take."""

from collections.abc import Iterable
from pathlib import Path


def pss_mib(pids: Iterable[int]) -> int:
    """Proportional set size in MiB: a page that n processes share counts as 1/n for each."""
    total_kib = 0
    for pid in pids:
        try:
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total_kib += sum(int(row.split()[1]) for row in rows if row.startswith("Pss:"))
    return round(total_kib / 1024)
