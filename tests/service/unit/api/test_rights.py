# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every method of every path, for every kind of caller.

A path or method that the table does not have fails the first test: nobody can add one without
saying whom it is for.
"""

import inspect
import pathlib
import re

import falcon
import pytest
from falcon.testing import TestClient
from oslo_config import cfg
from oslo_policy.policy import RuleDefault

from tests.service.alarm_requests import ALARM, fault
from tests.service.alarm_support import ALICE, make_alarm, make_transition
from thermostat.api import auth, policies
from thermostat.api.app import create_api
from thermostat.api.enforcing import QuickEnforcer
from thermostat.db.deliveries import Chosen

ROOT = pathlib.Path(__file__).parents[4]
SAMPLE = {
    "name": "cpu_util", "type": "gauge", "unit": "%", "volume": 3.5, "resource_id": "r",
    "timestamp": "2026-11-25T01:00:00",
}  # fmt: skip
SILENCE = {
    "matcher": [{"field": "name", "value": "busy"}], "until": "2199-01-02T00:00:00",
    "from": "2199-01-01T00:00:00", "comment": "maintenance",
}  # fmt: skip
CALLERS = {
    "stranger": {"X-User-Id": "s", "X-Project-Id": "p1"},
    "reader": {"X-User-Id": "r", "X-Project-Id": "p1", "X-Roles": "reader"},
    "member": {"X-User-Id": "m", "X-Project-Id": "p1", "X-Roles": "member,reader"},
    "admin": {"X-User-Id": "a", "X-Project-Id": "p0", "X-Roles": "admin,member,reader"},
    "foreigner": {"X-User-Id": "f", "X-Project-Id": "p2", "X-Roles": "member,reader"},
    "service": {"X-User-Id": "n", "X-Project-Id": "service", "X-Roles": "service"},
    "domain": {"X-User-Id": "d", "X-Domain-Id": "d1", "X-Roles": "admin,member,reader"},
    "system": {"X-User-Id": "y", "OpenStack-System-Scope": "all", "X-Roles": "admin,member,reader"},
}
ORDER = ("stranger", "reader", "member", "admin", "foreigner", "service", "domain", "system")

PUBLIC = (200,) * 8
OF_AN_ALARM = {  # what is another project's does not exist; without the role it is forbidden
    "read": (403, 200, 200, 200, 404, 404, 404, 404),
    "write": (403, 403, 200, 200, 404, 404, 404, 404),
    "delete": (403, 403, 204, 204, 404, 404, 404, 404),
}
OWN = (403, 200, 200, 200, 200, 403, 403, 403)
"""Each sees its own project's, whichever that is."""
OF_A_MEMBERS_OWN = (403, 403, 200, 200, 200, 403, 403, 403)
OF_ANY_PROJECT = (200, 200, 200, 200, 200, 200, 403, 403)
CREATES = (403, 403, 201, 201, 201, 403, 403, 403)
PREVIEWS = (403, 403, 200, 200, 200, 403, 403, 403)
PUBLISHES = (403, 403, 403, 201, 403, 201, 403, 403)
OF_P1 = (403, 200, 200, 200, 403, 403, 403, 403)
ADMINS_201 = (403, 403, 403, 201, 403, 403, 403, 403)
ADMINS_204 = (403, 403, 403, 204, 403, 403, 403, 403)

