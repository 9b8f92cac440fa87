# SPDX-License-Identifier: Apache-2.0
"""Attempts to learn of another project's things: each gets the answer for what is not there."""

import json
import time
import uuid

import pytest

from tests.service.alarm_requests import ADMIN, ALARM, RULE, fault, with_, with_rule
from tests.service.alarm_support import make_transition

ALICE = {"user": "alice", "project": "p1"}
EVE = {"user": "eve", "project": "p2"}
NOT_THERE = "00000000-0000-4000-8000-000000000000"
LEAF = {"type": "threshold", **RULE}


def composite(alarm_id, **more):
    parts = [LEAF, {"type": "alarm", "alarm_id": alarm_id}]
    return {"name": "c", "type": "composite", "composite_rule": {"or": parts, **more}}


REFERENCES = {
    "composite": composite,
    "negated": lambda alarm_id: {
        "name": "c",
        "type": "composite",
        "composite_rule": {"not": {"type": "alarm", "alarm_id": alarm_id}},
    },
    "suppressor": lambda alarm_id: {
        "name": "c",
        "type": "composite",
        "composite_rule": {"or": [LEAF, LEAF], "suppressor": alarm_id},
    },
    "combination": lambda alarm_id: {
        "name": "c",
        "type": "combination",
        "combination_rule": {"alarm_ids": [alarm_id, str(uuid.UUID(int=7))]},
    },
}


@pytest.fixture
def target(api):
    """An alarm of alice's project."""
    answer = api("POST", "/v2/alarms", with_(name="s3cret-name"), **ALICE)
    assert answer.status_code == 201
    return answer.json["alarm_id"]


def same(target, ask, **who):
    """Ask for what is alice's and for what is not there; give the status that both have."""
    foreign, missing = (ask(alarm_id, **{**EVE, **who}) for alarm_id in (target, NOT_THERE))
    assert foreign.status_code == missing.status_code
    assert foreign.text.replace(target, "ID") == missing.text.replace(NOT_THERE, "ID")
    assert "s3cret-name" not in foreign.text
    changing = {"x-openstack-request-id", "content-length"}
    headers = [
        {k: v.replace(target, "ID").replace(NOT_THERE, "ID") for k, v in one.headers.items()}
        for one in (foreign, missing)
    ]
    assert {k: v for k, v in headers[0].items() if k not in changing} == {
        k: v for k, v in headers[1].items() if k not in changing
    }
    return foreign.status_code


class TestById:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("GET", "", None),
            ("HEAD", "", None),
            ("PUT", "", ALARM),
            ("PUT", "", {"name": None}),
            ("PUT", "", "nonsense"),
            ("PATCH", "", ALARM),
            ("DELETE", "", None),
            ("OPTIONS", "", None),
            ("GET", "/state", None),
            ("PUT", "/state", "alarm"),
            ("PUT", "/state", "nonsense"),
            ("GET", "/history", None),
            ("GET", "/history?limit=-1", None),
        ],
    )
    def test_it_is_not_there(self, api, target, method, path, body):
        def ask(alarm_id, **who):
            url, _, query = path.partition("?")
            return api(method, f"/v2/alarms/{alarm_id}{url}", body, query_string=query, **who)

        same(target, ask)
        assert api("GET", f"/v2/alarms/{target}", **ALICE).json["state"] == "insufficient data"

    @pytest.mark.parametrize("roles", ["", "reader", "member,reader", "service"])
    def test_whatever_the_role(self, api, target, roles):
        def ask(alarm_id, **who):
            return api("DELETE", f"/v2/alarms/{alarm_id}", **who)

        assert same(target, ask, roles=roles) == 404


