# SPDX-License-Identifier: Apache-2.0
"""Trusts that nothing needs: deleted, or kept on the list while that cannot be."""

import pytest

from tests.service.alarm_support import open_database
from tests.service.unit.notify.conftest import configure
from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.notify.housekeeper import Housekeeper
from thermostat.trusts import TrustRefused, TrustUnavailable

NOW_S = 1_000_000.0


class Keystone:
    """Stands in for Keystone's trusts; the real ones are tested in the lab."""

    def __init__(self):
        self.deleted = []
        self.refusal = None

    def delete(self, trust_id):
        if self.refusal:
            raise self.refusal
        self.deleted.append(trust_id)


@pytest.fixture
def engine(tmp_path):
    engine = open_database(tmp_path / "db.sqlite")
    yield engine
    engine.dispose()


@pytest.fixture
def retired(engine):
    return RetiredTrusts(engine)


@pytest.fixture
def keystone():
    return Keystone()


@pytest.fixture
def housekeeper(engine, retired, keystone):
    return Housekeeper(
        AlarmRepository(engine),
        Outbox(engine),
        Deliveries(engine),
        trusts=keystone,
        retired=retired,
        conf=configure(),
        clock=lambda: NOW_S,
    )


class TestTrusts:
    def test_those_whose_time_has_come_are_deleted(self, housekeeper, retired, keystone):
        retired.add("old", int(NOW_S * 1e6))
        retired.add("new", int(NOW_S * 1e6) + 1)
        housekeeper.delete_unused_trusts()
        assert keystone.deleted == ["old"]
        assert retired.unused(2**62) == ["new"]

    @pytest.mark.parametrize(
        ("refusal", "left"),
        [
            (TrustUnavailable("no Keystone"), ["a", "b"]),
            (TrustRefused("Keystone answered 404"), []),
        ],
    )
    def test_while_keystone_is_away_they_stay_on_the_list(
        self, housekeeper, retired, keystone, refusal, left
    ):
        retired.add("a", 1)
        retired.add("b", 2)
        keystone.refusal = refusal
        housekeeper.delete_unused_trusts()
        assert keystone.deleted == []
        assert retired.unused(2**62) == left
