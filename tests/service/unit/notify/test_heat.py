# SPDX-License-Identifier: Apache-2.0
"""`trust+heat`: what it asks of Heat, in which order, and what it gives up."""

import json

import pytest
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from oslo_config import cfg

from tests.service.heat_stand_in import HeatStandIn
from tests.service.octavia_stand_in import OctaviaStandIn
from thermostat.balancers.octavia import GROUP as OCTAVIA
from thermostat.balancers.octavia import OPTS as OCTAVIA_OPTS
from thermostat.db.outbox import Notification
from thermostat.endpoints import client
from thermostat.notify.opts import GROUP as NOTIFIER
from thermostat.notify.opts import OPTS as NOTIFIER_OPTS
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.heat import GROUP, OPTS, HeatTransport
from thermostat.trusts import TrustRefused


class StandInForKeystone:
    def __init__(self, conf, urls):
        self._conf = conf
        self.urls = urls
        self.refusal = None

    def token(self, trust_id):
        assert trust_id == "trust-1d"
        if self.refusal:
            raise TrustRefused(self.refusal)
        return "t0ken"

    def client(self, trust_id, group):
        assert trust_id == "trust-1d"
        return client(self._conf, group, Session(), Token(self.urls[group], "t0ken"))


@pytest.fixture
def heat():
    heat = HeatStandIn().start()
    yield heat
    heat.stop()


@pytest.fixture
def octavia():
    octavia = OctaviaStandIn()
    yield octavia
    octavia.stop()


@pytest.fixture
def keystone(heat, octavia):
    conf = cfg.ConfigOpts()
    conf.register_opts(NOTIFIER_OPTS, group=NOTIFIER)
    conf.register_opts(OPTS, group=GROUP)
    conf.register_opts(OCTAVIA_OPTS, group=OCTAVIA)
    conf([], default_config_files=[], default_config_dirs=[])
    return StandInForKeystone(conf, {"heat": heat.url, "octavia": octavia.url})


@pytest.fixture
def send(keystone):
    transport = HeatTransport(keystone._conf, keystone)

    def send(*members, trust_id="trust-1d", age_s=1, **changes):
        reason_data = {
            "pool_id": "p",
            "type": "loadbalancer_member_health",
            "stack_id": "s",
            "asg_id": "g",
            "unhealthy_members": [{"id": member, "address": "10.0.0.1"} for member in members],
            **changes,
        }
        notification = Notification(
            notification_id="n1",
            alarm_id="a1",
            action="trust+heat://",
            target="trust+heat",
            trust_id=trust_id,
            request_id="req-1",
            body=json.dumps({"alarm_id": "a1", "reason_data": reason_data}),
            attempts=0,
            created_us=0,
        )
        transport.send(notification, age_s * 1_000_000)

    return send


def test_the_units_of_the_members_are_marked_and_the_stack_is_updated_once(heat, send):
    send("m1", "m3")
    assert heat.marked == ["u1", "u3"]
    assert heat.updates == 1
    assert heat.tokens == {"t0ken"}


def test_a_member_may_be_the_groups_own_resource(heat, send):
    send("u2")
    assert heat.marked == ["u2"]


def test_ids_may_be_arns(heat, send):
    send("m1", stack_id="arn:openstack:heat::p:stacks/stack/s", asg_id="stack-group/g")
    assert heat.marked == ["u1"]


def test_more_members_than_one_request_names(heat, send):
    heat.units = {f"u{number}": "CREATE_COMPLETE" for number in range(120)}
    send(*(f"m{number}" for number in range(120)))
    assert len(set(heat.marked)) == len(heat.marked) == 120
    assert heat.updates == 1


