# SPDX-License-Identifier: Apache-2.0
"""What events lead to: Aodh's rules for event alarms."""

import msgspec
import pytest

from tests.service.event_support import condition, event, event_standing
from thermostat.alarms.model import State, TimeConstraint
from thermostat.events.index import Index
from thermostat.events.judging import MAX_QUERY, judge

NOW_US = 1_795_575_601_000_000


def judged(*events, done=frozenset(), **changes):
    index = Index()
    index.put(event_standing(**changes))
    return [firing.transition for firing in judge(index, events, NOW_US, done.__contains__)]


class TestFiring:
    @pytest.mark.parametrize("state", [State.OK, State.INSUFFICIENT_DATA])
    def test_leads_to_alarm(self, state):
        query = [condition("traits.state", "error", kind="string")]
        (transition,) = judged(
            event(state="error"), event_type="compute.instance.*", query=query, state=state,
            revision=3,
        )  # fmt: skip
        assert (transition.previous, transition.state) == (state, State.ALARM)
        assert (transition.alarm_id, transition.revision) == ("a1", 3)
        assert (transition.timestamp_us, transition.step_us) == (NOW_US, 1_795_575_600_123_456)
        assert transition.reason == (
            "Event <id=m1,event_type=compute.instance.update> hits the query "
            '<query=[{"field":"traits.state","op":"eq","type":"string","value":"error"}]>.'
        )
        assert transition.reason_data["type"] == "event"
        assert transition.reason_data["event"]["traits"] == [
            ["project_id", 1, "p1"],
            ["state", 1, "error"],
        ]

    def test_needs_every_condition(self):
        query = [condition("traits.state", "error"), condition("traits.size", "5", "ge", "integer")]
        assert judged(event(state="error", size=5), query=query)
        assert not judged(event(state="error", size=4), query=query)
        assert not judged(event(state="active", size=5), query=query)

    def test_is_for_the_events_of_its_project(self):
        assert not judged(event(project_id="p2"))
        assert not judged(event(project_id=None))
        assert not judged(event(project_id=""), project_id="")

    def test_a_long_query_is_cut_in_the_reason(self):
        query = [condition(f"traits.t{number}", "x" * 250, "ne") for number in range(100)]
        (transition,) = judged(event(), query=query)
        assert len(transition.reason) < MAX_QUERY + 200
        assert transition.reason.endswith("…>.")


class TestAgain:
    def test_an_alarm_fires_once(self):
        assert len(judged(event(message_id="m1"), event(message_id="m2"))) == 1
        assert not judged(event(), state=State.ALARM)

    def test_with_repeat_actions_each_event_is_told(self):
        first, second = judged(
            event(message_id="m1"), event(message_id="m2"), repeat_actions=True, revision=3
        )
        assert first.is_change
        assert not first.recurs
        assert (second.previous, second.state, second.revision) == (State.ALARM, State.ALARM, 4)
        assert second.recurs
        (again,) = judged(event(), repeat_actions=True, state=State.ALARM)
        assert again.recurs

    def test_one_message_is_told_once(self):
        assert len(judged(event(), event(), repeat_actions=True)) == 1
        assert not judged(event(), repeat_actions=True, done={("a1", "m1")})
        assert judged(event(), repeat_actions=True, done={("a1", "m0"), ("a0", "m1")})


class TestTimeConstraints:
    THREE_O_CLOCK = TimeConstraint(name="n", start="0 3 * * *", duration=60)

    @pytest.mark.parametrize(
        ("generated", "fires"),
        [
            ("2026-11-25T03:00:30", True),
            ("2026-11-25T02:59:59", False),
            ("2026-11-25T04:01:00+01:00", False),
            ("2026-11-25T04:00:59+01:00", True),
            (None, True),  # then the clock decides
        ],
    )
    def test_the_time_is_the_events(self, generated, fires):
        told = event()
        told = type(told)(
            told.message_id,
            told.event_type,
            told.project_id,
            told.traits,
            {**told.document, "generated": generated},
        )
        assert bool(judged(told, time_constraints=(self.THREE_O_CLOCK,))) is fires


def test_the_history_of_a_firing_can_be_written():
    (transition,) = judged(event(state="\ud800"))
    assert msgspec.json.encode(transition)