TABLE = {
    ("GET", "/"): PUBLIC,
    ("GET", "/v2"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/healthcheck"): PUBLIC,
    ("GET", "/metrics"): PUBLIC,
    ("GET", "/v2/alarms"): OWN,
    ("POST", "/v2/alarms"): CREATES,
    ("POST", "/v2/alarms/preview"): PREVIEWS,
    ("GET", "/v2/alarms/{alarm_id}"): OF_AN_ALARM["read"],
    ("PUT", "/v2/alarms/{alarm_id}"): OF_AN_ALARM["write"],
    ("DELETE", "/v2/alarms/{alarm_id}"): OF_AN_ALARM["delete"],
    ("GET", "/v2/alarms/{alarm_id}/state"): OF_AN_ALARM["read"],
    ("PUT", "/v2/alarms/{alarm_id}/state"): OF_AN_ALARM["write"],
    ("GET", "/v2/alarms/{alarm_id}/history"): OF_AN_ALARM["read"],
    ("POST", "/v2/query/alarms"): OWN,
    ("POST", "/v2/query/alarms/history"): OWN,
    ("POST", "/v1/samples"): PUBLISHES,
    ("POST", "/v2/samples"): PUBLISHES,
    ("GET", "/v2/capabilities"): OF_ANY_PROJECT,
    ("GET", "/v2/metrics"): OWN,
    ("GET", "/v2/quotas"): OWN,
    ("POST", "/v2/quotas"): ADMINS_201,
    ("GET", "/v2/quotas/{project_id}"): OF_P1,
    ("DELETE", "/v2/quotas/{project_id}"): ADMINS_204,
    ("GET", "/v2/silences"): OWN,
    ("POST", "/v2/silences"): CREATES,
    ("GET", "/v2/silences/{silence_id}"): OF_AN_ALARM["read"],
    ("PUT", "/v2/silences/{silence_id}"): OF_AN_ALARM["write"],
    ("DELETE", "/v2/silences/{silence_id}"): OF_AN_ALARM["delete"],
    ("GET", "/v2/meters/{meter}/statistics"): OWN,
    ("GET", "/v2/alarms/{alarm_id}/notifications"): OF_AN_ALARM["read"],
    ("GET", "/v2/notifications"): OWN,
    ("GET", "/v2/notifications/{notification_id}"): OF_AN_ALARM["read"],
    ("DELETE", "/v2/notifications/{notification_id}"): OF_AN_ALARM["delete"],
    ("POST", "/v2/notifications/{notification_id}/retry"): OF_AN_ALARM["write"],
    ("GET", "/v2/webhook-secret"): OF_A_MEMBERS_OWN,
    ("POST", "/v2/webhook-secret"): OF_A_MEMBERS_OWN,
}
BODIES = {
    ("POST", "/v2/alarms"): ALARM,
    ("POST", "/v2/alarms/preview"): ALARM,
    ("PUT", "/v2/alarms/{alarm_id}"): ALARM,
    ("PUT", "/v2/alarms/{alarm_id}/state"): "ok",
    ("POST", "/v1/samples"): [SAMPLE],
    ("POST", "/v2/samples"): [SAMPLE],
    ("POST", "/v2/query/alarms"): {},
    ("POST", "/v2/query/alarms/history"): {},
    ("POST", "/v2/silences"): SILENCE,
    ("PUT", "/v2/silences/{silence_id}"): SILENCE,
    ("POST", "/v2/notifications/{notification_id}/retry"): None,
    ("POST", "/v2/webhook-secret"): None,
    ("POST", "/v2/quotas"): {"project_id": "p1", "quotas": [{"resource": "alarms", "limit": 9}]},
}


def operations(app):
    """Every method and path that the application has, from its router itself."""
    for path, resource in routes(app._router._roots):
        for method in falcon.HTTP_METHODS:
            if hasattr(resource, f"on_{method.lower()}"):
                yield method, path


def routes(nodes):
    for node in nodes:
        if node.resource is not None:
            yield node.uri_template, node.resource
        yield from routes(node.children)


@pytest.fixture
def app(services):
    services.alarms.counts_results = True  # else /v2/metrics is there for nobody
    return create_api(services)


@pytest.fixture
def client(app):
    return TestClient(app)


@pytest.fixture
def alarm_id(client):
    """An alarm of p1."""
    made = client.simulate_post("/v2/alarms", json=ALARM, headers=CALLERS["member"])
    return made.json["alarm_id"]


@pytest.fixture
def make_silence(client):
    """Makes silences of p1."""

    def make():
        made = client.simulate_post("/v2/silences", json=SILENCE, headers=CALLERS["member"])
        return made.json["silence_id"]

    return make


@pytest.fixture
def notification_id(services):
    """A notification of p1."""
    alarm = make_alarm(alarm_id="told", alarm_actions=("http://x.example/",))
    services.alarms.create(alarm, ALICE)
    services.alarms.record(make_transition(alarm))
    return services.outbox.due(2**62, 1)[0].notification_id


@pytest.fixture
def known(alarm_id, notification_id, make_silence):
    """What there is of p1."""
    return {
        "alarm_id": alarm_id,
        "notification_id": notification_id,
        "silence_id": make_silence(),
    }


def test_the_table_has_every_operation(app):
    assert set(operations(app)) == set(TABLE)
    assert set(BODIES) == {(method, path) for method, path in TABLE if method in {"POST", "PUT"}}


@pytest.mark.parametrize(("method", "path"), TABLE)
def test_callers(client, services, known, make_silence, method, path):  # noqa: PLR0917
    url = path.format(**known, project_id="p1", meter="cpu_util")
    body = BODIES.get((method, path))
    for name, expected in zip(ORDER, TABLE[method, path], strict=True):
        where = url
        if method == "DELETE" and path == "/v2/alarms/{alarm_id}" and expected == 204:
            made = client.simulate_post("/v2/alarms", json=ALARM, headers=CALLERS["member"])
            where = f"/v2/alarms/{made.json['alarm_id']}"
        if (method, path) == ("DELETE", "/v2/silences/{silence_id}") and expected == 204:
            where = f"/v2/silences/{make_silence()}"
        services.deliveries.retry(
            Chosen(ids=[known["notification_id"]]), 1
        )  # it may have been dropped
        answer = client.simulate_request(method, where, json=body, headers=CALLERS[name])
        assert answer.status_code == expected, (name, answer.text)
        if expected >= 400:
            fault(answer)


def test_nobody_gets_past_the_token_check(app, tmp_path):
    """Without a token only the public pages answer, whatever a request says of itself."""
    conf = cfg.ConfigOpts()
    path = tmp_path / "thermostat.conf"
    path.write_text("[keystone_authtoken]\nwww_authenticate_uri = http://127.0.0.1:9/v3\n")
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    whole = auth.protect(app, conf)
    client = TestClient(lambda environ, start_response: whole(environ, start_response))  # noqa: PLW0108
    for (method, path), expected in TABLE.items():
        ids = {"alarm_id": "a", "notification_id": "n", "silence_id": "s"}
        url = path.format(**ids, project_id="p1", meter="m")
        answer = client.simulate_request(method, url, headers=CALLERS["admin"])
        assert answer.status_code == (200 if expected == PUBLIC else 401), (method, path)


class TestPolicies:
    def test_every_operation_has_a_rule_and_every_rule_an_operation(self, app):
        ruled = {
            (operation["method"], operation["path"])
            for rule in policies.list_rules()
            for operation in getattr(rule, "operations", ())
        }
        public = {operation for operation, expected in TABLE.items() if expected == PUBLIC}
        assert ruled == set(operations(app)) - public

    def test_every_named_rule_is_registered(self):
        names = {
            value
            for name, value in inspect.getmembers(policies)
            if name.isupper() and isinstance(value, str) and value.startswith("telemetry:")
        }
        registered = {rule.name for rule in policies.list_rules()}
        assert names == {name for name in registered if name.startswith("telemetry:")}

    def test_every_rule_says_what_it_is_for(self):
        for rule in policies.list_rules():
            if rule.name.startswith("telemetry:"):
                assert rule.description
                assert rule.scope_types == ["project"]


def enforcer_with(tmp_path, text="", rules=None, clock=None):
    (tmp_path / "policy.yaml").write_text(text)
    path = tmp_path / "thermostat.conf"
    path.write_text(f"[oslo_policy]\npolicy_file = {tmp_path}/policy.yaml\n")
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    enforcer = QuickEnforcer(conf, **({"clock": clock} if clock else {}))
    enforcer.register_defaults(rules or policies.list_rules())
    return enforcer


class TestOperatorsPolicy:
    """A policy file changes the table; see also TestEnforcer."""

    def client(self, services, enforcer):
        from dataclasses import replace

        from prometheus_client import CollectorRegistry

        app = create_api(replace(services, enforcer=enforcer, registry=CollectorRegistry()))
        return TestClient(app)

    def test_one_made_for_aodh_works(self, services, tmp_path):
        """The rules that Aodh's own defaults refer to are there."""
        enforcer = enforcer_with(
            tmp_path,
            '"telemetry:get_alarms": "rule:admin_or_owner"\n'
            '"telemetry:create_alarm": "rule:project_member_or_admin"\n'
            '"telemetry:change_alarm": "rule:context_is_admin"\n',
        )
        client = self.client(services, enforcer)
        assert client.simulate_get("/v2/alarms", headers=CALLERS["stranger"]).status_code == 200
        made = client.simulate_post("/v2/alarms", json=ALARM, headers=CALLERS["member"])
        url = f"/v2/alarms/{made.json['alarm_id']}"
        for name, status in (("member", 403), ("foreigner", 404), ("admin", 200)):
            answer = client.simulate_put(url, json=ALARM, headers=CALLERS[name])
            assert answer.status_code == status

    def test_the_one_in_the_docs(self, services, tmp_path):
        text = (ROOT / "docs" / "rights.md").read_text()
        (example,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
        client = self.client(services, enforcer_with(tmp_path, example))
        every = {"q.field": "all_projects", "q.value": "true"}
        for role, listed, created in (
            ("auditor", 200, 403),
            ("operator", 403, 201),
            ("member", 403, 403),
            ("admin", 200, 201),
        ):
            headers = {"X-User-Id": "x", "X-Project-Id": "p1", "X-Roles": role}
            answer = client.simulate_get("/v2/alarms", params=every, headers=headers)
            assert answer.status_code == listed, role
            answer = client.simulate_post("/v2/alarms", json=ALARM, headers=headers)
            assert answer.status_code == created, role

    def test_who_may_read_everything_may_not_write_in_others_names(self, services, tmp_path):
        enforcer = enforcer_with(tmp_path, '"telemetry:get_alarms:all_projects": "role:auditor"\n')
        client = self.client(services, enforcer)
        auditor = {"X-User-Id": "x", "X-Project-Id": "p9", "X-Roles": "auditor,member,reader"}
        every = {"q.field": "all_projects", "q.value": "true"}
        assert client.simulate_get("/v2/alarms", params=every, headers=auditor).status_code == 200
        foreign = {**ALARM, "project_id": "p1"}
        answer = client.simulate_post("/v2/alarms", json=foreign, headers=auditor)
        assert (answer.status_code, "project p1" in fault(answer)) == (401, True)

    @pytest.mark.parametrize("name", ["domain", "system"])
    def test_tokens_without_a_project_own_nothing_even_where_they_are_let_in(
        self, services, tmp_path, name
    ):
        """Else all of them together would own what is of the project None."""
        without_scopes = [
            RuleDefault(rule.name, rule.check_str) for rule in policies.list_rules()
        ]  # as with oslo.policy before 6 and enforce_scope = false
        client = self.client(services, enforcer_with(tmp_path, rules=without_scopes))
        headers = CALLERS[name]
        assert client.simulate_get("/v2/alarms", headers=headers).json == []
        for path in ("/v2/alarms", "/v2/alarms/preview"):
            answer = client.simulate_post(path, json=ALARM, headers=headers)
            assert (answer.status_code, "project" in fault(answer)) == (403, True)
        for path in ("/v2/query/alarms", "/v2/query/alarms/history"):
            found = client.simulate_post(path, json={}, headers=headers)
            assert found.status_code == 200
        statistics = "/v2/meters/cpu_util/statistics"
        assert client.simulate_get(statistics, headers=headers).status_code == 403
        every = {"q.field": "all_projects", "q.value": "true"}
        assert client.simulate_get(statistics, params=every, headers=headers).status_code == 200


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


TARGET = {"project_id": "p1", "user_id": "m"}


class TestEnforcer:
    def caller(self, name):
        from oslo_context.context import RequestContext

        headers = {f"HTTP_{k.upper().replace('-', '_')}": v for k, v in CALLERS[name].items()}
        return RequestContext.from_environ(headers)

    def test_a_changed_file_counts_a_second_later(self, tmp_path):
        clock = Clock()
        enforcer = enforcer_with(tmp_path, clock=clock)
        member = self.caller("member")
        assert enforcer.decide(policies.CREATE_ALARM, TARGET, member)
        (tmp_path / "policy.yaml").write_text('"telemetry:create_alarm": "role:nobody"\n')
        clock.now = 1.0
        assert not enforcer.decide(policies.CREATE_ALARM, TARGET, member)
        with pytest.raises(Exception, match="disallowed by policy"):
            enforcer.require(policies.CREATE_ALARM, TARGET, member)

    def test_an_answer_is_one_caller_s_target_s_and_rule_s(self, tmp_path):
        enforcer = enforcer_with(
            tmp_path,
            '"telemetry:create_alarm": "user_id:%(user_id)s and project_id:%(project_id)s and '
            'role:member"\n',
        )

        def decide(name, rule=policies.CREATE_ALARM, **target):
            return enforcer.decide(rule, {**TARGET, **target}, self.caller(name))

        for _ in range(2):
            assert decide("member")
            assert not decide("reader")
            assert not decide("foreigner")
            assert not decide("member", user_id="other")
            assert not decide("member", project_id="p2")
            assert not decide("member", policies.GET_ALL_ALARMS)

    def test_memory_is_bounded(self, tmp_path, monkeypatch):
        monkeypatch.setattr("thermostat.api.enforcing.MOST_REMEMBERED", 10)
        enforcer = enforcer_with(tmp_path, clock=Clock())
        for number in range(100):
            target = {"project_id": f"p{number}"}
            enforcer.decide(policies.GET_ALARM, target, self.caller("member"))
        assert len(enforcer._answers) <= 10
