# SPDX-License-Identifier: Apache-2.0
import json
import time

import pytest

from tests.service.alarm_requests import ADMIN, HOOK, fault, with_, with_rule

ALARMS = "/v2/query/alarms"
HISTORY = "/v2/query/alarms/history"


def ask(api, path=ALARMS, wanted=None, orderby=None, limit=None, **identity):
    body = {"filter": wanted, "orderby": orderby}
    body = {name: json.dumps(value) for name, value in body.items() if value is not None}
    if limit is not None:
        body["limit"] = limit
    return api("POST", path, body, **identity)


def names(api, wanted=None, **options):
    answer = ask(api, ALARMS, wanted, **options)
    assert answer.status_code == 200, answer.text
    return [alarm["name"] for alarm in answer.json]


@pytest.fixture
def four(api):
    def make(project="p1", **changes):
        answer = api("POST", "/v2/alarms", with_(**changes), project=project, user=f"u-{project}")
        return answer.json

    return [
        make(name="a", description="first"),
        make(name="b", enabled=False, severity="critical"),
        make(name="C", repeat_actions=True, state="ok", severity="moderate"),
        make(name="d", project="p2"),
    ]


@pytest.mark.usefixtures("four")
class TestAlarms:
    def test_answers_are_as_in_the_list(self, api):
        assert ask(api).json == api("GET", "/v2/alarms").json

    def test_filters(self, api):
        for wanted, found in [
            ({"=": {"name": "a"}}, ["a"]),
            ({"!=": {"name": "a"}}, ["C", "b"]),
            ({"<": {"name": "a"}}, ["C"]),
            ({">=": {"name": "a"}}, ["b", "a"]),
            ({"=>": {"name": "a"}}, ["b", "a"]),
            ({"=<": {"name": "a"}}, ["C", "a"]),
            ({"=": {"enabled": False}}, ["b"]),
            ({"=": {"enabled": "false"}}, ["b"]),
            ({">": {"enabled": 0}}, ["C", "a"]),
            ({"in": {"name": ["a", "C", "z"]}}, ["C", "a"]),
            ({"IN": {"repeat_actions": ["true"]}}, ["C"]),
            ({"=~": {"name": "^[a-z]$"}}, ["b", "a"]),
            ({"=~": {"name": "(?i)c"}}, ["C"]),
            ({"=~": {"rule": '"meter_name":"cpu_'}}, ["C", "b", "a"]),
            ({"not": {"=~": {"description": "alarm"}}}, ["a"]),
            ({"and": [{"=": {"severity": "low"}}, {"=": {"state": "insufficient data"}}]}, ["a"]),
            ({"AND": [{"=": {"type": "threshold"}}, {"Not": {"=": {"name": "a"}}}]}, ["C", "b"]),
            ({"or": [{"=": {"name": "a"}}, {"=~": {"name": "b"}}]}, ["b", "a"]),
            ({"=": {"project": "p1"}}, ["C", "b", "a"]),
            ({"=": {"user": "nobody"}}, []),
            ({">": {"timestamp": "2020-01-01T00:00:00"}}, ["C", "b", "a"]),
            ({"<": {"state_timestamp": "2020-01-01T00:00:00+02:00"}}, []),
            ({"in": {"timestamp": ["2020-01-01"]}}, []),
            ({"=": {"evaluate_timestamp": "2020-01-01"}}, []),
            ({"not": {"=": {"evaluate_timestamp": "2020-01-01"}}}, []),  # neither: it is missing
            ({"=": {"name": 5}}, []),
        ]:
            assert names(api, wanted) == found, wanted

    def test_order_and_limit(self, api):
        for orderby, found in [
            ([{"name": "asc"}], ["C", "a", "b"]),
            ([{"name": "DESC"}], ["b", "a", "C"]),
            ([{"severity": "asc"}], ["a", "C", "b"]),
            ([{"enabled": "Asc"}, {"name": "desc"}], ["b", "a", "C"]),
            ([{"user": "asc"}, {"timestamp": "asc"}], ["a", "b", "C"]),
            ([{"evaluate_timestamp": "asc"}, {"name": "asc"}], ["C", "a", "b"]),
            ([], ["C", "b", "a"]),
        ]:
            assert sorted(names(api, orderby=orderby)) == sorted(found)
            if orderby:
                assert names(api, orderby=orderby) == found
        assert names(api, orderby=[{"name": "asc"}], limit=2) == ["C", "a"]
        assert names(api, orderby=[{"name": "asc"}], limit="1") == ["C"]
        assert names(api, {"=~": {"name": "."}}, orderby=[{"name": "asc"}], limit=1) == ["C"]
        assert len(names(api, limit=10**30)) == 3

    def test_secrets_are_for_whoever_may_change_the_alarm(self, api):
        api("POST", "/v2/alarms", with_(name="e", alarm_actions=[HOOK]))
        wanted = {"=": {"name": "e"}}
        assert ask(api, ALARMS, wanted).json[0]["alarm_actions"] == [HOOK]
        for other in ({"roles": "reader"}, ADMIN):
            assert "s3cret" not in ask(api, ALARMS, wanted, **other).text

    def test_null_is_as_nothing(self, api):
        answer = api("POST", ALARMS, {"filter": None, "orderby": None, "limit": None})
        assert len(answer.json) == 3

    def test_administrators_see_every_project(self, api):
        assert names(api, **ADMIN) == ["d", "C", "b", "a"]
        assert names(api, {"=": {"project_id": "p2"}}, **ADMIN) == ["d"]

    @pytest.mark.parametrize("field", ["project_id", "project"])
    @pytest.mark.parametrize(
        "place",
        [
            lambda leaf: leaf,
            lambda leaf: {"not": leaf},
            lambda leaf: {"or": [{"=": {"name": "a"}}, leaf]},
            lambda leaf: {"and": [{"=": {"name": "a"}}, {"not": {"not": leaf}}]},
        ],
    )
    def test_others_may_not_name_another_project(self, api, field, place):
        for leaf in (
            {"=": {field: "p2"}},
            {"!=": {field: "p2"}},
            {"in": {field: ["p1", "p2"]}},
            {"=~": {field: "p2"}},
        ):
            answer = ask(api, ALARMS, place(leaf))
            assert answer.status_code == 401
            assert "Not Authorized to access project p2" in fault(answer)

    def test_no_filter_leads_out_of_the_project(self, api):
        everything = {"=~": {"name": ""}}
        nothing = {"!=": {"project_id": "p1"}}
        for wanted in (
            everything,
            {"not": {"=": {"alarm_id": "x"}}},
            {"or": [everything, {"not": nothing}]},
            {"or": [{"=": {"project_id": "p1"}}, {"!=": {"project": "p1"}}]},
        ):
            assert names(api, wanted) == ["C", "b", "a"]
        assert names(api, nothing) == []
        assert names(api, project="p3") == []
        assert ask(api, project=None).status_code == 403

    def test_a_reader_may_and_a_stranger_may_not(self, api):
        assert len(names(api, roles="reader")) == 3
        for path in (ALARMS, HISTORY):
            assert ask(api, path, roles="stranger").status_code == 403


