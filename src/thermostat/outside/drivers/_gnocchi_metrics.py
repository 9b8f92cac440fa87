# SPDX-License-Identifier: Apache-2.0
"""Single metrics and lists of metrics: one request for many metrics of many rules."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from thermostat.alarms.outside import GnocchiMetricsRule, GnocchiResourcesRule
from thermostat.outside.base import Answer, Question
from thermostat.outside.drivers._directory import Directory, Metric, Owner, Resource, uuid_of
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
from thermostat.outside.drivers._together import Deadline, Together

ROUNDS = 4
"""How often a request is made again without what Gnocchi refused of it."""
_UNKNOWN = "Unknown metrics"
_NOT_KEPT_SO = ("Metrics with unknown aggregation", "Metrics cannot be aggregated")


class _Wanted(NamedTuple):
    """One metric's measures."""

    metric_id: str
    method: str


class _NoMeasures(NamedTuple):
    """Why there are none."""

    reason: str
    gone: bool = False
    failed: bool = False
    """Whether Gnocchi could not do its work."""


@dataclass(slots=True)
class _Target:
    """What a question's datapoints are made of."""

    question: Question
    window: Window
    method: str
    metric_ids: Sequence[str] = ()
    problem: _NoMeasures | None = None
    resource: tuple[str, str] | None = None
    """Type and id, if the metric was found by its resource."""
    by_id: bool = field(default=False)
    """Whether the metric's own owner says who may see it."""


class MetricRequests:
    """Asks for metrics. It may be used from any thread."""

    def __init__(
        self, api: GnocchiApi, directory: Directory, together: Together, *, most: int
    ) -> None:
        self._api = api
        self._directory = directory
        self._together = together
        self._most = most

    def ask(
        self,
        questions: Sequence[Question],
        now_us: int,
        agents_id: str | None,
        deadline: Deadline,
    ) -> tuple[Sequence[Answer], Sequence[str]]:
        """Give an answer for each question, and why Gnocchi could not do its work, for each so."""
        targets = [_target(question, now_us) for question in questions]
        self._find(targets, agents_id, deadline)
        found = self._measures(targets, deadline)
        moved = [one for one in targets if one.resource and _is_gone(one, found)]
        if moved:  # their metrics were made anew since they were looked up
            for target in moved:
                if target.resource is not None:
                    self._directory.forget_resource(*target.resource)
            self._find(moved, agents_id, deadline)
            found |= self._measures(moved, deadline)
        answers, failures = [], []
        for target in targets:
            outcome = self._outcome(target, found, agents_id)
            if isinstance(outcome, _NoMeasures):
                answers.append(Answer((None,) * target.window.points, outcome.reason))
                failures += [outcome.reason] if outcome.failed else []
            else:
                answers.append(Answer(newest(outcome, target.window, target.method)))
        return answers, failures

    def problem(
        self, question: Question, agents_id: str | None, deadline: Deadline
    ) -> tuple[str, str] | None:
        """Give the field of a rule that its resource's metric does not fit, and why.

        None if it fits, or if there is no such metric. Raises Failed.
        """
        target = _target(question, 0)
        self._find([target], agents_id, deadline)
        if target.problem is not None and target.problem.failed:
            raise Failed(target.problem.reason)
        if not target.metric_ids:
            return None
        self._directory.learn(target.metric_ids, deadline)
        known = self._directory.metric(target.metric_ids[0])
        if known is None or not isinstance(reason := _kept(known, target), _NoMeasures):
            return None
        has_granularity = target.window.granularity_s in known.granularities_s
        return "aggregation_method" if has_granularity else "granularity", reason.reason

    # -- which metrics ----------------------------------------------------------------------------

    def _find(self, targets: Iterable[_Target], agents_id: str | None, deadline: Deadline) -> None:
        """Look up the metrics of resources."""
        by_type: dict[str, list[_Target]] = {}
        for target in targets:
            if isinstance(target.question.rule, GnocchiResourcesRule):
                by_type.setdefault(target.question.rule.resource_type, []).append(target)
        for kind, ones in by_type.items():
            wanted: dict[str, set[str]] = {}
            for target in ones:
                rule = _resource_rule(target)
                wanted.setdefault(rule.resource_id, set()).add(rule.metric)
            try:
                resources = self._directory.resources(kind, wanted, deadline)
            except Refused as error:
                problem = _NoMeasures(str(error))
            except Failed as error:
                problem = _NoMeasures(str(error), failed=True)
            else:
                for target in ones:
                    known = resources.get(_resource_rule(target).resource_id, ())
                    _settle(target, known, agents_id)
                continue
            for target in ones:
                target.problem = problem

    # -- their measures ---------------------------------------------------------------------------

    def _measures(
        self, targets: Iterable[_Target], deadline: Deadline
    ) -> dict[tuple[Window, _Wanted], Measures | _NoMeasures]:
        """Ask for the measures of all metrics, many at once."""
        wanted: dict[Window, dict[_Wanted, None]] = {}
        owners: set[str] = set()
        for target in targets:
            owners.update(target.metric_ids if target.by_id else ())
            for metric_id in target.metric_ids:
                wanted.setdefault(target.window, {})[_Wanted(metric_id, target.method)] = None
        parts = [
            (window, tuple(ones)[at : at + self._most])
            for window, ones in wanted.items()
            for at in range(0, len(ones), self._most)
        ]
        poll = _Poll(self._api, self._directory, owners, deadline)
        found: dict[tuple[Window, _Wanted], Measures | _NoMeasures] = {}
        for (window, _), part in zip(
            parts, self._together.each(lambda part: poll.ask(*part), parts), strict=True
        ):
            found.update({(window, one): outcome for one, outcome in part.items()})
        return found

    def _outcome(
        self,
        target: _Target,
        found: Mapping[tuple[Window, _Wanted], Measures | _NoMeasures],
        agents_id: str | None,
    ) -> Measures | _NoMeasures:
        """Give a question's measures, or the first reason why there are none."""
        if target.problem is not None:
            return target.problem
        series: list[Measures] = []
        for metric_id in target.metric_ids:
            outcome = found[target.window, _Wanted(metric_id, target.method)]
            if (
                target.by_id
                and agents_id is not None
                and not self._sees(target, metric_id, agents_id)
            ):
                failed = isinstance(outcome, _NoMeasures) and outcome.failed
                return outcome if failed else _no_metric(metric_id)
            if isinstance(outcome, _NoMeasures):
                return outcome
            series.append(outcome)
        return joined(target.method, series) if target.by_id else series[0]

    def _sees(self, target: _Target, metric_id: str, agents_id: str) -> bool:
        known = self._directory.metric(metric_id)
        return known is not None and known.owner.is_visible(target.question.project_id, agents_id)


