# SPDX-License-Identifier: Apache-2.0
"""What Gnocchi has for whom: the metrics of resources, and how metrics are kept, remembered."""

import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from thermostat.outside.drivers._gnocchi_api import GnocchiApi, Refused
from thermostat.outside.drivers._together import Deadline, Together

MOST_IDS = 500
"""How many resources one search asks for; Gnocchi gives 1 000 at most."""
REMEMBERED_S = 600.0
MOST_REMEMBERED = 200_000
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a resource or metric is."""

    project_id: str | None
    """Of the resource; None: nobody's."""
    creator_id: str | None
    """The project whose user created it."""

    def is_visible(self, project_id: str, agents_id: str) -> bool:
        """Tell whether it is the project's: created by it, or for it by the agents."""
        return self.creator_id == project_id or (
            self.creator_id == agents_id and self.project_id == project_id
        )


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource with the ids of its metrics."""

    owner: Owner
    metrics: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Metric:
    """How a metric is kept."""

    owner: Owner
    policy: str
    methods: frozenset[str]
    granularities_s: frozenset[float]


class _Memory(Generic[K, V]):
    """Remembers for a while."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[K, tuple[float, V]] = OrderedDict()

    def get(self, key: K) -> V | None:
        with self._lock:
            at_s, value = self._known.get(key, (0.0, None))
        return value if time.monotonic() < at_s + REMEMBERED_S else None

    def put(self, key: K, value: V) -> None:
        with self._lock:
            self._known[key] = (time.monotonic(), value)
            self._known.move_to_end(key)
            while len(self._known) > MOST_REMEMBERED:
                self._known.popitem(last=False)

    def forget(self, key: K) -> None:
        with self._lock:
            self._known.pop(key, None)


class Directory:
    """Asks Gnocchi for what it does not remember. It may be used from any thread."""

    def __init__(self, api: GnocchiApi, together: Together) -> None:
        self._api = api
        self._together = together
        self._resources: _Memory[tuple[str, str], Sequence[Resource]] = _Memory()
        self._metrics: _Memory[str, Metric] = _Memory()

    def metric(self, metric_id: str) -> Metric | None:
        """Give what is known of a metric."""
        return self._metrics.get(metric_id)

    def note(self, references: Iterable[Mapping[str, Any]]) -> None:
        """Remember metrics of an answer."""
        for reference in references:
            self._metrics.put(reference["id"], _metric(reference))

    def learn(self, metric_ids: Iterable[str], deadline: Deadline) -> None:
        """Ask for metrics that nothing is known of, one by one: Gnocchi has no other way."""
        unknown = [one for one in metric_ids if self._metrics.get(one) is None]
        self._together.each(lambda one: self._learn(one, deadline), unknown)

    def forget_metric(self, metric_id: str) -> None:
        """Forget a metric that is gone."""
        self._metrics.forget(metric_id)

    def forget_resource(self, kind: str, resource_id: str) -> None:
        """Forget a resource whose metrics have changed."""
        self._resources.forget((kind, resource_id))

    def resources(
        self, kind: str, wanted: Mapping[str, set[str]], deadline: Deadline
    ) -> Mapping[str, Sequence[Resource]]:
        """Give the resources of a type by their ids, whoever's they are.

        What is remembered without the metrics that are wanted of it is asked for again. Raises
        Refused if there is no such type.
        """
        found: dict[str, Sequence[Resource]] = {}
        asked: list[str] = []
        for resource_id, names in wanted.items():
            known = self._resources.get((kind, resource_id))
            if known and all(any(name in one.metrics for one in known) for name in names):
                found[resource_id] = known
            else:
                asked.append(resource_id)
        chunks = [tuple(asked[at : at + MOST_IDS]) for at in range(0, len(asked), MOST_IDS)]
        for part in self._together.each(lambda ids: self._search(kind, ids, deadline), chunks):
            for resource_id, resources in part.items():
                self._resources.put((kind, resource_id), resources)
                found[resource_id] = resources
        return found

    def _search(
        self, kind: str, ids: Sequence[str], deadline: Deadline
    ) -> Mapping[str, Sequence[Resource]]:
        by_form: dict[str, list[str]] = {}
        for one in ids:
            by_form.setdefault(uuid_of(one) or one, []).append(one)
        uuids = [form for form in by_form if uuid_of(form)]
        names = [form for form in by_form if not uuid_of(form)]
        parts = [
            {"in": {attribute: values}}
            for attribute, values in (("id", uuids), ("original_resource_id", names))
            if values
        ]
        rows = self._api.ask(
            "POST",
            f"search/resource/{quote(kind, safe='')}",
            deadline,
            body={"or": parts},
            query={"limit": 1_000},
        )
        found: dict[str, list[Resource]] = {}
        for row in rows:
            resource = Resource(_owner(row, row), dict(row["metrics"]))
            for form in {row["id"], row["original_resource_id"]}:
                for one in by_form.get(form, ()):
                    found.setdefault(one, []).append(resource)
        return found

    def _learn(self, metric_id: str, deadline: Deadline) -> None:
        try:
            self.note([self._api.ask("GET", f"metric/{quote(metric_id, safe='')}", deadline)])
        except Refused:
            self._metrics.forget(metric_id)


def _metric(row: Mapping[str, Any]) -> Metric:
    policy = row["archive_policy"]
    return Metric(
        _owner(row.get("resource") or {}, row),
        policy["name"],
        frozenset(policy["aggregation_methods"]),
        frozenset(_seconds(one["granularity"]) for one in policy["definition"]),
    )


def _owner(resource: Mapping[str, Any], created: Mapping[str, Any]) -> Owner:
    return Owner(resource.get("project_id"), created.get("created_by_project_id"))


def _seconds(text: str) -> float:
    """Give the seconds of a span in Gnocchi's form, such as `1 day, 0:01:00`."""
    days, _, clock = text.rpartition(", ")
    hours, minutes, seconds = clock.split(":")
    whole = timedelta(
        days=int(days.split()[0]) if days else 0,
        hours=int(hours),
        minutes=int(minutes),
        seconds=float(seconds),
    )
    return whole.total_seconds()


def uuid_of(text: str) -> str | None:
    """Give the one form of a UUID; None if the text is none."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
