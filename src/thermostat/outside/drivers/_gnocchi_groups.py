# SPDX-License-Identifier: Apache-2.0
"""Aggregates over groups of resources: one request for each group and what is asked of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

from thermostat.alarms.outside import GnocchiResourceGroupRule
from thermostat.outside.base import Answer, Question
from thermostat.outside.drivers._gnocchi_api import Failed, GnocchiApi, Refused
from thermostat.outside.drivers._measures import (
    RATE,
    Measures,
    Window,
    base_of,
    can_join,
    differences,
    joined,
    newest,
    read,
)
from thermostat.outside.drivers._together import Deadline, Given, Together, in_turn
from thermostat.outside.gnocchi_query import GnocchiQueryError, of_project, parsed

_NO_SUCH_METHOD = "Metrics with unknown aggregation"
_COUNT = "count"
"""Gnocchi answers 500 to this one."""


class _Shape(NamedTuple):
    """What one request asks."""

    query: str
    resource_type: str
    metric: str
    method: str
    window: Window
    project_id: str
    """Empty where nothing is scoped."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    measures: Measures | None = None
    reason: str = ""
    failed: bool = False
    """Whether Gnocchi could not do its work."""
    asked: bool = True
    """Whether Gnocchi was asked at all."""


class GroupRequests:
    """Asks for groups. It may be used from any thread."""

    def __init__(self, api: GnocchiApi, together: Together) -> None:
        self._api = api
        self._together = together

    def search(self, resource_type: str, query: Mapping[str, Any], deadline: Deadline) -> None:
        """Search for a group and look at nothing. Raises Refused or Failed."""
        path = f"search/resource/{quote(resource_type, safe='')}"
        self._api.ask("POST", path, deadline, body=query, query={"limit": 1})

    def ask(
        self,
        questions: Sequence[Question],
        now_us: int,
        agents_id: str | None,
        deadline: Deadline,
    ) -> Given:
        """Give an answer for each question."""
        asked = [_shape(one, now_us, scoped=agents_id is not None) for one in questions]
        shapes = in_turn(dict.fromkeys(asked), lambda shape: shape.project_id)
        poll = _Poll(self._api, agents_id, deadline)
        outcomes = dict(zip(shapes, self._together.each(poll.ask, shapes), strict=True))
        answers = [_answer(shape, outcomes[shape]) for shape in asked]
        failure = next((one.reason for one in outcomes.values() if one.failed), "")
        served = any(one.asked and not one.failed for one in outcomes.values())
        return Given(answers, failure, served)


def _answer(shape: _Shape, outcome: _Outcome) -> Answer:
    if outcome.measures is None:
        return Answer((None,) * shape.window.points, outcome.reason)
    return Answer(newest(outcome.measures, shape.window, shape.method))


def _shape(question: Question, now_us: int, *, scoped: bool) -> _Shape:
    rule = question.rule
    assert isinstance(rule, GnocchiResourceGroupRule)  # noqa: S101 - the caller has sorted them
    window = Window(rule.granularity, rule.evaluation_periods, now_us)
    owner = question.project_id if scoped else ""
    method = rule.aggregation_method
    return _Shape(rule.query, rule.resource_type, rule.metric, method, window, owner)


class _Poll:
    """Requests that are made together: once Gnocchi cannot be reached, the rest is not tried."""

    def __init__(self, api: GnocchiApi, agents_id: str | None, deadline: Deadline) -> None:
        self._api = api
        self._agents_id = agents_id
        self._deadline = deadline
        self._unreachable = ""

    def ask(self, shape: _Shape) -> _Outcome:
        """Give what comes of one group."""
        hindrance = self._unreachable or (
            "" if self._deadline.left_s() else "Gnocchi did not answer in time"
        )
        if hindrance:
            return _Outcome(reason=hindrance, failed=True)
        if not can_join(shape.method):
            reason = f"{shape.method} cannot be taken over several metrics"
            return _Outcome(reason=reason, asked=False)
        try:
            query = parsed(shape.query)
            if self._agents_id is not None:
                query = of_project(query, shape.project_id, self._agents_id)
            return _Outcome(self._measures(shape, query))
        except (GnocchiQueryError, Refused) as error:
            return _Outcome(reason=str(error), asked=isinstance(error, Refused))
        except Failed as error:
            if error.unreachable:
                self._unreachable = str(error)
            return _Outcome(reason=str(error), failed=True)

    def _measures(self, shape: _Shape, query: Mapping[str, Any]) -> Measures:
        if base_of(shape.method) == _COUNT:
            return self._joined_here(shape, query)
        try:
            return self._joined_there(shape, query)
        except Refused as error:
            if not shape.method.startswith(RATE) or error.cause != _NO_SUCH_METHOD:
                raise
        return self._joined_here(shape, query)

    def _joined_there(self, shape: _Shape, query: Mapping[str, Any]) -> Measures:
        """Let Gnocchi aggregate over what it keeps of each member, rates too."""
        base = base_of(shape.method)
        operations = ["aggregate", base, ["metric", shape.metric, shape.method]]
        found = self._request(shape, query, operations)
        return read(found["aggregated"], shape.window.granularity_s)

    def _joined_here(self, shape: _Shape, query: Mapping[str, Any]) -> Measures:
        """Aggregate here: rates that are not kept of all members are taken member by member."""
        base, granularity_s = base_of(shape.method), shape.window.granularity_s
        found = self._request(shape, query, ["metric", shape.metric, base])
        members = [
            read(by_method[base], granularity_s)
            for by_name in found.values()
            for by_method in by_name.values()
        ]
        if shape.method.startswith(RATE):
            members = [differences(one, granularity_s) for one in members]
        return joined(base, members)

    def _request(self, shape: _Shape, query: Mapping[str, Any], operations: list[Any]) -> Any:
        body = {"operations": operations, "resource_type": shape.resource_type, "search": query}
        asked = {
            "granularity": shape.window.granularity_s,
            "start": shape.window.start_s,
            "fill": "dropna",
        }
        answer = self._api.ask("POST", "aggregates", self._deadline, body=body, query=asked)
        return answer["measures"]