class _Poll:
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

    def ask(
        self, window: Window, wanted: Sequence[_Wanted]
    ) -> dict[_Wanted, Measures | _NoMeasures]:
        """Give what comes of these metrics; what Gnocchi refuses of them costs nothing else."""
        found: dict[_Wanted, Measures | _NoMeasures] = {}
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
        return found | dict.fromkeys(left, _NoMeasures("Gnocchi refuses it again and again"))

    def _failed(self, error: Failed) -> _NoMeasures:
        if error.unreachable:
            self._unreachable = str(error)
        return _NoMeasures(str(error), failed=True)

    def _ways(
        self,
        window: Window,
        wanted: Iterable[_Wanted],
        found: dict[_Wanted, Measures | _NoMeasures],
    ) -> dict[_Wanted, str]:
        """Give the method to ask each metric for; those that are not kept so are done."""
        ways: dict[_Wanted, str] = {}
        for one in wanted:
            known = self._directory.metric(one.metric_id)
            way = one.method if known is None else _way(known, one, window)
            if isinstance(way, _NoMeasures):
                found[one] = way
            else:
                ways[one] = way
        return ways

    def _request(
        self, window: Window, ways: Mapping[_Wanted, str]
    ) -> dict[_Wanted, Measures | _NoMeasures]:
        if self._unreachable:
            raise Failed(self._unreachable)
        if not self._deadline.left_s():
            raise Failed("Gnocchi did not answer in time")
        references = dict.fromkeys((one.metric_id, way) for one, way in ways.items())
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
        found: dict[_Wanted, Measures | _NoMeasures] = {}
        for one, way in ways.items():
            rows = measures.get(one.metric_id, {}).get(way, ())
            series = read(rows, window.granularity_s)
            if way != one.method:
                series = differences(series, window.granularity_s)
            found[one] = series
        return found

    def _learn_from(
        self,
        error: Refused,
        left: Sequence[_Wanted],
        found: dict[_Wanted, Measures | _NoMeasures],
    ) -> _NoMeasures | None:
        """Take in why a request was refused; None if it is worth another try."""
        if error.cause == _UNKNOWN and isinstance(error.detail, list):
            missing = set(error.detail)
            for one in left:
                if one.metric_id in missing:
                    self._directory.forget_metric(one.metric_id)
                    found[one] = _no_metric(one.metric_id)
            return None
        unknown = [one for one in left if self._directory.metric(one.metric_id) is None]
        if error.cause not in _NOT_KEPT_SO or not unknown:
            return _NoMeasures(str(error))
        try:
            for one in unknown:
                self._directory.learn([one.metric_id], self._deadline)
        except Failed as failure:
            return self._failed(failure)
        return None


