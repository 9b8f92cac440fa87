# SPDX-License-Identifier: Apache-2.0
"""Prometheus, and what answers its HTTP API: rules of type `prometheus`.

Rules with the same query of the same project, granularity and span share one request; those that
compare differently too. A query that the store refuses costs its own rules only.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

import numpy as np
import urllib3
from numpy.typing import NDArray
from oslo_config import cfg
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)

from thermostat.alarms.outside import OutsideRule, PrometheusRule
from thermostat.evaluate.ticks import US_PER_S, tick_s
from thermostat.outside import opts as outside
from thermostat.outside import promql
from thermostat.outside.base import Answer, InvalidOutsideRule, OutsideUnavailable, Question
from thermostat.outside.drivers._series import (
    BadAnswer,
    is_success,
    matrix,
    most_breaching,
    refusal,
)
from thermostat.outside.drivers._together import Deadline, Together, in_turn
from thermostat.version import __version__

GROUP = cfg.OptGroup("prometheus", title="A store that answers PromQL, for prometheus rules")
OPTS = [
    cfg.URIOpt(
        "endpoint",
        schemes=["http", "https"],
        help="Where its HTTP API is, without /api/v1, such as https://metrics.example.com:9090. "
        "Without it no store answers rules of type prometheus.",
    ),
    cfg.StrOpt(
        "project_label",
        default="project",
        regex=f"^{promql.LABEL_NAME.pattern}$",
        help="The label that has the id of the project that a series belongs to.",
    ),
    cfg.BoolOpt(
        "scope_to_project",
        default=True,
        help="Let each query see its alarm's project only: every selector gets a matcher for "
        "project_label. Switch it off only if every user may read every series.",
    ),
    cfg.StrOpt("ca_file", help="Certificates of the authorities to trust, if not the system's."),
    cfg.StrOpt("cert_file", help="The certificate of this client, if the store asks for one."),
    cfg.StrOpt("key_file", help="The key of cert_file, if it is not in the same file."),
    cfg.StrOpt("bearer_token", secret=True, help="The token to send, if the store wants one."),
    cfg.StrOpt("username", help="The name to send by HTTP Basic, if the store wants one."),
    cfg.StrOpt("password", secret=True, help="The password to username."),
    cfg.FloatOpt(
        "query_timeout",
        default=10.0,
        min=0.1,
        help="Seconds that one query may take; [outside] timeout bounds all that are asked at "
        "once.",
    ),
    cfg.IntOpt(
        "connections",
        default=4,
        min=1,
        max=100,
        help="How many queries are asked at once.",
    ),
    cfg.IntOpt(
        "max_answer_mb",
        default=16,
        min=1,
        help="An answer to one query that is longer is not read.",
    ),
]
_MARGIN_S = 2.0
"""The store itself gives up first."""
_CHUNK = 1 << 18
_SHORTEST_S = 0.05
_REFUSED = (HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY)
_OF_THE_QUERY = ("bad_data", "execution", "timeout", "canceled")
"""Prometheus' types of errors that say nothing about the store itself."""