class TestByReference:
    @pytest.mark.parametrize("form", REFERENCES)
    @pytest.mark.parametrize("path", ["/v2/alarms", "/v2/alarms/preview"])
    def test_in_a_new_alarm(self, api, target, form, path):
        def ask(alarm_id, **who):
            return api("POST", path, REFERENCES[form](alarm_id), **who)

        assert same(target, ask) == 400

    @pytest.mark.parametrize("form", REFERENCES)
    def test_in_a_changed_one(self, api, target, form):
        own = api("POST", "/v2/alarms", ALARM, **EVE).json["alarm_id"]

        def ask(alarm_id, **who):
            return api("PUT", f"/v2/alarms/{own}", REFERENCES[form](alarm_id), **who)

        assert same(target, ask) == 400

    def test_not_even_an_administrator_mixes_projects(self, api, target):
        """An alarm's state would tell the other project's members of it."""

        def ask(alarm_id, **_who):
            return api("POST", "/v2/alarms", composite(alarm_id), **ADMIN)

        assert same(target, ask) == 400

    def test_nor_by_giving_the_alarm_away_afterwards(self, api, target):
        made = api("POST", "/v2/alarms", composite(target), **ALICE).json
        given = {**made, "project_id": "p2"}
        url = f"/v2/alarms/{made['alarm_id']}"
        assert api("PUT", url, given, **ALICE).json["project_id"] == "p1"
        answer = api("PUT", url, given, **ADMIN)
        assert (answer.status_code, "no alarm" in fault(answer)) == (400, True)

    def test_a_cycle_s_error_names_own_alarms_only(self, api, target):
        first = api("POST", "/v2/alarms", with_(name="first"), **EVE).json["alarm_id"]
        second = api("POST", "/v2/alarms", composite(first), **EVE).json["alarm_id"]
        answer = api("PUT", f"/v2/alarms/{first}", composite(second), **EVE)
        assert "cycle" in fault(answer)
        assert target not in answer.text

    def test_an_id_that_a_request_brings_counts_nothing(self, api, target):
        made = api("POST", "/v2/alarms", with_(alarm_id=target), **EVE)
        assert made.status_code == 201
        assert made.json["alarm_id"] != target
        assert api("GET", f"/v2/alarms/{target}", **ALICE).json["name"] == "s3cret-name"


class TestByList:
    def test_by_marker(self, api, target):
        api("POST", "/v2/alarms", ALARM, **EVE)

        def ask(alarm_id, **who):
            return api("GET", "/v2/alarms", params={"marker": alarm_id}, **who)

        assert same(target, ask) == 400

    def test_by_another_alarm_s_event_as_marker(self, api, target):
        (event,) = api("GET", f"/v2/alarms/{target}/history", **ALICE).json
        own = api("POST", "/v2/alarms", ALARM, **EVE).json["alarm_id"]

        def ask(marker, **who):
            marker = event["event_id"] if marker == target else marker
            return api("GET", f"/v2/alarms/{own}/history", params={"marker": marker}, **who)

        foreign = ask(target, **EVE)
        missing = ask(NOT_THERE, **EVE)
        assert foreign.status_code == missing.status_code == 400
        assert fault(foreign).replace(event["event_id"], "ID") == fault(missing).replace(
            NOT_THERE, "ID"
        )

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ({"project_id": "p1"}, 401),
            ({"project_id": "p-none"}, 401),
            ({"all_projects": "true"}, 403),
            ({"all_projects": "yes", "project_id": "p2"}, 403),
            ({"all_projects": "false", "project_id": "p1"}, 401),
            ({"all_projects": "false"}, 200),
            ({"user_id": "alice"}, 200),
            ({"name": "s3cret-name"}, 200),
            ({"project_id": "p2"}, 200),
        ],
    )
    def test_by_filter(self, api, target, query, status):
        params = {"q.field": list(query), "q.value": list(query.values())}
        answer = api("GET", "/v2/alarms", params=params, **EVE)
        assert answer.status_code == status
        assert target not in answer.text
        if status == 200:
            assert answer.json == []

    def test_a_forbidden_project_is_no_different_from_one_that_is_not_there(self, api, target):
        def ask(project_id, **who):
            project_id = "p1" if project_id == target else project_id
            params = {"q.field": "project_id", "q.value": project_id}
            return api("GET", "/v2/alarms", params=params, **who)

        texts = [ask(one, **EVE).text.replace(one, "p1") for one in (target, NOT_THERE)]
        assert texts[0] == texts[1]

    def test_by_a_parameter_given_twice(self, api, target):
        params = {"q.field": ["project_id", "project_id"], "q.value": ["p2", "p1"]}
        answer = api("GET", "/v2/alarms", params=params, **EVE)
        assert answer.status_code == 401
        assert target not in answer.text


