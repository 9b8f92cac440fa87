# SPDX-License-Identifier: Apache-2.0
import pytest

from tests.service.alarm_requests import ADMIN, fault, with_


class TestList:
    @pytest.fixture
    def three(self, api):
        def make(**changes):
            return api("POST", "/v2/alarms", with_(**changes)).json["alarm_id"]

        return [
            make(name="a"),
            make(name="b", enabled=False, severity="critical"),
            make(name="c", repeat_actions=True, state="ok"),
        ]

    def names(self, api, query="", **identity):
        answer = api("GET", "/v2/alarms", query_string=query, **identity)
        assert answer.status_code == 200, answer.text
        return [alarm["name"] for alarm in answer.json]

    @pytest.mark.usefixtures("three")
    def test_newest_first(self, api):
        assert self.names(api) == ["c", "b", "a"]
        assert self.names(api, project="p2") == []

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ("q.field=name&q.op=eq&q.value=b", ["b"]),
            ("q.field=name&q.value=b", ["b"]),
            ("q.field=name&q.value=b&q.field=name&q.value=a", ["a"]),  # as in Aodh, the last
            ("q.field=enabled&q.op=eq&q.value=false", ["b"]),
            ("q.field=enabled&q.op=eq&q.value=True", ["c", "a"]),
            ("q.field=severity&q.op=eq&q.value=critical", ["b"]),
            ("q.field=state&q.op=eq&q.value=ok", ["c"]),
            ("q.field=state&q.op=eq&q.value=insufficient+data", ["b", "a"]),
            ("q.field=type&q.op=eq&q.value=threshold", ["c", "b", "a"]),
            ("q.field=repeat_actions&q.op=eq&q.value=1", ["c"]),
            ("q.field=user_id&q.value=alice&q.field=name&q.value=a", ["a"]),
            ("q.field=user_id&q.value=bob", []),
            ("q.field=timestamp&q.value=2001-01-01T00:00:00", []),
            ("q.field=project_id&q.value=p1", ["c", "b", "a"]),
            ("q.field=all_projects&q.value=false", ["c", "b", "a"]),
            ("sort=name:asc", ["a", "b", "c"]),
            ("sort=severity:asc&sort=name:desc", ["c", "a", "b"]),
            ("sort=enabled,name&limit=2", ["b", "a"]),
            ("limit=1", ["c"]),
        ],
    )
    @pytest.mark.usefixtures("three")
    def test_query(self, api, query, names):
        assert self.names(api, query) == names

    def test_pages(self, api, three):
        assert self.names(api, f"sort=name&marker={three[0]}") == ["b", "c"]
        assert self.names(api, f"sort=name:desc&limit=1&marker={three[2]}") == ["b"]

    @pytest.mark.usefixtures("three")
    def test_all_projects_are_for_administrators(self, api):
        api("POST", "/v2/alarms", with_(name="d"), project="p2", user="bob")
        query = "q.field=all_projects&q.op=eq&q.value=true"
        assert self.names(api, query, **ADMIN) == ["d", "c", "b", "a"]
        assert self.names(api, "q.field=project_id&q.value=p2", **ADMIN) == ["d"]
        assert self.names(api, **ADMIN) == []
        assert api("GET", "/v2/alarms", query_string=query).status_code == 403
        for project in ("p2", "there-is-none"):  # Aodh's status for both
            theirs = f"q.field=project_id&q.value={project}"
            answer = api("GET", "/v2/alarms", query_string=theirs)
            assert answer.status_code == 401
            assert project in fault(answer)

    @pytest.mark.parametrize(
        ("query", "word"),
        [
            ("q.field=colour&q.value=red", "colour"),
            ("q.field=name&q.op=like&q.value=x", "like"),
            ("q.field=name&q.op=gt&q.value=x", "eq"),
            ("q.field=name", "q.value"),
            ("q.field=enabled&q.value=perhaps", "perhaps"),
            ("q.field=state&q.value=fine", "fine"),
            ("q.field=timestamp&q.value=noon", "timestamp"),
            ("sort=colour", "colour"),
            ("sort=name:up", "up"),
            ("limit=0", "limit"),
            ("limit=x", "limit"),
            ("limit=99999999999999999999999999", "limit"),
            ("marker=nothing", "nothing"),
            ("marker=%00", "NUL"),
            ("q.field=name&q.value=%00", "NUL"),
        ],
    )
    def test_bad_query_names_what_is_wrong(self, api, query, word):
        answer = api("GET", "/v2/alarms", query_string=query)
        assert answer.status_code == 400
        assert word in fault(answer)
