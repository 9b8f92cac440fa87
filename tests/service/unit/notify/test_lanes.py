# SPDX-License-Identifier: Apache-2.0
import itertools
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from thermostat.db.outbox import Enough, Notification
from thermostat.notify import lanes as module
from thermostat.notify import places
from thermostat.notify.lanes import Lanes

PER_TARGET = 4
HANGS_S = 30.0
"""After how many seconds what hangs has failed."""


class World:
    """Lanes on a clock of their own, with URLs that answer at once, fail at once, or hang."""

    def __init__(self, workers=20, slow=80, per_target=PER_TARGET):
        self.lanes = Lanes(workers, per_target, slow)
        self.now_s = 0.0
        self.under_way = {}
        """When each notification began, the oldest first."""
        self.began_s = defaultdict(list)
        """When notifications of each project began."""
        self._numbers = itertools.count()

    def add(self, project, url, count=1, alarm=None):
        """Add notifications, of this alarm or each of another one."""
        added = [self._notification(project, url, alarm) for _ in range(count)]
        self.lanes.add(added)
        return added

    def start(self):
        """Start what may be started."""
        while (one := self.lanes.next(self.now_s)) is not None:
            self.under_way[one] = self.now_s
            self.began_s[one.project_id].append(self.now_s)

    def run(self, seconds, step_s=0.1):
        """Let time pass: what answers is finished at the next step."""
        for _ in range(round(seconds / step_s)):
            self.start()
            self.now_s += step_s
            self.finish()

    def finish(self):
        for one, begun_s in list(self.under_way.items()):
            hangs = "hang" in one.action
            if not hangs or self.now_s - begun_s >= HANGS_S:
                self.end(one, failed=hangs or "fail" in one.action)

    def end(self, one, *, failed):
        del self.under_way[one]
        self.lanes.finished(one, failed=failed)
        self.lanes.settled([one.notification_id])

    def busy(self, project):
        return sum(one.project_id == project for one in self.under_way)

    def _notification(self, project, url, alarm):
        number = next(self._numbers)
        return Notification(
            notification_id=str(number),
            alarm_id=alarm or f"a{number}",
            action=f"http://{url}",
            target=url.partition("/")[0],
            trust_id=None,
            request_id="req-1",
            body="{}",
            attempts=0,
            created_us=0,
            project_id=project,
        )


@pytest.fixture
def world():
    return World()


class TestOneTarget:
    def test_a_url_gets_one_at_a_time_until_it_has_taken_one(self, world):
        first, *_ = world.add("p1", "h/ok", 50)
        world.start()
        assert list(world.under_way) == [first]
        world.end(first, failed=False)
        world.start()
        assert len(world.under_way) == 2
        world.run(2)
        assert len(world.began_s["p1"]) == 50

    def test_a_project_gets_the_limit_at_once(self, world):
        for number in range(50):
            world.add("p1", f"h/{number}")
        world.start()
        assert len(world.under_way) == PER_TARGET

    def test_all_projects_together_get_the_limit_at_once(self, world):
        for number in range(50):
            world.add(f"p{number}", f"h/{number}")
        world.start()
        assert len(world.under_way) == PER_TARGET

    def test_urls_of_a_project_that_hang_delay_another_one_for_a_second(self, world):
        for number in range(100):
            world.add("p1", f"h/hang{number}")
        world.run(5.05)
        world.add("p2", "h/ok", 20)
        begun_s = world.now_s
        world.run(3)
        assert len(world.began_s["p2"]) == 20
        assert world.began_s["p2"][0] - begun_s <= module.SLOW_S + 0.1
        assert world.began_s["p2"][-1] - begun_s <= 2.5

    def test_a_url_that_hangs_does_not_delay_others_of_its_project(self, world):
        world.add("p1", "h/hang", 1000)
        world.run(0.5)
        for number in range(20):
            world.add("p1", f"h/ok{number}")
        world.run(1)
        assert len(world.began_s["p1"]) == 21

    def test_a_url_that_took_many_and_hangs_then(self, world):
        answering = world.add("p1", "h/hang", PER_TARGET * 3)
        while answering:
            world.start()
            for one in list(world.under_way):
                answering.remove(one)
                world.end(one, failed=False)
        world.add("p1", "h/hang", 1000)
        world.run(5)
        assert world.busy("p1") == PER_TARGET
        world.began_s.clear()
        world.add("p1", "h/ok", 10)
        world.add("p2", "h/ok", 10)
        world.run(2)
        assert len(world.began_s["p1"]) == len(world.began_s["p2"]) == 10

    def test_one_that_fails_at_once_takes_no_turns_of_others(self, world):
        world.add("p1", "h/fail", 1000)
        world.run(5)
        for project in ("p1", "p2"):
            world.add(project, "h/ok", 20)
        begun = Counter({project: len(times) for project, times in world.began_s.items()})
        world.run(2)
        assert len(world.began_s["p2"]) == 20
        assert len(world.began_s["p1"]) >= begun["p1"] + 20

    def test_a_target_never_has_more_than_four_times_its_limit(self, world):
        for number in range(400):
            world.add(f"p{number % 20}", f"h/hang{number}")
        world.run(20)
        assert PER_TARGET * 3 < len(world.under_way) <= PER_TARGET * 4


