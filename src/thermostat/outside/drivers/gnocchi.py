# SPDX-License-Identifier: Apache-2.0
"""Gnocchi: the three gnocchi_* types of rules.

Rules over single metrics, and over lists of metrics, with the same granularity and number of
periods share one request for all their metrics, whatever they aggregate and compare: lists are
aggregated here. Rules over a group of resources share a request if they ask the same of the same
group. Rates are taken metric by metric, before any aggregate over metrics.
"""

import logging
import time
from collections.abc import Sequence

from keystoneauth1 import loading
from oslo_config import cfg

from thermostat.alarms.outside import (
    GnocchiMetricsRule,
    GnocchiResourceGroupRule,
    GnocchiResourcesRule,
    OutsideRule,
)
from thermostat.outside import opts as outside
from thermostat.outside.base import Answer, InvalidOutsideRule, OutsideUnavailable, Question
from thermostat.outside.drivers._directory import Directory, uuid_of
from thermostat.outside.drivers._gnocchi_api import Failed, GnocchiApi, Refused
from thermostat.outside.drivers._gnocchi_groups import GroupRequests
from thermostat.outside.drivers._gnocchi_metrics import MetricRequests
from thermostat.outside.drivers._measures import can_join
from thermostat.outside.drivers._together import Deadline, Together
from thermostat.outside.gnocchi_query import GnocchiQueryError, of_project, parsed

LOG = logging.getLogger(__name__)
GROUP = cfg.OptGroup("gnocchi", title="A Gnocchi, for gnocchi_* rules")
OPTS = [
    cfg.BoolOpt(
        "enabled",
        default=False,
        help="Ask Gnocchi, which the service catalogue has as `metric`, for what gnocchi_* rules "
        "need. Without it no store answers them. The server's own user asks (auth_type here, or "
        "[service_auth]); it needs a role with which Gnocchi lets it read all: admin or service.",
    ),
    cfg.StrOpt(
        "external_project_owner",
        default="service",
        help="The name, or the id, of the project of the agents' user, which creates resources "
        "for all projects: Ceilometer's.",
    ),
    cfg.StrOpt(
        "external_domain_name",
        default="Default",
        help="The name of the domain of external_project_owner.",
    ),
    cfg.BoolOpt(
        "scope_to_project",
        default=True,
        help="Let each rule see its alarm's project only: what that project created, and what "
        "external_project_owner created for it.",
    ),
    cfg.FloatOpt(
        "query_timeout",
        default=10.0,
        min=0.1,
        help="Seconds that one request may take; [outside] timeout bounds all that are made at "
        "once.",
    ),
    cfg.IntOpt(
        "connections",
        default=4,
        min=1,
        max=10,
        help="How many requests are made at once.",
    ),
    cfg.IntOpt(
        "metrics_per_request",
        default=100,
        min=1,
        max=10_000,
        help="How many metrics are asked for together.",
    ),
    cfg.IntOpt(
        "max_answer_mb",
        default=64,
        min=1,
        help="An answer to one request that is longer is not read.",
    ),
]
_OWNER_REMEMBERED_S = 3600.0
_KEYSTONE_TIMEOUT_S = 10
_CHECK_S = 5.0
_CHECK_REST_S = 5.0


def register_options(conf: cfg.ConfigOpts) -> None:
    """Register all options of the group."""
    conf.register_opts(OPTS, group=GROUP.name)
    loading.register_auth_conf_options(conf, GROUP.name)
    loading.register_session_conf_options(conf, GROUP.name)
    loading.register_adapter_conf_options(conf, GROUP.name, include_deprecated=False)
    conf.set_default("service_type", "metric", group=GROUP.name)
    # Keystone may hang, too; requests to Gnocchi have their own bounds.
    conf.set_default("timeout", _KEYSTONE_TIMEOUT_S, group=GROUP.name)


def list_options() -> list[cfg.Opt]:
    """Give all options of the group, for the sample configuration."""
    return [
        *OPTS,
        *loading.get_auth_common_conf_options(),
        *loading.get_session_conf_options(),
        *loading.get_adapter_conf_options(include_deprecated=False),
    ]


