# SPDX-License-Identifier: Apache-2.0
"""References between alarms: within a project, and never in a cycle."""

import threading

import msgspec
import pytest

from tests.service.alarm_support import ALICE, NOW_US, make_alarm
from thermostat.alarms.rules import AlarmRef, AnyOf, CombinationRule, CompositeRule
from thermostat.db.references import BadReference

PAIRS = 20


def naming(*alarm_ids):
    """Give a change that makes an alarm name these others."""
    rule = CompositeRule(expression=AnyOf(tuple(map(AlarmRef, alarm_ids))))
    return lambda alarm: msgspec.structs.replace(alarm, rule=rule)


def create(alarms, alarm_id, *, names=(), **changes):
    alarm = make_alarm(alarm_id=alarm_id, name=f"n-{alarm_id}", **changes)
    alarms.create(naming(*names)(alarm) if names else alarm, ALICE)


def test_a_diamond_is_no_cycle(alarms):
    create(alarms, "bottom")
    create(alarms, "left", names=["bottom"])
    create(alarms, "right", names=["bottom", "left"])
    create(alarms, "top", names=["left", "right"])
    assert alarms.find("top").rule.expression.operands == (AlarmRef("left"), AlarmRef("right"))


def test_two_that_name_each_other(alarms):
    create(alarms, "a")
    create(alarms, "b", names=["a"])
    with pytest.raises(BadReference, match=r"closes a cycle: 'n-a' \(a\) → 'n-b' \(b\) → 'n-a'"):
        alarms.replace("a", naming("b"), ALICE, NOW_US)
    assert alarms.find("a").revision == 1


def test_a_cycle_through_one_of_many(alarms):
    create(alarms, "a")
    create(alarms, "x")
    create(alarms, "b", names=["x", "a"])
    rule = CombinationRule(alarm_ids=("x", "b"))
    with pytest.raises(BadReference) as caught:
        alarms.replace("a", lambda a: msgspec.structs.replace(a, rule=rule), ALICE, NOW_US)
    assert caught.value.field == "combination_rule.alarm_ids[1]"


def test_only_the_own_project_counts(alarms):
    create(alarms, "foreign", project_id="p2")
    with pytest.raises(BadReference, match="there is no alarm foreign in"):
        create(alarms, "a", names=["foreign"])
    assert alarms.find("a") is None


def test_who_moves_takes_no_references_along(alarms):
    create(alarms, "a")
    create(alarms, "b", names=["a"])
    with pytest.raises(BadReference, match="there is no alarm a in"):
        alarms.replace(
            "b", lambda alarm: msgspec.structs.replace(alarm, project_id="p2"), ALICE, NOW_US
        )


def test_a_dependency_on_too_many(alarms, monkeypatch):
    monkeypatch.setattr("thermostat.db.references.MOST_REACHED", 3)
    monkeypatch.setattr("thermostat.db.references.MOST_IDS", 1)
    create(alarms, "a")
    create(alarms, "b", names=["a"])
    create(alarms, "c", names=["b"])
    with pytest.raises(BadReference, match="composite_rule: depends on more than 3 alarms in all"):
        create(alarms, "d", names=["c"])


def test_two_edits_at_once_close_no_cycle(alarms):
    """Each pair of edits is allowed by itself, and would be together if neither saw the other."""
    for number in range(PAIRS):
        create(alarms, f"a{number}")
        create(alarms, f"b{number}")
    outcomes = []
    start = threading.Barrier(2)

    def edit(one, other):
        for number in range(PAIRS):
            start.wait()
            try:
                alarms.replace(f"{one}{number}", naming(f"{other}{number}"), ALICE, NOW_US)
                outcomes.append("written")
            except BadReference as error:
                outcomes.append(error.reason.partition(":")[0])

    threads = [threading.Thread(target=edit, args=pair) for pair in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["closes a cycle"] * PAIRS + ["written"] * PAIRS


def test_an_edit_waits_for_one_that_is_not_committed(alarms, monkeypatch):
    """The first edit has checked but not committed when the second one begins."""
    create(alarms, "a")
    create(alarms, "b")
    checked, may_commit = threading.Event(), threading.Event()
    errors = []

    def pausing(*arguments, **options):
        if threading.current_thread() is first:
            checked.set()
            may_commit.wait(10)
        return note(*arguments, **options)

    def edit(one, other):
        try:
            alarms.replace(one, naming(other), ALICE, NOW_US)
        except BadReference as error:
            errors.append(error.reason)

    from thermostat.db import alarms as module

    note = module.note
    monkeypatch.setattr(module, "note", pausing)
    first = threading.Thread(target=edit, args=("a", "b"))
    second = threading.Thread(target=edit, args=("b", "a"))
    first.start()
    assert checked.wait(10)
    second.start()
    second.join(0.3)
    assert second.is_alive()  # it waits: had it not, it would have seen no cycle
    may_commit.set()
    first.join()
    second.join()
    assert [reason.startswith("closes a cycle") for reason in errors] == [True]
