# SPDX-License-Identifier: Apache-2.0
"""The index gives exactly the alarms that a scan over all of them would, and looks at few."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.event_support import condition, event, event_standing, replaced
from thermostat.events.conditions import Check
from thermostat.events.index import Index

TYPES = st.sampled_from(
    ["a", "a.b", "a.b.c", "a.c", "ab", "b", "a.b.c.d.e.f", "[x]", "compute.instance.update"]
)
PATTERNS = st.sampled_from(
    ["*", "a*", "a.*", "a.?", "*.c", "a.b", "a.b*c", "a.[bc]", "[ab]", "b", "?", "a.b.c*",
     "compute.instance.*", "[x]", "[!a]*", "a.b.c.d.e.f.g*"]
)  # fmt: skip
FIELDS = st.sampled_from(["traits.state", "traits.id", "event_type", "nothing"])
CONDITIONS = st.builds(
    condition, FIELDS, st.sampled_from(["error", "1", "2", "a.b"]), st.sampled_from(["eq", "ne"])
)
PROJECTS = st.sampled_from(["p1", "p2"])
STANDINGS = st.builds(
    lambda number, pattern, query, project: event_standing(
        f"a{number}", pattern, query, project_id=project
    ),
    st.integers(0, 7),
    PATTERNS,
    st.lists(CONDITIONS, max_size=2),
    PROJECTS,
)
EVENTS = st.builds(
    lambda kind, project, state, number: event(kind, project, state=state, id=number),
    TYPES,
    PROJECTS | st.none() | st.just(""),
    st.sampled_from(["error", "active", None]),
    st.sampled_from(["1", 1, 2]),
)


def scanned(standings, told):
    """What Aodh's way gives: look at every alarm of the project."""
    return sorted(
        alarm.alarm_id
        for alarm in standings.values()
        if told.project_id
        and alarm.project_id == told.project_id
        and fnmatch.fnmatchcase(told.event_type, alarm.rule.event_type)
        and all(Check.of(term).holds(told) for term in alarm.rule.query)
    )


@given(
    changes=st.lists(STANDINGS | st.integers(0, 7).map("a{}".format), max_size=20),
    events=st.lists(EVENTS, max_size=5),
)
def test_gives_what_a_scan_gives(changes, events):
    index, standings = Index(), {}
    for change in changes:
        if isinstance(change, str):
            index.remove(change)
            standings.pop(change, None)
        else:
            index.put(change)
            standings[change.alarm_id] = change
        assert len(index) == len(standings)
    for told in events:
        matching = [watch.standing.alarm_id for watch in index.matching(told)]
        assert sorted(matching) == scanned(standings, told)
    for alarm_id in standings:
        index.remove(alarm_id)
    assert not index._projects  # nothing is left behind


class TestCost:
    @pytest.fixture
    def asked(self, monkeypatch):
        """The fields that were asked for, one for each condition."""
        asked = []
        holds = Check.holds

        def counted(check, told):
            asked.append(check.field)
            return holds(check, told)

        monkeypatch.setattr(Check, "holds", counted)
        return asked

    def test_other_projects_cost_nothing(self, asked):
        index = Index()
        for number in range(100):
            query = [condition("traits.state", "error", "ne")]
            index.put(event_standing(f"a{number}", "*", query, project_id=f"p{number}"))
        assert len(index.matching(event("x", "p7", state="active"))) == 1
        assert len(asked) == 1

    def test_other_types_cost_nothing(self, asked):
        index = Index()
        for number in range(100):
            query = [condition("traits.state", "error", "ne")]
            index.put(event_standing(f"a{number}", f"type{number}.*", query))
            index.put(event_standing(f"b{number}", f"type{number}.x", query))
        assert len(index.matching(event("type7.x", "p1", state="active"))) == 2
        assert len(asked) == 2

    def test_alarms_for_other_instances_cost_nothing(self, asked):
        index = Index()
        for number in range(100):
            query = [
                condition("traits.state", "error", "ne"),
                condition("traits.instance_id", f"i{number}"),
            ]
            index.put(event_standing(f"a{number}", "*", query))
        (watch,) = index.matching(event("x", "p1", state="active", instance_id="i7"))
        assert watch.standing.alarm_id == "a7"
        assert len(asked) == 2


def test_put_again_takes_the_place_of_what_was_known():
    index = Index()
    old = event_standing("a1", "x.*")
    index.put(old)
    index.put(replaced(old, project_id="p2"))
    assert not index.matching(event("x.y", "p1"))
    assert len(index.matching(event("x.y", "p2"))) == len(index) == 1
    index.remove("nobody")
