# SPDX-License-Identifier: Apache-2.0
"""Reading pools over HTTP: what is asked, and what becomes of Octavia's failures.

A stand-in answers, since a real Octavia fails on nobody's command; the lab's tests ask a real one.
"""

import logging
import time
from urllib.parse import urlsplit

import pytest
from keystoneauth1.adapter import Adapter
from keystoneauth1.plugin import BaseAuthPlugin
from keystoneauth1.session import Session
from oslo_config import cfg

from tests.service.octavia_stand_in import OctaviaStandIn
from thermostat import opts
from thermostat.balancers.base import Pool, Unreadable
from thermostat.balancers.octavia import OctaviaAway, OctaviaBalancers, PoolReader

TIMEOUT_S = 0.5


class WithoutCatalogue(BaseAuthPlugin):
    def get_endpoint(self, _session, **_which):
        return None


def failing(number=1):
    return {"id": f"m{number}", "operating_status": "ERROR"}


def configured(**options):
    conf = cfg.ConfigOpts()
    opts.register(conf)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("auth_type", "none", group="service_auth")
    conf.set_override("timeout", TIMEOUT_S, group="octavia")
    for name, value in options.items():
        conf.set_override(name, value, group="octavia")
    return conf


@pytest.fixture
def octavia():
    octavia = OctaviaStandIn()
    yield octavia
    octavia.stop()


@pytest.fixture(params=["", "/", "/v2", "/v2.0/"], ids=lambda path: path or "plain")
def any_url(octavia, request):
    """The forms that catalogues have."""
    return octavia.url + request.param


@pytest.fixture
def balancers(octavia):
    return OctaviaBalancers(configured(endpoint_override=octavia.url))


def test_a_pool_with_its_failing_members(octavia, any_url):
    octavia.pools["p"] = ("mine", [failing(), {"id": "m2", "operating_status": "ONLINE"}])
    found = OctaviaBalancers(configured(endpoint_override=any_url)).read(["p"])
    assert found == {"p": Pool("mine", (failing(),))}


def test_one_request_per_pool_once_its_project_is_known(octavia, balancers):
    octavia.pools = {"p": ("mine", []), "q": ("mine", [])}
    balancers.read(["p", "q"])
    octavia.asked.clear()
    balancers.read(["p", "q"])
    assert sorted(octavia.asked) == [
        f"/v2/lbaas/pools/{name}/members?operating_status=ERROR" for name in "pq"
    ]


def test_a_look_at_some_pools_forgets_nothing_of_others(octavia, balancers):
    octavia.pools = {"p": ("mine", []), "q": ("mine", [])}
    balancers.read(["p", "q"])
    balancers.read(["q"])
    octavia.asked.clear()
    balancers.read(["p"])
    assert octavia.asked == ["/v2/lbaas/pools/p/members?operating_status=ERROR"]


def test_a_pool_that_does_not_exist_and_one_that_is_deleted(octavia, balancers):
    octavia.pools["p"] = ("mine", [])
    assert balancers.read(["p", "q"]) == {"p": Pool("mine", ()), "q": None}
    del octavia.pools["p"]
    assert balancers.read(["p"]) == {"p": None}
    octavia.pools["p"] = ("other", [])
    assert balancers.read(["p"]) == {"p": Pool("other", ())}


def test_all_pages(octavia, balancers):
    octavia.page = 2
    octavia.pools["p"] = ("mine", [failing(number) for number in range(6)])
    (pool,) = balancers.read(["p"]).values()
    assert [member["id"] for member in pool.failing] == [f"m{number}" for number in range(6)]


def test_an_id_is_one_word_of_a_path(octavia, balancers):
    assert balancers.read(["../loadbalancers?x=", "ä"]) == {"../loadbalancers?x=": None, "ä": None}
    asked = {urlsplit(target).path for target in octavia.asked}
    assert asked == {"/v2/lbaas/pools/..%2Floadbalancers%3Fx%3D", "/v2/lbaas/pools/%C3%A4"}


class TestFailures:
    @pytest.mark.parametrize(("status", "words"), [(403, "may not read"), (500, "answered 500")])
    def test_of_one_pool_are_that_pools(self, octavia, balancers, status, words):
        octavia.pools["p"] = ("mine", [])
        octavia.statuses["q"] = status
        found = balancers.read(["p", "q"])
        assert found["p"] == Pool("mine", ())
        assert words in found["q"].reason

    @pytest.mark.parametrize("status", [429, 502, 503, 504])
    def test_of_octavia_are_all_pools(self, octavia, balancers, status):
        octavia.statuses["*"] = status
        found = balancers.read(["p", "q"])
        assert (
            found["p"]
            == found["q"]
            == Unreadable(f"Octavia being out of reach: it answered {status}")
        )

    def test_an_answer_that_is_no_json(self, octavia, balancers):
        octavia.pools["p"] = ("mine", [])
        octavia.body = b"<html>"
        assert "not JSON" in balancers.read(["p"])["p"].reason

    @pytest.mark.parametrize("body", [b"{}", b"[]", b'{"pool": 1}', b'{"pool": {}}'])
    def test_an_answer_that_has_not_what_it_should(self, octavia, balancers, body):
        octavia.pools["p"] = ("mine", [])
        octavia.body = body
        assert "an answer of Octavia without" in balancers.read(["p"])["p"].reason

    def test_a_hanging_octavia_costs_one_timeout_for_all(self, octavia):
        octavia.hang_s = 60.0
        balancers = OctaviaBalancers(configured(endpoint_override=octavia.url, requests=4))
        begun = time.monotonic()
        found = balancers.read([f"p{number}" for number in range(200)])
        assert time.monotonic() - begun < TIMEOUT_S + 5
        assert 1 <= len(octavia.asked) <= 4
        assert {answer.reason for answer in found.values()} == {
            "Octavia being out of reach: no answer in time"
        }

    def test_a_refused_connection(self, caplog):
        caplog.set_level(logging.DEBUG)
        balancers = OctaviaBalancers(configured(endpoint_override="http://127.0.0.1:1"))
        for _ in range(3):
            (answer,) = balancers.read(["p"]).values()
            assert answer == Unreadable("Octavia being out of reach: ConnectFailure")
        assert sum("Octavia being out of reach" in one.message for one in caplog.records) == 1

    def test_a_catalogue_without_it(self):
        reader = PoolReader(Adapter(Session(), auth=WithoutCatalogue()), TIMEOUT_S)
        with pytest.raises(OctaviaAway, match="the catalogue has no load-balancer endpoint"):
            reader.project_id("p")

    def test_a_server_without_a_user(self):
        conf = configured(endpoint_override="http://127.0.0.1:1")
        conf.clear_override("auth_type", group="service_auth")
        (answer,) = OctaviaBalancers(conf).read(["p"]).values()
        assert "[service_auth] is not set" in answer.reason

    def test_recovery(self, octavia, balancers, caplog):
        octavia.pools["p"] = ("mine", [])
        octavia.statuses["*"] = 503
        balancers.read(["p"])
        octavia.statuses.clear()
        caplog.set_level(logging.INFO)
        assert balancers.read(["p"]) == {"p": Pool("mine", ())}
        assert "Octavia is back" in caplog.text
