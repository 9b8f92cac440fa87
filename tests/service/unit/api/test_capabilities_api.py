# SPDX-License-Identifier: Apache-2.0
import dataclasses

import msgspec
import pytest
from falcon.testing import TestClient
from prometheus_client import CollectorRegistry

from tests.service.alarm_requests import ADMIN, fault, with_
from tests.service.alarm_support import make_transition
from tests.service.unit.api.conftest import Api
from thermostat.alarms.model import State
from thermostat.alarms.rules import RULE_TYPES
from thermostat.api.app import create_api
from thermostat.api.capabilities import AODH_FIELDS
from thermostat.api.heads import answering_head
from thermostat.db.alarms import AlarmRepository


class TestCapabilities:
    def test_aodhs_are_there(self, api):
        shown = api("GET", "/v2/capabilities", roles="reader").json
        assert shown["alarm_storage"] == {"storage:production_ready": True}
        for name in ("alarms:query", "alarms:history:query"):
            assert shown["api"][f"{name}:simple"] is shown["api"][f"{name}:complex"] is True

    def test_every_type_and_every_field_beyond_aodh_is_named(self, api):
        names = set(api("GET", "/v2/capabilities").json["api"])
        assert {f"alarms:type:{kind}" for kind in RULE_TYPES} <= names
        for kind, known in AODH_FIELDS.items():
            fields = {field.encode_name for field in msgspec.structs.fields(RULE_TYPES[kind])}
            assert known <= fields
            said = {name.rpartition(":")[2] for name in names if f"{kind}_rule:" in name}
            assert said == fields - known
        assert "alarms:prometheus_rule:for" in names
        assert "alarms:threshold_rule:datapoints_to_alarm" in names


@pytest.fixture
def counting(services, engine):
    """An API that counts evaluation results, and its repository."""
    alarms = AlarmRepository(engine, counts_results=True)
    changed = dataclasses.replace(services, alarms=alarms, registry=CollectorRegistry())
    return Api(create_api(changed)), alarms


class TestMetrics:
    def test_disabled_by_default(self, api):
        answer = api("GET", "/v2/metrics", **ADMIN)
        assert (answer.status_code, fault(answer)) == (403, "metrics endpoint is disabled")

    def test_counts_of_the_project(self, counting):
        api, alarms = counting
        mine, theirs = (
            api("POST", "/v2/alarms", with_(), project=project).json["alarm_id"]
            for project in ("p1", "p2")
        )
        assert api("GET", "/v2/metrics").json == {"evaluation_results": []}
        for alarm_id in (mine, theirs):
            assert alarms.record(make_transition(alarms.find(alarm_id)))
        alarm = alarms.find(mine)
        assert alarms.record(make_transition(alarm))  # repeated
        assert alarms.record(make_transition(alarm, State.OK))
        assert not alarms.record(make_transition(alarm, State.OK))  # of an old revision
        counted = {"ok": 1, "alarm": 2, "insufficient data": 0}
        own = {"alarm_id": mine, "project_id": "p1", "state_counters": counted}
        other = {"ok": 0, "alarm": 1, "insufficient data": 0}
        assert api("GET", "/v2/metrics", roles="reader").json == {"evaluation_results": [own]}
        every = api("GET", "/v2/metrics", query_string="all_projects=true", **ADMIN).json
        assert every["evaluation_results"] == [
            own,
            {"alarm_id": theirs, "project_id": "p2", "state_counters": other},
        ]
        assert api("GET", "/v2/metrics", **ADMIN).json == {"evaluation_results": []}
        api("DELETE", f"/v2/alarms/{mine}")
        assert api("GET", "/v2/metrics").json == {"evaluation_results": []}

    def test_all_projects_are_for_administrators(self, counting):
        api, _ = counting
        answer = api("GET", "/v2/metrics", query_string="all_projects=true")
        assert answer.status_code == 403
        no = api("GET", "/v2/metrics", query_string="all_projects=false")
        assert no.json == {"evaluation_results": []}
        bad = api("GET", "/v2/metrics", query_string="all_projects=perhaps")
        assert bad.status_code == 400
        assert "all_projects" in fault(bad)


class TestParameters:
    @pytest.mark.parametrize(
        "path", ["/v2/alarms", "/v2/alarms/{}/history", "/v2/capabilities", "/v2/metrics"]
    )
    def test_unknown_ones_are_refused(self, api, alarm, path):
        answer = api("GET", path.format(alarm["alarm_id"]), query_string="colour=red")
        assert answer.status_code == 400
        assert fault(answer) == 'Unknown argument: "colour"'

    @pytest.mark.parametrize(
        ("kind", "field", "value", "status"),
        [
            ("string", "name", "busy", 200),
            ("", "name", "busy", 200),
            ("boolean", "enabled", "True", 200),
            ("datetime", "timestamp", "2020-01-01T00:00:00", 200),
            ("integer", "name", "busy", 400),
            ("boolean", "name", "busy", 400),
            ("datetime", "name", "busy", 400),
            ("float", "name", "busy", 400),
            ("colour", "name", "busy", 400),
        ],
    )
    def test_types_of_values(self, api, kind, field, value, status):
        query = f"q.field={field}&q.op=eq&q.type={kind}&q.value={value}"
        answer = api("GET", "/v2/alarms", query_string=query)
        assert answer.status_code == status, answer.text
        if status == 400:
            assert kind in fault(answer)


class TestPaths:
    def test_head_is_get_without_the_body(self, services):
        client = TestClient(answering_head(create_api(services)))
        headers = {"X-User-Id": "u", "X-Roles": "reader", "X-Project-Id": "p1"}
        for path in ("/v2/alarms", "/v2/quotas", "/"):
            got = client.simulate_get(path, headers=headers)
            head = client.simulate_head(path, headers=headers)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["content-length"] == str(len(got.content))
        assert client.simulate_head("/v2/query/alarms", headers=headers).status_code == 405
        assert client.simulate_head("/v2/alarms/none", headers=headers).status_code == 404

    def test_a_slash_at_the_end_changes_nothing(self, api, alarm):
        for path in ("/v2/alarms", f"/v2/alarms/{alarm['alarm_id']}", "/v2/capabilities", "/v2"):
            assert api("GET", f"{path}/").json == api("GET", path).json

    def test_version(self, api):
        (listed,) = api("GET", "/").json["versions"]["values"]
        assert api("GET", "/v2").json == {"version": listed}

    def test_other_methods_are_405(self, api, alarm):
        for method, path in (
            ("DELETE", "/v2/alarms"),
            ("POST", f"/v2/alarms/{alarm['alarm_id']}"),
            ("POST", f"/v2/alarms/{alarm['alarm_id']}/state"),
            ("PUT", "/v2/quotas"),
            ("POST", "/v2/quotas/p1"),
            ("GET", "/v2/query/alarms"),
            ("POST", "/v2/capabilities"),
        ):
            answer = api(method, path, {})
            assert answer.status_code == 405, (method, path)
            fault(answer)
