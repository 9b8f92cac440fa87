# SPDX-License-Identifier: Apache-2.0
"""Trusts that nothing needs: deleted, or kept on the list while that cannot be."""

import pytest

from tests.service.unit.notify.conftest import configure
from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.notify.housekeeper import Housekeeper
from thermostat.trusts import TrustGone, TrustRefused, TrustUnavailable


class Keystone:
    """Stands in for Keystone's trusts; the real ones are tested in the lab."""

    def __init__(self):
        self.deleted = []
        self.asked = []
        self.refusals = {}

    def delete(self, trust_id):
        self.asked.append(trust_id)
        if trust_id in self.refusals:
            raise self.refusals[trust_id]
        self.deleted.append(trust_id)


class Clock:
    now_s = 1_000_000.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def retired(engine):
    return RetiredTrusts(engine)


@pytest.fixture
def keystone():
    return Keystone()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def housekeeper(engine, retired, keystone, clock):
    return Housekeeper(
        AlarmRepository(engine),
        Outbox(engine),
        Deliveries(engine),
        trusts=keystone,
        retired=retired,
        conf=configure(),
        clock=clock,
    )


class TestTrusts:
    def test_those_whose_time_has_come_are_deleted(self, housekeeper, retired, keystone, clock):
        retired.add("old", int(clock.now_s * 1e6))
        retired.add("new", int(clock.now_s * 1e6) + 1)
        housekeeper.delete_unused_trusts()
        assert keystone.deleted == ["old"]
        assert retired.unused(2**62) == ["new"]

    @pytest.mark.parametrize(
        "failure",
        [
            (TrustUnavailable("Keystone answered 500"), 60),
            (TrustRefused("Keystone answered 401"), 3600),
        ],
    )
    def test_one_that_cannot_be_deleted_is_tried_later_and_delays_no_other(
        self, housekeeper, retired, keystone, clock, failure
    ):
        refusal, wait_s = failure
        retired.add("a", 1)
        retired.add("b", 2)
        keystone.refusals = {"a": refusal}
        housekeeper.delete_unused_trusts()
        housekeeper.delete_unused_trusts()
        assert keystone.asked == ["a", "b"]
        assert retired.unused(2**62) == ["a"]
        keystone.refusals = {}
        clock.now_s += wait_s
        housekeeper.delete_unused_trusts()
        assert keystone.deleted == ["b", "a"]

    def test_what_keystone_does_not_know_is_forgotten(self, housekeeper, retired, keystone):
        retired.add("a", 1)
        keystone.refusals = {"a": TrustGone("Keystone answered 404")}
        housekeeper.delete_unused_trusts()
        assert retired.unused(2**62) == []

    def test_while_keystone_is_away_few_are_tried(self, housekeeper, retired, keystone):
        for number in range(10):
            retired.add(f"t{number}", number)
            keystone.refusals[f"t{number}"] = TrustUnavailable("no Keystone")
        housekeeper.delete_unused_trusts()
        assert len(keystone.asked) == 3
        assert len(retired.unused(2**62)) == 10