class _Shape(NamedTuple):
    """What one request asks."""

    query: str
    """As the project may see it."""
    project_id: str
    step_s: int
    points: int
    end_s: int


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What came of one request: values, or why there are none."""

    values: NDArray[np.float64] | None = None
    """Series by instants."""
    reason: str = ""
    answered: bool = True
    """Whether the store did its work, be it by refusing the query."""


class ReadTooSlow(HTTPError):  # noqa: N818 - it says what happened
    """An answer that came too slowly."""


class PrometheusStore:
    """Asks `query_range`; every method may be called from any thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(OPTS, group=GROUP.name)
        conf.register_opts(outside.OPTS, group=outside.GROUP.name)
        own = conf[GROUP.name]
        self.types: frozenset[str] = frozenset({"prometheus"} if own.endpoint else ())
        """The types of rules that it answers: none without an endpoint."""
        self._endpoint = (own.endpoint or "").rstrip("/")
        self._label: str | None = own.project_label if own.scope_to_project else None
        self._timeout_s: float = conf[outside.GROUP.name].timeout
        self._query_timeout_s: float = min(own.query_timeout, self._timeout_s)
        self._max_bytes = own.max_answer_mb << 20
        self._together = Together("prometheus", own.connections)
        self._headers = _headers(own)
        tls: dict[str, Any] = {"ca_certs": own.ca_file} if own.ca_file else {}
        self._pool = urllib3.PoolManager(
            maxsize=own.connections,
            retries=False,
            cert_file=own.cert_file,
            key_file=own.key_file,
            **tls,
        )

    def check_rule(self, rule: OutsideRule, project_id: str) -> None:
        """Raise InvalidOutsideRule unless the query is PromQL for numbers; asks nobody."""
        if isinstance(rule, PrometheusRule):
            try:
                promql.scoped(rule.query, self._label, project_id)
            except promql.PromQLError as error:
                raise InvalidOutsideRule("query", str(error)) from None

    def ask(self, questions: Sequence[Question], now_us: int) -> Sequence[Answer]:
        """Ask each distinct query once."""
        asked = [self._shape(question, now_us) for question in questions]
        shapes = list(dict.fromkeys(shape for shape in asked if isinstance(shape, _Shape)))
        poll = _Poll(self, Deadline(self._timeout_s))
        shapes = in_turn(shapes, lambda shape: shape.project_id)
        outcomes = dict(zip(shapes, self._together.each(poll.ask, shapes), strict=True))
        if outcomes and not any(outcome.answered for outcome in outcomes.values()):
            self._must_answer(next(iter(outcomes.values())).reason)
        return [
            _answer(question, _Outcome(reason=shape) if isinstance(shape, str) else outcomes[shape])
            for question, shape in zip(questions, asked, strict=True)
        ]

    def range(self, shape: "_Shape", deadline: Deadline) -> _Outcome:
        """Ask for one query's values at its instants. Raises HTTPError if there is no answer."""
        start_s = shape.end_s - (shape.points - 1) * shape.step_s
        fields = {
            "query": shape.query,
            "start": str(start_s),
            "end": str(shape.end_s),
            "step": str(shape.step_s),
            "timeout": f"{round(self._query_timeout_s * 1000)}ms",
        }
        status, body = self._post("query_range", fields, deadline)
        if body is None:
            megabytes = self._max_bytes >> 20
            return _Outcome(reason=f"the query's answer is longer than {megabytes} MiB")
        if status != HTTPStatus.OK:
            return _refused(status, body)
        try:
            return _Outcome(matrix(body, start_s, shape.step_s, shape.points))
        except BadAnswer as error:
            return _Outcome(reason=str(error), answered=False)

    def _must_answer(self, reason: str) -> None:
        """Raise OutsideUnavailable unless the store answers the simplest query."""
        try:
            _, body = self._post("query", {"query": "1"}, Deadline(self._query_timeout_s))
        except HTTPError as error:
            raise OutsideUnavailable(f"Prometheus cannot be asked: {_named(error)}") from None
        if not is_success(body or b""):
            raise OutsideUnavailable(f"Prometheus cannot be asked: {reason}")

    def _post(
        self, path: str, fields: Mapping[str, str], deadline: Deadline
    ) -> tuple[int, bytes | None]:
        """Give the status and the body of an answer; None for one that is too long."""
        left_s = min(deadline.left_s(), self._query_timeout_s + _MARGIN_S)
        response = self._pool.request(
            "POST",
            f"{self._endpoint}/api/v1/{path}",
            fields=fields,
            encode_multipart=False,
            headers=self._headers,
            timeout=urllib3.Timeout(total=max(left_s, _SHORTEST_S)),
            redirect=False,
            preload_content=False,
        )
        body = bytearray()
        while chunk := response.read(_CHUNK):
            body += chunk
            if len(body) > self._max_bytes:
                response.close()
                return response.status, None
            if not deadline.left_s():
                response.close()
                raise ReadTooSlow("the answer takes too long")
        response.release_conn()
        return response.status, bytes(body)

    def _shape(self, question: Question, now_us: int) -> _Shape | str:
        """Give what to ask, or why the query cannot be asked."""
        rule = question.rule
        if not isinstance(rule, PrometheusRule):
            return "this store answers prometheus rules only"
        try:
            query = promql.scoped(rule.query, self._label, question.project_id)
        except promql.PromQLError as error:
            return f"the query {error}"
        tick_us = tick_s(rule.granularity) * US_PER_S
        end_s = now_us // tick_us * tick_us // US_PER_S
        # What is not scoped is the same for all projects.
        owner = question.project_id if self._label is not None else ""
        return _Shape(query, owner, rule.granularity, rule.points, end_s)


class _Poll:
    """Requests that are made together: once the store cannot be reached, the rest is not tried."""

    def __init__(self, store: PrometheusStore, deadline: Deadline) -> None:
        self._store = store
        self._deadline = deadline
        self._unreachable = ""

    def ask(self, shape: _Shape) -> _Outcome:
        """Give what comes of one request."""
        if self._unreachable:
            return _Outcome(reason=self._unreachable, answered=False)
        if not self._deadline.left_s():
            return _Outcome(reason="the store did not answer in time", answered=False)
        try:
            return self._store.range(shape, self._deadline)
        except (NewConnectionError, NameResolutionError, ConnectTimeoutError, SSLError) as error:
            self._unreachable = reason = _named(error)
        except HTTPError as error:
            reason = _named(error)
        return _Outcome(reason=reason, answered=False)


def _answer(question: Question, outcome: _Outcome) -> Answer:
    rule = question.rule
    if outcome.values is None or not isinstance(rule, PrometheusRule):
        return Answer((None,) * rule.points, outcome.reason)
    return Answer(most_breaching(outcome.values, rule.comparison_operator, rule.threshold))


def _refused(status: int, body: bytes) -> _Outcome:
    """Tell what a status that is no success means: for one query, or for the store."""
    kind, message = refusal(body)
    if status in _REFUSED or kind in _OF_THE_QUERY:
        return _Outcome(reason=f"the store refuses the query: {message or status:.300}")
    return _Outcome(reason=f"the store answers {status}", answered=False)


def _named(error: HTTPError) -> str:
    """Say what went wrong without the URL, which may have a password."""
    words = {
        NameResolutionError: "its name cannot be resolved",
        NewConnectionError: "it cannot be connected to",
        ConnectTimeoutError: "it does not take connections",
        ReadTimeoutError: "it does not answer in time",
        ReadTooSlow: "it does not answer in time",
        SSLError: "TLS fails",
    }
    return next((text for kind, text in words.items() if isinstance(error, kind)), "") or (
        f"the connection broke ({type(error).__name__})"
    )


def _headers(own: Any) -> dict[str, str]:
    headers = {"User-Agent": f"thermostat/{__version__}", "Accept": "application/json"}
    if own.bearer_token:
        headers["Authorization"] = f"Bearer {own.bearer_token}"
    elif own.username:
        pair = f"{own.username}:{own.password or ''}".encode()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    return headers