class TestManyTargets:
    @pytest.mark.parametrize("hanging", [30, 200, 2000])
    def test_targets_of_a_project_that_hang_leave_half_of_the_room(self, world, hanging):
        for number in range(hanging):
            world.add("p1", f"h{number}/hang")
        world.run(5.05)
        assert world.busy("p1") == min(hanging, 50)
        begun_s = world.now_s
        for number in range(100):
            world.add("p2", f"ok{number % 10}/ok{number}")
        world.run(3)
        assert len(world.began_s["p2"]) == 100
        assert world.began_s["p2"][0] == begun_s
        assert world.began_s["p2"][-1] - begun_s <= 2.0

    def test_even_at_the_first_moment(self, world):
        for number in range(2000):
            world.add("p1", f"h{number}/hang")
        world.start()
        assert len(world.under_way) == 16  # four fifths of the workers
        world.add("p2", "ok/ok", 3)
        world.run(1)
        assert world.began_s["p2"][0] == 0

    def test_each_further_project_that_hangs_takes_half_of_what_is_left(self, world):
        for number in range(600):
            world.add(f"p{number % 3}", f"h{number}/hang")
            world.run(0.05, step_s=0.05)
        taken = sorted(world.busy(f"p{number}") for number in range(3))
        assert 24 <= taken[0] <= taken[-1] <= 25

    def test_what_failed_last_takes_a_third(self, world):
        for number in range(200):
            world.add("p1", f"h{number}/hang")
        world.run(HANGS_S * 5)  # each has failed once
        assert not world.under_way
        for number in range(200):
            world.add("p1", f"h{number}/hang")
        world.run(9.05)
        assert world.busy("p1") in (33, 34)
        world.began_s.clear()
        world.add("p1", "ok/ok", 20)
        world.run(2)
        assert len(world.began_s["p1"]) == 20


class TestWhatIsRead:
    def test_of_a_long_backlog_only_a_part_is_known(self, world):
        """A URL's, a target's and a project's backlog hide nobody else's."""
        world.add("p1", "h/hang", module.FILL)
        assert world.lanes.enough().urls == [("p1", "http://h/hang")]
        for number in range(module.FILL_PLACE * PER_TARGET):
            world.add("p1", f"g/hang{number}")
        assert world.lanes.enough().targets == [("p1", "g")]
        assert world.lanes.enough().ids == []
        for number in range(module.MOST_OF_PROJECT):
            world.add("p1", f"h{number}/hang")
        (other,) = world.add("p2", "h/hang")
        enough = world.lanes.enough()
        assert enough.projects == ["p1"]
        assert (enough.targets, enough.urls) == ([], [])
        assert enough.ids == [other.notification_id]

    def test_of_a_target_that_is_down_fewer_are_known(self, world):
        """As many as one reading gives, or what fails at once would be read for ever."""
        for number in range(20):
            world.add("p1", f"h/fail{number}")
        world.run(5)
        assert world.lanes.unsettled == 0
        for number in range(module.FILL_PLACE):
            world.add("p1", f"h/{number}")
        assert world.lanes.enough() == Enough(ids=[], urls=[], targets=[("p1", "h")], projects=[])

    def test_more_is_read_when_half_has_begun(self, world):
        waiting = world.add("p1", "h/ok", module.FILL)
        world.lanes.enough()
        dry = []
        for one in waiting:
            assert world.lanes.next(0.0) == one
            dry.append(world.lanes.finished(one, failed=True))
        assert dry.count(True) == 1
        assert dry.index(True) == module.FILL // 2

    def test_what_is_known_is_not_taken_in_twice(self, world):
        added = world.add("p1", "h/ok")
        world.lanes.add(added)
        world.start()
        assert world.lanes.next(0.0) is None
        world.lanes.finished(added[0], failed=False)
        world.lanes.add(added)  # it is not settled yet
        assert world.lanes.next(0.0) is None

    def test_what_rests_is_forgotten(self, world, monkeypatch):
        monkeypatch.setattr(places, "MOST_RESTING", 3)
        for number in range(10):
            world.add(f"p{number}", f"h{number}/ok")
            world.run(0.1)
        known = world.lanes._places
        kept = (known.lines, known.places, known.projects, known.targets)
        assert {len(one) for one in kept} == {3}


