# SPDX-License-Identifier: Apache-2.0
import dataclasses

import pytest
from prometheus_client import CollectorRegistry

from tests.service.alarm_requests import ADMIN, fault
from tests.service.unit.api.conftest import Api
from thermostat.api.app import create_api
from thermostat.db.silences import SilenceRepository

NOW_S = 1_800_000_000.0  # 2027-01-15T08:00:00
WANTED = {
    "matcher": [{"field": "name", "value": "busy"}],
    "until": "2027-01-15T10:00:00",
    "comment": "switches are replaced",
}


class Clock:
    now_s = NOW_S

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def api(services, engine, clock):
    changed = dataclasses.replace(
        services,
        silences=SilenceRepository(engine, most_per_project=3),
        clock=clock,
        registry=CollectorRegistry(),
    )
    return Api(create_api(changed))


def create(api, *, expected=201, options=None, **changes):
    answer = api("POST", "/v2/silences", {**WANTED, **changes}, **(options or {}))
    assert answer.status_code == expected, answer.text
    return answer.json


def url(silence):
    return f"/v2/silences/{silence['silence_id']}"


class TestCreating:
    def test_says_what_was_made(self, api):
        made = create(api)
        silence_id = made.pop("silence_id")
        assert len(silence_id) == 36
        assert made == {
            "project_id": "p1",
            "all_projects": False,
            "matcher": [{"field": "name", "value": "busy", "op": "eq"}],
            "from": "2027-01-15T08:00:00",
            "until": "2027-01-15T10:00:00",
            "author": "alice",
            "comment": "switches are replaced",
            "created_at": "2027-01-15T08:00:00",
            "updated_at": "2027-01-15T08:00:00",
            "status": "active",
        }
        assert api("GET", f"/v2/silences/{silence_id}").json == {"silence_id": silence_id, **made}

    def test_one_of_later(self, api):
        made = create(api, **{"from": "2027-01-15T11:30:00+02:00"})
        assert (made["from"], made["status"]) == ("2027-01-15T09:30:00", "pending")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"until": "soon"}, "until: 'soon' is not an ISO 8601 instant"),
            ({"until": "2027-01-15T08:00:00"}, "until: must be in the future"),
            ({"until": "2028-02-01T08:00:00"}, "until: must be at most 366 days"),
            ({"until": "9999-12-31T23:59:59"}, "until: must be from 1970 to 9998"),
            ({"until": 5}, "until"),
            ({"from": "2027-01-15T10:00:00"}, "until: must be after from"),
            ({"from": "1969-01-01T00:00:00"}, "from: must be from 1970"),
            ({"comment": ""}, "comment"),
            ({"comment": "x" * 1001}, "comment"),
            ({"comment": "\0"}, "comment"),
            ({"author": "bob"}, "author: Unknown attribute."),
            ({"all_projects": "perhaps"}, "all_projects"),
            ({"matcher": []}, "matcher"),
            ({"matcher": "busy"}, "matcher"),
            ({"matcher": [{"field": "name", "value": "x"}] * 21}, "matcher"),
            ({"matcher": [{"field": "user_id", "value": "x"}]}, "matcher[0].field"),
            ({"matcher": [{"field": "name"}]}, "matcher[0].value: Mandatory field missing."),
            ({"matcher": [{"field": "name", "value": "x", "op": "like"}]}, "matcher[0].op"),
            ({"matcher": [{"field": "severity", "value": "high"}]}, "matcher[0].value: 'high'"),
            ({"matcher": [{"field": "state", "value": "bad"}]}, "matcher[0].value: 'bad'"),
            ({"matcher": [{"field": "type", "value": "t", "op": "ne"}]}, "matcher[0].value: 't'"),
            (
                {"matcher": [{"field": "name", "value": "(", "op": "regex"}]},
                "matcher[0].value: is not a regular expression",
            ),
            (
                {"matcher": [{"field": "name", "value": "(?=x)", "op": "regex"}]},
                "matcher[0].value: is not a regular expression",
            ),
        ],
    )
    def test_bad_input_names_the_field(self, api, changes, words):
        answer = api("POST", "/v2/silences", {**WANTED, **changes})
        assert answer.status_code == 400
        assert words in fault(answer)
        assert api("GET", "/v2/silences").json == []

    @pytest.mark.parametrize("field", WANTED)
    def test_what_must_be_given(self, api, field):
        body = {name: value for name, value in WANTED.items() if name != field}
        answer = api("POST", "/v2/silences", body)
        assert (answer.status_code, field in fault(answer)) == (400, True)

    def test_so_many_and_no_more(self, api):
        for _ in range(3):
            last = create(api)
        answer = api("POST", "/v2/silences", WANTED)
        assert (answer.status_code, "3 silences already" in fault(answer)) == (403, True)
        create(api, options={"project": "p2"})
        api("DELETE", url(last))
        create(api)


