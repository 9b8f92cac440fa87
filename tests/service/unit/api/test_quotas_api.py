# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
from prometheus_client import CollectorRegistry

from tests.service.alarm_requests import ADMIN, HOOK, fault, with_
from tests.service.unit.api.conftest import Api
from thermostat.api.app import create_api
from thermostat.db.alarms import AlarmRepository
from thermostat.db.quotas import Limits


@pytest.fixture
def limited(services, engine):
    """An API whose configuration limits users and projects."""
    alarms = AlarmRepository(engine, Limits(project=3, user=2))
    return made_with(services, alarms=alarms)


def made_with(services, **changes):
    return Api(create_api(dataclasses.replace(services, registry=CollectorRegistry(), **changes)))


def quota(project_id, limit):
    return {"project_id": project_id, "quotas": [{"resource": "alarms", "limit": limit}]}


def create(api, **options):
    return api("POST", "/v2/alarms", with_(), **options)


class TestReading:
    def test_own_by_default(self, api):
        answer = api("GET", "/v2/quotas", roles="reader")
        assert (answer.status_code, answer.json) == (200, quota("p1", -1))
        assert api("GET", "/v2/quotas", query_string="project_id=p1").json == quota("p1", -1)
        assert api("GET", "/v2/quotas", query_string="project_id=").json == quota("p1", -1)
        assert api("GET", "/v2/quotas/p1").json == quota("p1", -1)

    def test_configured_limit_is_shown_and_does_not_stick(self, limited, api):
        assert limited("GET", "/v2/quotas").json == quota("p1", 3)
        assert api("GET", "/v2/quotas").json == quota("p1", -1)

    def test_of_others_is_for_administrators(self, api):
        for path, query in (("/v2/quotas", "project_id=p2"), ("/v2/quotas/p2", "")):
            answer = api("GET", path, query_string=query)
            assert answer.status_code == 403
            assert "telemetry:get_quotas" in fault(answer)
            assert api("GET", path, query_string=query, **ADMIN).json == quota("p2", -1)

    def test_without_a_project(self, api):
        answer = api("GET", "/v2/quotas", project=None)
        assert answer.status_code == 403
        assert "project" in fault(answer)


class TestSetting:
    def test_set_and_forget(self, limited):
        answer = limited("POST", "/v2/quotas", quota("p1", 30), **ADMIN)
        assert (answer.status_code, answer.json) == (201, quota("p1", 30))
        assert limited("GET", "/v2/quotas").json == quota("p1", 30)
        assert limited("POST", "/v2/quotas", quota("p1", -1), **ADMIN).json == quota("p1", -1)
        answer = limited("DELETE", "/v2/quotas/p1", **ADMIN)
        assert (answer.status_code, answer.text) == (204, "")
        assert limited("GET", "/v2/quotas").json == quota("p1", 3)
        assert limited("DELETE", "/v2/quotas/unheard-of", **ADMIN).status_code == 204

    def test_without_quotas_nothing_changes(self, api):
        api("POST", "/v2/quotas", quota("p1", 5), **ADMIN)
        answer = api("POST", "/v2/quotas", {"project_id": "p1"}, **ADMIN)
        assert (answer.status_code, answer.json) == (201, quota("p1", 5))

    @pytest.mark.parametrize("roles", ["reader", "member,reader"])
    def test_is_for_administrators(self, api, roles):
        assert api("POST", "/v2/quotas", quota("p1", 30), roles=roles).status_code == 403
        assert api("DELETE", "/v2/quotas/p1", roles=roles).status_code == 403
        assert api("GET", "/v2/quotas").json == quota("p1", -1)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({}, "project_id: Mandatory field missing."),
            ({"project_id": 3}, "project_id"),
            ({"project_id": ""}, "project_id"),
            ({"project_id": "\0"}, "project_id"),
            ({"project_id": "p1", "quotas": [{"resource": "alarms"}]}, "quotas[0].limit"),
            ({"project_id": "p1", "quotas": [{"limit": 1}]}, "quotas[0].resource"),
            (quota("p1", -5), "quotas[0].limit"),
            (quota("p1", 2**31), "quotas[0].limit"),
            (quota("p1", "many"), "quotas[0].limit"),
            (quota("p1", 1) | {"colour": 1}, "colour"),
            ({"project_id": "p1", "quotas": [{"resource": "x", "limit": 1}]}, "quotas[0].resource"),
            ({"project_id": "p1", "quotas": "alarms"}, "quotas"),
            ([], "object"),
        ],
    )
    def test_bad_body_names_the_field(self, api, body, words):
        answer = api("POST", "/v2/quotas", body, **ADMIN)
        assert answer.status_code == 400
        assert words in fault(answer)


class TestLimits:
    def test_of_a_project(self, api):
        api("POST", "/v2/quotas", quota("p1", 1), **ADMIN)
        assert create(api).status_code == 201
        answer = create(api)
        assert answer.status_code == 403
        assert fault(answer).startswith("Alarm quota exceeded for user alice on project p1")
        assert len(api("GET", "/v2/alarms").json) == 1
        assert create(api, project="p2").status_code == 201

    def test_of_a_user_over_all_projects(self, limited):
        assert create(limited).status_code == 201
        assert create(limited, project="p2").status_code == 201
        answer = create(limited, project="p3")
        assert answer.status_code == 403
        assert "the user may have 2" in fault(answer)
        assert create(limited, user="bob").status_code == 201

    def test_a_deleted_alarm_makes_room(self, api):
        api("POST", "/v2/quotas", quota("p1", 1), **ADMIN)
        alarm_id = create(api).json["alarm_id"]
        api("DELETE", f"/v2/alarms/{alarm_id}")
        assert create(api).status_code == 201

    def test_of_the_project_that_an_alarm_moves_to(self, api):
        api("POST", "/v2/quotas", quota("p2", 0), **ADMIN)
        alarm = create(api).json
        path = f"/v2/alarms/{alarm['alarm_id']}"
        answer = api("PUT", path, alarm | {"project_id": "p2"}, **ADMIN)
        assert answer.status_code == 403
        assert "on project p2" in fault(answer)
        assert api("GET", path).json == alarm

    def test_a_trust_made_for_an_alarm_over_quota_is_taken_back(self, api, services):
        api("POST", "/v2/quotas", quota("p1", 0), **ADMIN)
        trusted = with_(alarm_actions=["trust+https://heat.example/v1/signal"])
        assert api("POST", "/v2/alarms", trusted).status_code == 403
        assert services.trusts.made == 1
        assert services.trusts.alive == {}

    def test_of_actions(self, services):
        api = made_with(services, max_actions=2)
        three = [f"{HOOK}{number}" for number in range(3)]
        answer = api("POST", "/v2/alarms", with_(ok_actions=three))
        assert answer.status_code == 400
        assert "ok_actions count exceeds maximum value 2" in fault(answer)
        twice = [HOOK, three[0], HOOK]
        answer = api("POST", "/v2/alarms", with_(ok_actions=twice))
        assert (answer.status_code, answer.json["ok_actions"]) == (201, twice[:2])