class TestOrder:
    def test_of_an_alarm_a_url_gets_one_after_the_other(self, world):
        world.add("p1", "h/ok", 3)
        world.run(1)  # from now on it may get several at once
        mine = world.add("p1", "h/ok", 3, alarm="a")
        (other,) = world.add("p1", "h/ok", alarm="b")
        (elsewhere,) = world.add("p1", "h/another", alarm="a")
        world.start()
        assert set(world.under_way) == {mine[0], other, elsewhere}
        world.end(mine[0], failed=False)
        world.start()
        assert set(world.under_way) == {mine[1], other, elsewhere}

    def test_nothing_follows_on_a_failure(self, world):
        one, next_one = world.add("p1", "h/ok", 2, alarm="a")
        world.start()
        assert list(world.under_way) == [one]
        world.lanes.finished(one, failed=True)
        world.lanes.add([next_one])  # read before the failure was written
        assert world.lanes.next(0.0) is None
        assert world.lanes.enough().urls == [("p1", "http://h/ok")]
        world.lanes.settled([one.notification_id])
        assert world.lanes.enough() == Enough([], [], [], [])
        assert world.lanes.unsettled == 0
        world.lanes.add([next_one])  # the first one is dead
        assert world.lanes.next(0.0) == next_one

    def test_what_is_settled_before_it_is_finished_holds_up_nothing(self, world):
        one, next_one = world.add("p1", "h/ok", 2, alarm="a")
        world.start()
        world.lanes.settled([one.notification_id])
        world.lanes.finished(one, failed=True)
        world.lanes.add([next_one])
        assert world.lanes.next(0.0) == next_one


steps = st.one_of(
    st.tuples(st.just("add"), *[st.integers(0, 2)] * 4),
    st.tuples(st.just("end"), st.booleans(), st.integers(0, 50)),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 0.6, 1.1])),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=120))
def test_whatever_happens(given_steps):
    """The limits and the order hold at each step; in the end all have begun, each once."""
    world = World(workers=4, slow=6, per_target=2)
    added, begun = [], []

    def start():
        """Start what may be; what was forgotten behind a failure is read again."""
        world.lanes.add(one for one in added if one not in begun)
        world.start()
        begun.extend(one for one in world.under_way if one not in begun)
        check_limits(world)

    for what, *more in given_steps:
        if what == "add":
            project, target, url, alarm = more
            added += world.add(f"p{project}", f"h{target}/{url}", alarm=f"{project} {alarm}")
        elif what == "end" and world.under_way:
            failed, place = more
            world.end(list(world.under_way)[place % len(world.under_way)], failed=failed)
        elif what == "pass":
            world.now_s += more[0]
        start()
    while world.under_way:
        world.end(next(iter(world.under_way)), failed=False)
        start()
    assert len(begun) == len(added)
    assert in_order(begun) == in_order(added)
    assert (world.lanes.under_way, world.lanes.unsettled) == (0, 0)
    for room in (world.lanes._workers, world.lanes._whole):
        assert room.busy == 0
    for place in world.lanes._places.places.values():
        assert (place.young, place.use.busy, place.use.failing) == (0, 0, 0)
        assert (place.target.young, place.target.room.busy) == (0, 0)


def in_order(notifications):
    """Give what each alarm tells each URL, in order."""
    told = defaultdict(list)
    for one in notifications:
        told[one.alarm_id, one.action].append(one.notification_id)
    return told


def check_limits(world):
    under_way = list(world.under_way)
    young = [one for one in under_way if world.now_s - world.under_way[one] < module.SLOW_S]
    assert len(young) <= 4
    assert len(under_way) <= 10
    assert most(one.target for one in young) <= 2
    assert most(one.target for one in under_way) <= 8
    assert most((one.project_id, one.action) for one in under_way) <= 2
    assert most((one.alarm_id, one.action) for one in under_way) <= 1


def most(things):
    return max(Counter(things).values(), default=0)