class TestBySearch:
    @pytest.mark.parametrize("path", ["/v2/query/alarms", "/v2/query/alarms/history"])
    @pytest.mark.parametrize(
        "wanted",
        [
            {},
            {"=": {"alarm_id": "TARGET"}},
            {"!=": {"alarm_id": NOT_THERE}},
            {"=~": {"alarm_id": ".*"}},
            {"in": {"alarm_id": ["TARGET", NOT_THERE]}},
            {"not": {"=": {"alarm_id": NOT_THERE}}},
            {"or": [{"=": {"alarm_id": "TARGET"}}, {"=": {"alarm_id": NOT_THERE}}]},
            {"=": {"user_id": "alice"}},
            {"=": {"user": "alice"}},
            {">": {"timestamp": "2000-01-01T00:00:00"}},
        ],
    )
    def test_own_things_only_are_found(self, api, target, path, wanted):
        text = json.dumps(wanted).replace("TARGET", target)
        answer = api("POST", path, {"filter": text} if wanted else {}, **EVE)
        assert (answer.status_code, answer.json) == (200, [])
        if wanted != {}:
            theirs = api("POST", path, {"filter": text}, **ALICE).json
            assert [one["alarm_id"] for one in theirs] == [target]

    @pytest.mark.parametrize("path", ["/v2/query/alarms", "/v2/query/alarms/history"])
    @pytest.mark.parametrize("field", ["project_id", "project", "on_behalf_of"])
    @pytest.mark.parametrize("operator", ["=", "!=", ">=", "=~"])
    def test_another_project_may_not_be_named(self, api, target, path, field, operator):
        def ask(project_id, **who):
            wanted = {"or": [{"=": {"severity": "low"}}, {operator: {field: project_id}}]}
            return api("POST", path, {"filter": json.dumps(wanted)}, **who)

        foreign, missing = (ask(one, **EVE) for one in ("p1", "p-none"))
        assert foreign.status_code == missing.status_code
        assert foreign.text.replace("p1", "p-none") == missing.text
        assert target not in foreign.text

    @pytest.mark.usefixtures("target")
    def test_another_s_field_s_order_tells_nothing(self, api):
        body = {"orderby": json.dumps([{"project_id": "asc"}, {"name": "desc"}])}
        assert api("POST", "/v2/query/alarms", body, **EVE).json == []

    @pytest.mark.parametrize("field", ["alarm_actions", "ok_actions", "trust_id", "revision"])
    @pytest.mark.usefixtures("target")
    def test_what_is_not_shown_cannot_be_searched_for(self, api, field):
        for who in (ALICE, {**ALICE, "roles": "reader"}, ADMIN):
            body = {"filter": json.dumps({"=~": {field: ".*Signature=s.*"}})}
            assert api("POST", "/v2/query/alarms", body, **who).status_code == 400