def _target(question: Question, now_us: int) -> _Target:
    rule = question.rule
    window = Window(rule.granularity, rule.points, now_us)
    if isinstance(rule, GnocchiResourcesRule):
        resource = (rule.resource_type, rule.resource_id)
        return _Target(question, window, rule.aggregation_method, resource=resource)
    if not isinstance(rule, GnocchiMetricsRule):
        return _Target(question, window, "", problem=_NoMeasures("Gnocchi cannot answer this"))
    target = _Target(question, window, rule.aggregation_method, by_id=True)
    ids = {metric_id: uuid_of(metric_id) for metric_id in rule.metrics}
    bad = next((metric_id for metric_id, form in ids.items() if form is None), None)
    if bad is not None:
        target.problem = _no_metric(bad)
    elif not can_join(rule.aggregation_method):
        method = rule.aggregation_method
        target.problem = _NoMeasures(f"{method} cannot be taken over several metrics")
    else:
        target.metric_ids = tuple(dict.fromkeys(form for form in ids.values() if form))
    return target


def _resource_rule(target: _Target) -> GnocchiResourcesRule:
    rule = target.question.rule
    assert isinstance(rule, GnocchiResourcesRule)  # noqa: S101 - the caller has looked
    return rule


def _settle(target: _Target, known: Sequence[Resource], agents_id: str | None) -> None:
    """Note which metric a question means, of the resources that its project may see."""
    rule = _resource_rule(target)
    project_id = target.question.project_id
    sees: Callable[[Owner], bool] = (
        (lambda _owner: True)
        if agents_id is None
        else (lambda owner: owner.is_visible(project_id, agents_id))
    )
    visible = [one for one in known if sees(one.owner)]
    metric_id = next(
        (one.metrics[rule.metric] for one in visible if rule.metric in one.metrics), None
    )
    if metric_id is not None:
        target.metric_ids, target.problem = (metric_id,), None
    elif visible:
        what = f"metric {rule.metric} of resource {rule.resource_id}"
        target.metric_ids, target.problem = (), _NoMeasures(f"{what} does not exist")
    else:
        reason = f"resource {rule.resource_id} does not exist"
        target.metric_ids, target.problem = (), _NoMeasures(reason)


def _is_gone(
    target: _Target, found: Mapping[tuple[Window, _Wanted], Measures | _NoMeasures]
) -> bool:
    if target.problem is not None or not target.metric_ids:
        return False
    outcome = found[target.window, _Wanted(target.metric_ids[0], target.method)]
    return isinstance(outcome, _NoMeasures) and outcome.gone


def _kept(metric: Metric, target: _Target) -> str | _NoMeasures:
    return _way(metric, _Wanted(target.metric_ids[0], target.method), target.window)


def _way(metric: Metric, wanted: _Wanted, window: Window) -> str | _NoMeasures:
    """Give the method to ask for; a rate that is not kept is the difference of what is."""
    if window.granularity_s not in metric.granularities_s:
        kept = ", ".join(f"{one:g}" for one in sorted(metric.granularities_s))
        return _NoMeasures(
            f"the archive policy {metric.policy} of the metric has no granularity of "
            f"{window.granularity_s} s; it has {kept}"
        )
    if wanted.method in metric.methods:
        return wanted.method
    base = base_of(wanted.method)
    if wanted.method.startswith(RATE) and base in metric.methods:
        return base
    kept = ", ".join(sorted(metric.methods))
    return _NoMeasures(
        f"the archive policy {metric.policy} of the metric does not have {wanted.method}; "
        f"it has {kept}"
    )


def _no_metric(metric_id: str) -> _NoMeasures:
    return _NoMeasures(f"metric {metric_id} does not exist", gone=True)
