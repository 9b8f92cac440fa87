# SPDX-License-Identifier: Apache-2.0
"""New windows: who feeds them, and what the store has for them."""

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate.opening import NEWEST, Opening
from thermostat.evaluate.ticks import US_PER_S
from thermostat.evaluate.windows import Windows
from thermostat.samples.wire import MAX_FUTURE_US
from thermostat.store.base import Batch, SampleStore, Selection, Series

SLICE_US = 600 * US_PER_S
"""How much event time is read from the store at once when all windows are rebuilt."""
FEW = 100_000
"""Samples in a piece that may be followed by one of twice the length."""
ASKED_EACH = 1000
"""New windows up to this number have their members looked up one by one."""


class Filling:
    """Fills windows from one store."""

    def __init__(self, store: SampleStore, windows: Windows, allowed_lag_us: int) -> None:
        self._store = store
        self._windows = windows
        self._allowed_lag_us = allowed_lag_us

    def fill(self, windows: NDArray[np.int64], opening: Opening, now_us: int) -> None:
        """Fill windows beside others that ingestion feeds already."""
        feeding, shared = self._windows.populate(windows, self._series_for(opening))
        reach_us = np.array(opening.reach_us(self._allowed_lag_us), np.int64)
        start_us = now_us - int(reach_us.max())
        read = self._store.scan(feeding, start_us, now_us + MAX_FUTURE_US)
        self._windows.report_ahead(read, shared)
        newest_us = self._windows.newest_us(windows, now_us)
        newest_us = np.where(newest_us > now_us - reach_us, newest_us, now_us)
        self._windows.begin(windows, newest_us - self._windows.ticks_us(windows), now_us)
        self._windows.refill(windows, read, on_its_way=True)

    def rebuild(
        self,
        windows: NDArray[np.int64],
        begin_us: NDArray[np.int64],
        reach_us: int,
        now_us: int,
    ) -> None:
        """Fill all windows, slice by slice of event time; `begin_us` may have `NEWEST`."""
        self._windows.populate(windows, self._store.all_series())
        self._windows.trim()
        judged_before = begin_us != NEWEST
        oldest_us = int(begin_us[judged_before].min(initial=now_us))
        start_us = min(oldest_us, now_us) - reach_us
        if not judged_before.all():
            for part in self._slices(start_us, now_us):
                self._windows.report(part)
            newest_us = self._windows.newest_us(windows, now_us)
            newest_us -= self._windows.ticks_us(windows)
            begin_us = np.where(judged_before, begin_us, newest_us)
        self._windows.begin(windows, begin_us, now_us)
        for part in self._slices(start_us, now_us):
            self._windows.report(part)
            self._windows.refill(windows, part, on_its_way=False)

    def _slices(self, start_us: int, now_us: int) -> Iterator[Batch]:
        """Give all that was stored since, piece by piece: longer ones where there is little."""
        slice_us = SLICE_US
        while start_us < now_us:
            end_us = min(start_us + slice_us, now_us)
            part = self._store.scan(None, start_us, end_us)
            yield part
            start_us = end_us
            slice_us = slice_us * 2 if len(part) < FEW else SLICE_US
        yield self._store.scan(None, now_us, now_us + MAX_FUTURE_US)

    def _series_for(self, opening: Opening) -> Iterable[Series]:
        """Give every series that may feed one of these windows, each once."""
        selections = {
            (rule.meter_name, project_id, rule.query): Selection(
                rule.meter_name, project_id, rule.query
            )
            for rule, project_id in zip(opening.rules, opening.projects, strict=True)
        }
        if len(selections) > ASKED_EACH:
            return self._store.all_series()
        found = (one for chosen in selections.values() for one in self._store.series(chosen))
        return {one.series_id: one for one in found}.values()
