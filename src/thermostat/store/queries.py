# SPDX-License-Identifier: Apache-2.0
"""Reading stored samples: scans, and statistics computed by DuckDB."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from thermostat.store import selecting
from thermostat.store.base import (
    Batch,
    InvalidSelection,
    PeriodStatistics,
    Selection,
    Series,
)
from thermostat.store.database import Database
from thermostat.store.pieces import COLUMNS, Pieces
from thermostat.store.writer import as_batch

US_PER_S = 1_000_000
MOST_DATAPOINTS = 100_000
"""Periods times groups that one answer may have."""

_WHOLE = 0
_STATISTICS = """
select group_number, period_number,
    count(*), min(volume), max(volume), sum(volume), avg(volume), stddev_pop(volume),
    -- the newest; of several at that instant, the one of the highest series id
    arg_max(volume, timestamp_us::hugeint << 64 | series_id),
    min(timestamp_us), max(timestamp_us), min(series_id)
from (
    select volume, timestamp_us, series_id, group_number, {period_number} as period_number
    from {samples} join chosen using (series_id)
    where {span}
)
group by group_number, period_number
order by period_number, group_number
limit {limit}
"""


class Queries:
    """Answers questions about stored samples, each from one consistent snapshot."""

    def __init__(self, database: Database, pieces: Pieces) -> None:
        self._database = database
        self._pieces = pieces

    def scan(self, series_ids: Sequence[int] | None, start_us: int, end_us: int) -> Batch:
        """Give the samples with start < event time ≤ end, oldest first; None: of all series."""
        if series_ids is not None and not len(series_ids):
            return Batch.concatenate([])
        chosen = {"series_id": np.asarray(() if series_ids is None else series_ids, np.int64)}
        among = "" if series_ids is None else " and series_id in (select series_id from chosen)"

        def query(samples: str) -> Batch:
            with self._database.cursor() as cursor:
                cursor.register("chosen", chosen)
                sql = (
                    f"select {COLUMNS} from {samples}"
                    f" where {_span(start_us, end_us)}{among}"
                    " order by timestamp_us, series_id"
                )
                return as_batch(cursor.execute(sql))

        return self._pieces.read(start_us, end_us, query)

    def statistics(
        self,
        series: Sequence[Series],
        selection: Selection,
        *,
        period_s: int | None,
        group_by: Sequence[str],
    ) -> list[PeriodStatistics]:
        """Give the statistics of these series per period and group. Raises InvalidSelection."""
        if not series:
            return []
        group_of_series = [selecting.group_of(one, group_by) for one in series]
        groups = sorted(set(group_of_series), key=selecting.group_order)
        numbers = {group: number for number, group in enumerate(groups)}
        chosen = {
            "series_id": np.array([one.series_id for one in series], np.int64),
            "group_number": np.array([numbers[group] for group in group_of_series], np.int32),
        }
        rows = self._rows(chosen, selection, period_s)
        if len(rows) > MOST_DATAPOINTS:
            raise InvalidSelection(
                f"period: more than {MOST_DATAPOINTS} datapoints: use a longer period or a shorter"
                " span of time"
            )
        units = {one.series_id: one.unit for one in series}
        return [
            _statistics(
                row,
                period_s,
                units[row[-1]],
                dict(zip(group_by, groups[row[0]], strict=True)),
            )
            for row in rows
        ]

    def _rows(
        self, chosen: dict[str, Any], selection: Selection, period_s: int | None
    ) -> list[Any]:
        def query(samples: str) -> list[Any]:
            with self._database.cursor() as cursor:
                cursor.register("chosen", chosen)
                sql = _STATISTICS.format(
                    samples=samples,
                    period_number=_WHOLE
                    if period_s is None
                    # `//` rounds towards zero, and no event time is before the epoch
                    else f"(timestamp_us - 1) // {period_s * US_PER_S}",
                    span=_span(selection.start_us, selection.end_us),
                    limit=MOST_DATAPOINTS + 1,
                )
                return cursor.execute(sql).fetchall()

        return self._pieces.read(selection.start_us, selection.end_us, query)


def _span(start_us: int | None, end_us: int | None) -> str:
    bounds = [
        *([] if start_us is None else [f"timestamp_us > {int(start_us)}"]),
        *([] if end_us is None else [f"timestamp_us <= {int(end_us)}"]),
    ]
    return " and ".join(bounds) or "true"


def _statistics(
    row: Sequence[Any], period_s: int | None, unit: str, group: dict[str, str | None]
) -> PeriodStatistics:
    (_, period, count, minimum, maximum, total, average, stddev, last, first_us, last_us, _) = row
    period_us = None if period_s is None else period_s * US_PER_S
    return PeriodStatistics(
        period_start_us=first_us if period_us is None else period * period_us,
        period_end_us=last_us if period_us is None else (period + 1) * period_us,
        duration_start_us=first_us,
        duration_end_us=last_us,
        count=count,
        minimum=minimum,
        maximum=maximum,
        total=total,
        average=average,
        stddev=stddev,
        last=last,
        unit=unit,
        group=group,
    )