class TestByOwner:
    @pytest.mark.parametrize("field", ["project_id", "user_id"])
    def test_only_administrators_make_alarms_for_others(self, api, field):
        assert api("POST", "/v2/alarms", with_(**{field: "x"}), **EVE).status_code == 401
        made = api("POST", "/v2/alarms", ALARM, **EVE).json
        url = f"/v2/alarms/{made['alarm_id']}"
        assert api("PUT", url, {**made, field: "x"}, **EVE).json[field] == made[field]
        assert api("PUT", url, {**made, field: "x"}, **ADMIN).json[field] == "x"

    def test_an_alarm_that_was_moved_is_gone(self, api, target):
        read = api("GET", f"/v2/alarms/{target}", **ADMIN).json
        api("PUT", f"/v2/alarms/{target}", {**read, "project_id": "p2"}, **ADMIN)
        assert api("GET", f"/v2/alarms/{target}", **EVE).status_code == 200
        for path in ("", "/history", "/state"):
            assert api("GET", f"/v2/alarms/{target}{path}", **ALICE).status_code == 404

    @pytest.mark.parametrize("path", ["/v2/quotas?project_id={}", "/v2/quotas/{}"])
    def test_quotas(self, api, path):
        quota = {"project_id": "p1", "quotas": [{"resource": "alarms", "limit": 17}]}
        assert api("POST", "/v2/quotas", quota, **ADMIN).status_code == 201
        texts = set()
        for project in ("p1", "p-none"):
            url, _, query = path.format(project).partition("?")
            answer = api("GET", url, query_string=query, **EVE)
            assert answer.status_code == 403
            texts.add(answer.text)
        assert len(texts) == 1
        assert "17" not in texts.pop()


class TestByCounts:
    def test_metrics(self, api, services, target):
        services.alarms.counts_results = True
        services.alarms.record(make_transition(services.alarms.find(target)))
        assert target in api("GET", "/v2/metrics", **ALICE).text
        assert target not in api("GET", "/v2/metrics", **EVE).text
        everything = {"params": {"all_projects": "true"}}
        assert api("GET", "/v2/metrics", **everything, **EVE).status_code == 403
        assert target in api("GET", "/v2/metrics", **everything, **ADMIN).text


class TestBySamples:
    @pytest.fixture
    def sent(self, api):
        """A sample of alice's project, just now."""
        sample = {
            "name": "cpu_util", "type": "gauge", "unit": "%", "volume": 99.5, "project_id": "p1",
            "resource_id": "r1", "user_id": "alice", "resource_metadata": {"k": "v"},
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - 300)),
        }  # fmt: skip
        assert api("POST", "/v2/samples", [sample], roles="service").status_code == 201

    @pytest.mark.parametrize(
        ("query", "status"),
        [
            ({}, 200),
            ({"resource_id": "r1"}, 200),
            ({"user_id": "alice"}, 200),
            ({"metadata.k": "v"}, 200),
            ({"all_projects": "false"}, 200),
            ({"project_id": "p1"}, 403),
            ({"project_id": "p-none"}, 403),
            ({"all_projects": "true"}, 403),
            ({"all_projects": "false", "project_id": "p1"}, 403),
        ],
    )
    @pytest.mark.usefixtures("sent")
    def test_statistics(self, api, query, status):
        params = {"q.field": list(query), "q.value": list(query.values()), "groupby": "project_id"}
        answer = api("GET", "/v2/meters/cpu_util/statistics", params=params, **EVE)
        assert answer.status_code == status
        assert "99.5" not in answer.text
        assert api("GET", "/v2/meters/cpu_util/statistics", **ALICE).json[0]["max"] == 99.5

    @pytest.mark.parametrize(
        "condition",
        [{}, {"field": "project_id", "value": "p1"}, {"field": "resource_id", "value": "r1"}],
    )
    @pytest.mark.usefixtures("sent")
    def test_a_rule_s_group_is_of_the_alarm_s_project(self, api, condition):
        wanted = with_rule(query=[condition] if condition else [])
        mine, theirs = (api("POST", "/v2/alarms/preview", wanted, **who) for who in (ALICE, EVE))
        assert mine.json["samples"] == 1
        assert (theirs.json["samples"], theirs.json["series"]) == (0, 0)
        assert "99.5" not in theirs.text