class GnocchiStore:
    """Asks Gnocchi; every method may be called from any thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        register_options(conf)
        conf.register_opts(outside.OPTS, group=outside.GROUP.name)
        own = conf[GROUP.name]
        self.types: frozenset[str] = frozenset()
        """The types of rules that it answers: none unless it is enabled."""
        if not own.enabled:
            return
        self.types = frozenset(
            (
                "gnocchi_resources_threshold",
                "gnocchi_aggregation_by_metrics_threshold",
                "gnocchi_aggregation_by_resources_threshold",
            )
        )
        self._timeout_s: float = conf[outside.GROUP.name].timeout
        self._scoped: bool = own.scope_to_project
        self._agents = (own.external_project_owner, own.external_domain_name)
        self._agents_id = ""
        self._agents_until_s = 0.0
        self._unchecked_until_s = 0.0
        self._unchecked_reason = ""
        self._api = GnocchiApi(
            conf,
            GROUP.name,
            timeout_s=min(own.query_timeout, self._timeout_s),
            max_bytes=own.max_answer_mb << 20,
        )
        self._together = Together("gnocchi", own.connections)
        self._directory = Directory(self._api, self._together)
        self._metrics = MetricRequests(
            self._api, self._directory, self._together, most=own.metrics_per_request
        )
        self._groups = GroupRequests(self._api, self._together)

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, questions: Sequence[Question], now_us: int) -> Sequence[Answer]:
        """Ask for all in as few requests as Gnocchi allows."""
        deadline = Deadline(self._timeout_s)
        try:
            agents_id = self._agents_project(deadline)
        except Failed as error:
            raise OutsideUnavailable(str(error)) from None
        groups = [at for at, one in enumerate(questions) if _is_group(one.rule)]
        others = [at for at, one in enumerate(questions) if not _is_group(one.rule)]
        answers: dict[int, Answer] = {}
        failure, served = "", False
        for requests, places in ((self._metrics, others), (self._groups, groups)):
            wanted = [questions[at] for at in places]
            given = requests.ask(wanted, now_us, agents_id, deadline)
            answers.update(zip(places, given.answers, strict=True))
            failure = failure or given.failure
            served = served or given.served
        if failure and not served:
            self._must_answer(failure)
        return [answers[at] for at in range(len(questions))]

    def _must_answer(self, reason: str) -> None:
        """Raise OutsideUnavailable unless Gnocchi answers the simplest request."""
        try:
            self._api.ask("GET", "capabilities", Deadline(self._timeout_s))
        except (Failed, Refused):
            raise OutsideUnavailable(reason) from None

    def _agents_project(self, deadline: Deadline) -> str | None:
        """Give the id of the project whose resources are others'; None: nothing is scoped."""
        if not self._scoped:
            return None
        if time.monotonic() >= self._agents_until_s:
            name, domain_name = self._agents
            found = self._api.project_named(name, domain_name, deadline)
            if found is None:
                LOG.warning("Keystone shows no project %s: it is taken for the id of one", name)
            self._agents_id = found or name
            self._agents_until_s = time.monotonic() + _OWNER_REMEMBERED_S
        return self._agents_id

    # -- checking ---------------------------------------------------------------------------------

    def check_rule(self, rule: OutsideRule, project_id: str) -> None:
        """Raise InvalidOutsideRule for what Gnocchi would refuse now and for ever.

        That a resource or a metric is not there, or not this project's, is no error, and the same:
        it may come. While Gnocchi fails, it is not asked again for a few seconds: requests to the
        API wait for this.
        """
        if time.monotonic() < self._unchecked_until_s:
            raise OutsideUnavailable(self._unchecked_reason)
        deadline = Deadline(min(self._timeout_s, _CHECK_S))
        try:
            match rule:
                case GnocchiResourcesRule():
                    self._check_resource(rule, project_id, deadline)
                case GnocchiMetricsRule():
                    _check_join(rule)
                    for position, metric_id in enumerate(rule.metrics):
                        if uuid_of(metric_id) is None:
                            raise InvalidOutsideRule(f"metrics[{position}]", "is no UUID")
                case GnocchiResourceGroupRule():
                    _check_join(rule)
                    self._check_query(rule, project_id, deadline)
        except Failed as error:
            self._unchecked_reason = str(error)
            self._unchecked_until_s = time.monotonic() + _CHECK_REST_S
            raise OutsideUnavailable(str(error)) from None

    def _check_resource(
        self, rule: GnocchiResourcesRule, project_id: str, deadline: Deadline
    ) -> None:
        """Raise InvalidOutsideRule if the metric is there and is not kept as the rule wants it."""
        question = Question(rule, project_id)
        agents_id = self._agents_project(deadline)
        problem = self._metrics.problem(question, agents_id, deadline)
        if problem is not None:
            raise InvalidOutsideRule(*problem)

    def _check_query(
        self, rule: GnocchiResourceGroupRule, project_id: str, deadline: Deadline
    ) -> None:
        """Raise InvalidOutsideRule unless Gnocchi can search for the group."""
        agents_id = self._agents_project(deadline)
        try:
            query = parsed(rule.query)
            if agents_id is not None:
                query = of_project(query, project_id, agents_id)
            self._groups.search(rule.resource_type, query, deadline)
        except GnocchiQueryError as error:
            raise InvalidOutsideRule("query", str(error)) from None
        except Refused as error:
            field = "resource_type" if error.status == 404 else "query"
            raise InvalidOutsideRule(field, str(error)) from None


def _is_group(rule: OutsideRule) -> bool:
    return isinstance(rule, GnocchiResourceGroupRule)


def _check_join(rule: GnocchiMetricsRule | GnocchiResourceGroupRule) -> None:
    if not can_join(rule.aggregation_method):
        raise InvalidOutsideRule(
            "aggregation_method",
            f"{rule.aggregation_method!r} cannot be taken over several metrics",
        )