class TestAgain:
    def test_what_was_replaced_is_not_asked_for_again(self, heat, send):
        send("m1")
        send("m1")
        assert heat.marked == ["u1"]
        assert heat.updates == 1

    def test_what_is_marked_in_a_resting_stack_still_needs_the_update(self, heat, send):
        heat.units["u1"] = "CHECK_FAILED"
        send("m1")
        assert heat.marked == []
        assert heat.updates == 1

    @pytest.mark.parametrize("stack", ["s", "g"])
    def test_what_is_marked_is_left_to_the_update_under_way(self, heat, send, stack):
        heat.units["u1"] = "CHECK_FAILED"
        heat.statuses[stack] = "UPDATE_IN_PROGRESS"
        send("m1")
        assert heat.updates == 0

    @pytest.mark.parametrize("status", ["DELETE_IN_PROGRESS", "DELETE_FAILED"])
    def test_what_is_being_deleted_is_passed_over(self, heat, send, status):
        heat.units["u1"] = status
        heat.statuses["s"] = "UPDATE_IN_PROGRESS"
        send("m1")
        assert heat.marked == []
        assert heat.updates == 0

    @pytest.mark.parametrize("stack", ["s", "g"])
    def test_a_stack_that_is_at_work_is_waited_for(self, heat, send, stack):
        heat.statuses[stack] = "UPDATE_IN_PROGRESS"
        with pytest.raises(DeliveryFailed, match="UPDATE_IN_PROGRESS") as caught:
            send("m1")
        assert not caught.value.final
        assert heat.marked == []
        heat.statuses[stack] = "UPDATE_COMPLETE"
        send("m1")
        assert heat.marked == ["u1"]


class TestLate:
    """It may have waited for Heat while its members recovered."""

    def test_only_what_still_fails_is_replaced(self, heat, octavia, send):
        still = {"id": "m3", "operating_status": "ERROR"}
        octavia.pools["p"] = ("mine", [{"id": "m1", "operating_status": "ONLINE"}, still])
        send("m1", "m3", age_s=61)
        assert heat.marked == ["u3"]

    @pytest.mark.parametrize("pools", [{}, {"p": ("mine", [])}])
    def test_nothing_is_done_where_nothing_fails(self, heat, octavia, send, pools):
        octavia.pools = pools
        send("m1", age_s=3000)
        assert heat.tokens == set()

    @pytest.mark.parametrize("status", [403, 503])
    def test_what_is_not_known_is_waited_for(self, heat, octavia, send, status):
        octavia.statuses["*"] = status
        with pytest.raises(DeliveryFailed, match=str(status)) as caught:
            send("m1", age_s=61)
        assert not caught.value.final
        assert heat.marked == []

    def test_in_time_nothing_is_asked(self, octavia, send):
        send("m1", age_s=59)
        assert octavia.asked == []


class TestNothingToDo:
    def test_no_members(self, heat, send):
        send()
        assert heat.tokens == set()

    def test_members_of_nobody(self, heat, send):
        send("stranger")
        assert heat.marked == []
        assert heat.updates == 0


class TestGivenUp:
    @pytest.mark.parametrize("missing", ["pool_id", "stack_id", "asg_id", "unhealthy_members"])
    def test_another_alarms_notification(self, send, missing):
        with pytest.raises(DeliveryFailed, match="loadbalancer_member_health") as caught:
            send("m1", **{missing: None})
        assert caught.value.final

    @pytest.mark.parametrize("changes", [{"stack_id": "none"}, {"asg_id": "none"}])
    def test_a_stack_that_does_not_exist(self, heat, send, changes):
        with pytest.raises(DeliveryFailed, match="404") as caught:
            send("m1", **changes)
        assert caught.value.final
        assert heat.marked == []

    @pytest.mark.parametrize("status", [400, 403])
    def test_what_heat_forbids(self, heat, send, status):
        heat.status = status
        with pytest.raises(DeliveryFailed, match=str(status)) as caught:
            send("m1")
        assert caught.value.final

    def test_an_alarm_without_a_trust(self, send):
        with pytest.raises(DeliveryFailed, match="trust") as caught:
            send("m1", trust_id=None)
        assert caught.value.final


class TestTriedAgain:
    @pytest.mark.parametrize("status", [401, 409, 429, 500, 503])
    def test_what_may_pass(self, heat, send, status):
        heat.status = status
        with pytest.raises(DeliveryFailed) as caught:
            send("m1")
        assert not caught.value.final

    def test_heat_may_ask_for_peace(self, heat, send):
        heat.status, heat.retry_after = 429, "17"
        with pytest.raises(DeliveryFailed) as caught:
            send("m1")
        assert caught.value.retry_after_s == 17

    def test_a_token_that_keystone_refuses(self, keystone, send):
        keystone.refusal = "Keystone answered 403"
        with pytest.raises(DeliveryFailed, match="Keystone answered 403") as caught:
            send("m1")
        assert not caught.value.final
