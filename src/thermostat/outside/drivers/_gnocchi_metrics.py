# SPDX-License-Identifier: Apache-2.0
"""Single metrics and lists of metrics: one request for many metrics of many rules."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from thermostat.alarms.outside import GnocchiMetricsRule, GnocchiResourcesRule
from thermostat.outside.base import Answer, Question
from thermostat.outside.drivers._directory import Directory, Metric, Owner, Resource, uuid_of
from thermostat.outside.drivers._gnocchi_api import Failed, GnocchiApi, Refused
from thermostat.outside.drivers._gnocchi_batch import (
    MetricPoll,
    NoMeasures,
    Wanted,
    no_metric,
    way,
)
from thermostat.outside.drivers._measures import (
    Measures,
    Window,
    can_join,
    joined,
    newest,
)
from thermostat.outside.drivers._together import Deadline, Given, Together


@dataclass(slots=True)
class _Target:
    """What a question's datapoints are made of."""

    question: Question
    window: Window
    method: str
    metric_ids: Sequence[str] = ()
    problem: NoMeasures | None = None
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
    ) -> Given:
        """Give an answer for each question."""
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
        outcomes = [self._outcome(target, found, agents_id) for target in targets]
        answers = [
            _answer(target, outcome) for target, outcome in zip(targets, outcomes, strict=True)
        ]
        reasons = [one for one in outcomes if isinstance(one, NoMeasures)]
        failure = next((one.reason for one in reasons if one.failed), "")
        served = len(reasons) < len(outcomes) or any(
            one.asked and not one.failed for one in reasons
        )
        return Given(answers, failure, served)

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
        if known is None or not isinstance(reason := _kept(known, target), NoMeasures):
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
                problem = NoMeasures(str(error))
            except Failed as error:
                problem = NoMeasures(str(error), failed=True)
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
    ) -> dict[tuple[Window, Wanted], Measures | NoMeasures]:
        """Ask for the measures of all metrics, many at once."""
        wanted: dict[Window, dict[Wanted, None]] = {}
        owners: set[str] = set()
        for target in targets:
            owners.update(target.metric_ids if target.by_id else ())
            for metric_id in target.metric_ids:
                wanted.setdefault(target.window, {})[Wanted(metric_id, target.method)] = None
        parts = [
            (window, tuple(ones)[at : at + self._most])
            for window, ones in wanted.items()
            for at in range(0, len(ones), self._most)
        ]
        poll = MetricPoll(self._api, self._directory, owners, deadline)
        found: dict[tuple[Window, Wanted], Measures | NoMeasures] = {}
        for (window, _), part in zip(
            parts, self._together.each(lambda part: poll.ask(*part), parts), strict=True
        ):
            found.update({(window, one): outcome for one, outcome in part.items()})
        return found

    def _outcome(
        self,
        target: _Target,
        found: Mapping[tuple[Window, Wanted], Measures | NoMeasures],
        agents_id: str | None,
    ) -> Measures | NoMeasures:
        """Give a question's measures, or the first reason why there are none."""
        if target.problem is not None:
            return target.problem
        series: list[Measures] = []
        for metric_id in target.metric_ids:
            outcome = found[target.window, Wanted(metric_id, target.method)]
            if (
                target.by_id
                and agents_id is not None
                and not self._sees(target, metric_id, agents_id)
            ):
                failed = isinstance(outcome, NoMeasures) and outcome.failed
                return outcome if failed else no_metric(metric_id)
            if isinstance(outcome, NoMeasures):
                return outcome
            series.append(outcome)
        return joined(target.method, series) if target.by_id else series[0]

    def _sees(self, target: _Target, metric_id: str, agents_id: str) -> bool:
        known = self._directory.metric(metric_id)
        return known is not None and known.owner.is_visible(target.question.project_id, agents_id)


def _target(question: Question, now_us: int) -> _Target:
    rule = question.rule
    window = Window(rule.granularity, rule.points, now_us)
    if isinstance(rule, GnocchiResourcesRule):
        resource = (rule.resource_type, rule.resource_id)
        return _Target(question, window, rule.aggregation_method, resource=resource)
    if not isinstance(rule, GnocchiMetricsRule):
        return _Target(question, window, "", problem=_unasked("Gnocchi cannot answer this"))
    target = _Target(question, window, rule.aggregation_method, by_id=True)
    ids = {metric_id: uuid_of(metric_id) for metric_id in rule.metrics}
    bad = next((metric_id for metric_id, form in ids.items() if form is None), None)
    if bad is not None:
        target.problem = _unasked(f"metric {bad} does not exist")
    elif not can_join(rule.aggregation_method):
        method = rule.aggregation_method
        target.problem = _unasked(f"{method} cannot be taken over several metrics")
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
        target.metric_ids, target.problem = (), NoMeasures(f"{what} does not exist")
    else:
        reason = f"resource {rule.resource_id} does not exist"
        target.metric_ids, target.problem = (), NoMeasures(reason)


def _is_gone(target: _Target, found: Mapping[tuple[Window, Wanted], Measures | NoMeasures]) -> bool:
    if target.problem is not None or not target.metric_ids:
        return False
    outcome = found[target.window, Wanted(target.metric_ids[0], target.method)]
    return isinstance(outcome, NoMeasures) and outcome.gone


def _kept(metric: Metric, target: _Target) -> str | NoMeasures:
    return way(metric, Wanted(target.metric_ids[0], target.method), target.window)


def _answer(target: _Target, outcome: Measures | NoMeasures) -> Answer:
    if isinstance(outcome, NoMeasures):
        return Answer((None,) * target.window.points, outcome.reason)
    return Answer(newest(outcome, target.window, target.method))


def _unasked(reason: str) -> NoMeasures:
    return NoMeasures(reason, asked=False)