class TestHistory:
    def kinds(self, api, wanted=None, **options):
        answer = ask(api, HISTORY, wanted, **options)
        assert answer.status_code == 200, answer.text
        return [(event["type"], event["on_behalf_of"]) for event in answer.json]

    def test_of_all_alarms_newest_first(self, api, four):
        api("PUT", f"/v2/alarms/{four[0]['alarm_id']}/state", "ok")
        assert self.kinds(api) == [("state transition", "p1")] + [("creation", "p1")] * 3
        assert self.kinds(api, {"=": {"type": "state transition"}}, limit=1) == [
            ("state transition", "p1")
        ]
        assert self.kinds(api, {"=~": {"detail": '"state":"ok"'}}, orderby=[{"type": "desc"}]) == [
            ("state transition", "p1"),
            ("creation", "p1"),
        ]
        assert self.kinds(api, {"=": {"alarm_id": four[1]["alarm_id"]}}) == [("creation", "p1")]

    def test_of_alarms_that_are_gone(self, api, four):
        path = f"/v2/alarms/{four[0]['alarm_id']}"
        api("DELETE", path)
        assert api("GET", f"{path}/history").status_code == 404
        wanted = {"=": {"alarm_id": four[0]["alarm_id"]}}
        assert self.kinds(api, wanted) == [("deletion", "p1"), ("creation", "p1")]

    @pytest.mark.usefixtures("four")
    def test_is_scoped_to_the_project(self, api):
        assert self.kinds(api, **ADMIN)[0] == ("creation", "p2")
        assert self.kinds(api, project="p2") == [("creation", "p2")]
        assert ask(api, HISTORY, {"=": {"on_behalf_of": "p2"}}).status_code == 401
        # who did it may be anybody
        assert self.kinds(api, {"=": {"project_id": "p2"}}) == []

    def test_what_happened_under_an_earlier_owner_is_the_earlier_owners(self, api, four):
        url = f"/v2/alarms/{four[0]['alarm_id']}"
        api("PUT", url, four[0] | {"project_id": "p2", "user_id": "u-p2"}, **ADMIN)
        assert ("creation", "p1") not in self.kinds(api, project="p2")
        own = [event["type"] for event in api("GET", f"{url}/history", project="p2").json]
        assert own == ["rule change"]
        every = [event["type"] for event in api("GET", f"{url}/history", **ADMIN).json]
        assert every == ["rule change", "creation"]