class TestReading:
    def test_by_status(self, api, clock):
        early = create(api, until="2027-01-15T08:30:00")
        late = create(api, **{"from": "2027-01-15T09:30:00"})
        now = create(api)
        clock.now_s += 3600
        for status, silence in (("expired", early), ("pending", late), ("active", now)):
            found = api("GET", "/v2/silences", query_string=f"status={status}").json
            assert [one["silence_id"] for one in found] == [silence["silence_id"]]
            assert found[0]["status"] == status
        assert len(api("GET", "/v2/silences", query_string="limit=2").json) == 2

    @pytest.mark.parametrize(
        "query", ["status=odd", "limit=0", "all_projects=perhaps", "colour=red"]
    )
    def test_bad_parameters(self, api, query):
        answer = api("GET", "/v2/silences", query_string=query)
        assert answer.status_code == 400
        assert query.partition("=")[0] in fault(answer)

    def test_another_project_s_are_not_there(self, api):
        made = create(api)
        stranger = {"project": "p2"}
        assert api("GET", "/v2/silences", **stranger).json == []
        unheard = {"silence_id": "unheard-of"}
        for method, body in (("GET", None), ("PUT", WANTED), ("DELETE", None)):
            for silence in (made, unheard):
                answer = api(method, url(silence), body, **stranger)
                assert answer.status_code == 404
                assert fault(answer) == f"Silence {silence['silence_id']} not found"

    def test_administrators_see_all(self, api):
        create(api)
        create(api, options={"project": "p2"})
        every = {"query_string": "all_projects=true"}
        assert len(api("GET", "/v2/silences", **every, **ADMIN).json) == 2
        assert api("GET", "/v2/silences", **ADMIN).json == []
        assert api("GET", "/v2/silences", **every).status_code == 403


class TestChanging:
    def test_extending(self, api, clock):
        made = create(api)
        clock.now_s += 60
        answer = api("PUT", url(made), {**WANTED, "until": "2027-01-15T12:00:00"}, user="bob")
        assert answer.json == {
            **made, "until": "2027-01-15T12:00:00", "updated_at": "2027-01-15T08:01:00",
        }  # fmt: skip

    def test_ending(self, api, clock):
        made = create(api)
        later = create(api, **{"from": "2027-01-15T09:00:00"})
        clock.now_s += 60
        for silence in (made, later):
            assert api("DELETE", url(silence)).status_code == 204
            shown = api("GET", url(silence)).json
            assert (shown["status"], shown["until"]) == ("expired", "2027-01-15T08:01:00")
        for method, body in (("PUT", WANTED), ("DELETE", None)):
            answer = api(method, url(made), body)
            assert (answer.status_code, "create another" in fault(answer)) == (409, True)

    def test_a_bad_edit_changes_nothing(self, api):
        made = create(api)
        answer = api("PUT", url(made), {**WANTED, "until": "2026-01-01T00:00:00"})
        assert answer.status_code == 400
        assert api("PUT", url(made), {**WANTED, "all_projects": True}).status_code == 400
        assert api("GET", url(made)).json == made


class TestAllProjects:
    def test_is_for_administrators(self, api):
        create(api, expected=403, all_projects=True)
        made = create(api, all_projects=True, options=ADMIN)
        assert (made["project_id"], made["all_projects"]) == (None, True)

    def test_everybody_sees_it_and_nobody_else_ends_it(self, api):
        made = create(api, all_projects=True, options=ADMIN)
        assert api("GET", "/v2/silences").json == [made]
        assert api("GET", url(made), roles="reader").json == made
        assert api("PUT", url(made), WANTED).status_code == 403
        assert api("DELETE", url(made)).status_code == 403
        assert api("PUT", url(made), WANTED, **ADMIN).json["all_projects"] is True
        assert api("DELETE", url(made), **ADMIN).status_code == 204


def test_metrics(api):
    create(api)
    text = api("GET", "/metrics").text
    assert 'thermostat_silences{status="active"} 1.0' in text
