# SPDX-License-Identifier: Apache-2.0
"""One request for many metrics: what Gnocchi refuses of them is found and left out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from thermostat.outside.drivers._directory import Directory, Metric
from thermostat.outside.drivers._gnocchi_api import Failed, GnocchiApi, Refused
from thermostat.outside.drivers._measures import (
    RATE,
    Measures,
    Window,
    base_of,
    differences,
    read,
)
from thermostat.outside.drivers._together import Deadline

ROUNDS = 4
"""How often a request is made again without what Gnocchi refused of it."""
_UNKNOWN = "Unknown metrics"
_NOT_KEPT_SO = ("Metrics with unknown aggregation", "Metrics cannot be aggregated")


class Wanted(NamedTuple):
    """One metric's measures."""

    metric_id: str
    method: str


class NoMeasures(NamedTuple):
    """Why there are none."""

    reason: str
    gone: bool = False
    failed: bool = False
    """Whether Gnocchi could not do its work."""
    asked: bool = True
    """Whether Gnocchi was asked at all."""


class MetricPoll:
    """Requests that are made together: once Gnocchi cannot be reached, the rest is not tried."""

    def __init__(
        self, api: GnocchiApi, directory: Directory, owners: set[str], deadline: Deadline
    ) -> None:
        self._api = api
        self._directory = directory
        self._owners = owners
        """The metrics whose owner must be known."""
        self._deadline = deadline
        self._unreachable = ""

    def ask(self, window: Window, wanted: Sequence[Wanted]) -> dict[Wanted, Measures | NoMeasures]:
        """Give what comes of these metrics; what Gnocchi refuses of them costs nothing else."""
        found: dict[Wanted, Measures | NoMeasures] = {}
        left = list(wanted)
        for _ in range(ROUNDS):
            ways = self._ways(window, left, found)
            left = list(ways)
            if not left:
                return found
            try:
                return found | self._request(window, ways)
            except Refused as error:
                problem = self._learn_from(error, left, found)
                if problem is not None:
                    return found | dict.fromkeys(left, problem)
                left = [one for one in left if one not in found]
            except Failed as error:
                return found | dict.fromkeys(left, self._failed(error))
        return found | dict.fromkeys(left, NoMeasures("Gnocchi refuses it again and again"))

    def _failed(self, error: Failed) -> NoMeasures:
        if error.unreachable:
            self._unreachable = str(error)
        return NoMeasures(str(error), failed=True)

    def _ways(
        self,
        window: Window,
        wanted: Iterable[Wanted],
        found: dict[Wanted, Measures | NoMeasures],
    ) -> dict[Wanted, str]:
        """Give the method to ask each metric for; those that are not kept so are done."""
        ways: dict[Wanted, str] = {}
        for one in wanted:
            known = self._directory.metric(one.metric_id)
            method = one.method if known is None else way(known, one, window)
            if isinstance(method, NoMeasures):
                found[one] = method
            else:
                ways[one] = method
        return ways

    def _request(
        self, window: Window, ways: Mapping[Wanted, str]
    ) -> dict[Wanted, Measures | NoMeasures]:
        if self._unreachable:
            raise Failed(self._unreachable)
        if not self._deadline.left_s():
            raise Failed("Gnocchi did not answer in time")
        references = dict.fromkeys((one.metric_id, method) for one, method in ways.items())
        query = {
            "granularity": window.granularity_s,
            "start": window.start_s,
            "fill": "dropna",
        }
        if any(
            one.metric_id in self._owners and self._directory.metric(one.metric_id) is None
            for one in ways
        ):
            query["details"] = "true"
        body = {"operations": ["metric", *([*reference] for reference in references)]}
        answer = self._api.ask("POST", "aggregates", self._deadline, body=body, query=query)
        self._directory.note(answer.get("references", ()))
        measures = answer["measures"]
        found: dict[Wanted, Measures | NoMeasures] = {}
        for one, method in ways.items():
            rows = measures.get(one.metric_id, {}).get(method, ())
            series = read(rows, window.granularity_s)
            if method != one.method:
                series = differences(series, window.granularity_s)
            found[one] = series
        return found

    def _learn_from(
        self,
        error: Refused,
        left: Sequence[Wanted],
        found: dict[Wanted, Measures | NoMeasures],
    ) -> NoMeasures | None:
        """Take in why a request was refused; None if it is worth another try."""
        if error.cause == _UNKNOWN and isinstance(error.detail, list):
            missing = set(error.detail)
            for one in left:
                if one.metric_id in missing:
                    self._directory.forget_metric(one.metric_id)
                    found[one] = no_metric(one.metric_id)
            return None
        unknown = [one for one in left if self._directory.metric(one.metric_id) is None]
        if error.cause not in _NOT_KEPT_SO or not unknown:
            return NoMeasures(str(error))
        try:
            for one in unknown:
                self._directory.learn([one.metric_id], self._deadline)
        except Failed as failure:
            return self._failed(failure)
        return None


def way(metric: Metric, wanted: Wanted, window: Window) -> str | NoMeasures:
    """Give the method to ask for; a rate that is not kept is the difference of what is."""
    if window.granularity_s not in metric.granularities_s:
        kept = ", ".join(f"{one:g}" for one in sorted(metric.granularities_s))
        return NoMeasures(
            f"the archive policy {metric.policy} of the metric has no granularity of "
            f"{window.granularity_s} s; it has {kept}"
        )
    if wanted.method in metric.methods:
        return wanted.method
    base = base_of(wanted.method)
    if wanted.method.startswith(RATE) and base in metric.methods:
        return base
    kept = ", ".join(sorted(metric.methods))
    return NoMeasures(
        f"the archive policy {metric.policy} of the metric does not have {wanted.method}; "
        f"it has {kept}"
    )


def no_metric(metric_id: str) -> NoMeasures:
    """Say that there is no such metric: gone, never there, or another project's."""
    return NoMeasures(f"metric {metric_id} does not exist", gone=True)