NESTED = json.dumps({"not": {"=": {"name": "a"}}})
for _ in range(20):
    NESTED = f'{{"not": {NESTED}}}'
WIDE = json.dumps({"or": [{"=": {"name": "a"}}] * 101})
LONG = json.dumps({"in": {"name": ["x"] * 1001}})


class TestBadSearches:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "valid JSON"),
            ("", "valid JSON"),
            ('"\\ud83d"', "valid JSON"),
            ("null", "one member"),
            ("[]", "one member"),
            ("{}", "one member"),
            ('{"=": {"name": "a"}, "!=": {"name": "b"}}', "one member"),
            ('{"==": {"name": "a"}}', "filter.==: the operator is not one of"),
            ('{"=": "a"}', "filter.=: must be an object"),
            ('{"=": {}}', "filter.=: must be an object"),
            ('{"=": {"name": "a", "type": "b"}}', "filter.=: must be an object"),
            ('{"=": {"colour": "a"}}', "filter.=.colour: the field is not one of"),
            ('{"=": {"trust_id": "a"}}', "filter.=.trust_id: the field is not one of"),
            ('{"=": {"Name": "a"}}', "filter.=.Name"),
            ('{"=~": {"alarm_actions": "Signature=s"}}', "filter.=~.alarm_actions: the field is"),
            ('{"=": {"name": null}}', "filter.=.name: must be text, a number"),
            ('{"=": {"name": ["a"]}}', "filter.=.name: must be text, a number"),
            ('{"=": {"name": true}}', "filter.=.name: must be text"),
            ('{"=": {"name": "\\u0000"}}', "filter.=.name: must be text"),
            ('{"=": {"enabled": "perhaps"}}', "filter.=.enabled: must be true or false"),
            ('{"=": {"enabled": 2}}', "filter.=.enabled: must be true or false"),
            ('{"=": {"timestamp": "noon"}}', "filter.=.timestamp: must be an ISO 8601 instant"),
            ('{"=": {"timestamp": 5}}', "filter.=.timestamp: must be an ISO 8601 instant"),
            ('{"in": {"name": []}}', "filter.in.name: must be a list of one or more"),
            ('{"in": {"name": "a"}}', "filter.in.name: must be a list of one or more"),
            ('{"in": {"name": ["a", {}]}}', "filter.in.name[1]"),
            ('{"and": [{"=": {"name": "a"}}]}', "filter.and: must be a list of two or more"),
            ('{"or": {"=": {"name": "a"}}}', "filter.or: must be a list of two or more"),
            ('{"or": [{"=": {"name": "a"}}, {"not": 5}]}', "filter.or[1].not: must be an object"),
            ('{"not": [{"=": {"name": "a"}}]}', "filter.not: must be an object"),
            ('{"=~": {"name": "("}}', "filter.=~.name: is not a regular expression"),
            ('{"=~": {"name": "(a)\\\\1"}}', "filter.=~.name: is not a regular expression"),
            ('{"=~": {"name": "(?=a)"}}', "filter.=~.name: is not a regular expression"),
            ('{"=~": {"name": "((a{99}){99}){99}"}}', "filter.=~.name: is not a regular"),
            ('{"=~": {"name": 5}}', "filter.=~.name: must be a regular expression"),
            (json.dumps({"=~": {"name": "a" * 1001}}), "filter.=~.name: is longer than 1000"),
            ('{"=~": {"enabled": "t"}}', "filter.=~.enabled: only text"),
            ('{"=~": {"timestamp": "20"}}', "filter.=~.timestamp: only text"),
            (NESTED, "nested more than 20 deep"),
            ('{"not":' * 20_000, "valid JSON"),
            (WIDE, "more than 100 comparisons"),
            (LONG, "filter.in.name: there are more than 1000 values"),
        ],
    )
    def test_filter(self, api, text, words):
        answer = api("POST", ALARMS, {"filter": text})
        assert answer.status_code == 400
        assert fault(answer).startswith("Filter expression not valid: filter")
        assert words in fault(answer)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{}", "orderby: must be a list"),
            ("name", "orderby: is not valid JSON"),
            ('["name"]', "orderby[0]: must be an object"),
            ('[{"name": "asc", "type": "asc"}]', "orderby[0]: must be an object"),
            ('[{"name": "asc"}, {"colour": "asc"}]', "orderby[1].colour: the field is not one of"),
            ('[{"name": "up"}]', "orderby[0].name: must be asc or desc"),
            ('[{"name": 1}]', "orderby[0].name: must be asc or desc"),
            (json.dumps([{"name": "asc"}] * 21), "orderby: has more than 20 keys"),
        ],
    )
    def test_order(self, api, text, words):
        answer = api("POST", HISTORY.replace("/history", ""), {"orderby": text})
        assert answer.status_code == 400
        assert fault(answer).startswith("Order-by expression not valid: orderby")
        assert words in fault(answer)

    @pytest.mark.parametrize(
        ("body", "words"),
        [
            ({"limit": 0}, "Limit should be positive"),
            ({"limit": -3}, "Limit should be positive"),
            ({"limit": "many"}, "limit"),
            ({"filter": {"=": {"name": "a"}}}, "filter"),
            ({"orderby": [{"name": "asc"}]}, "orderby"),
            ({"colour": 1}, "colour"),
            ([], "object"),
        ],
    )
    @pytest.mark.parametrize("path", [ALARMS, HISTORY])
    def test_body(self, api, path, body, words):
        answer = api("POST", path, body)
        assert answer.status_code == 400
        assert words in fault(answer)

    def test_methods(self, api):
        for path in (ALARMS, HISTORY):
            assert api("PUT", path, {}).status_code == 405

    def test_no_expression_takes_long(self, api):
        api("POST", "/v2/alarms", with_rule() | {"description": "a" * 9_999 + "!"})
        began = time.perf_counter()
        for pattern in ("^(a+)+$", "(a|a)*b", "(.*a){20}b", "a*" * 100 + "b"):
            assert ask(api, ALARMS, {"=~": {"description": pattern}}).json == []
        assert time.perf_counter() - began < 2
