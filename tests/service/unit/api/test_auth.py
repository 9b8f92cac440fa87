# SPDX-License-Identifier: Apache-2.0
"""The token check as far as it goes without Keystone; the lab's tests have a real one."""

import socket

import pytest
from falcon.testing import TestClient
from oslo_config import cfg

from thermostat.api.app import create_app
from thermostat.api.context import REQUEST_ID_FORM
from thermostat.api.tokens import TokenMemory


@pytest.fixture
def without_keystone(services, tmp_path):
    """The whole application, whose Keystone does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v3"  # closed from here on
    path = tmp_path / "thermostat.conf"
    path.write_text(
        "[keystone_authtoken]\n"
        "auth_type = password\n"
        "username = thermostat\n"
        "password = secret\n"
        "project_name = service\n"
        f"auth_url = {url}\n"
        f"www_authenticate_uri = {url}\n"
        "http_request_max_retries = 0\n"
    )
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])
    app = create_app(services, conf)
    # Falcon's client inspects what it calls, and wants a function of two arguments.
    return TestClient(lambda environ, start_response: app(environ, start_response))  # noqa: PLW0108


class TestWithoutKeystone:
    def test_no_token_is_401_in_aodhs_shape(self, without_keystone):
        answer = without_keystone.simulate_get("/v2/alarms")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith('Keystone uri="http://')
        assert answer.json["error_message"]["faultcode"] == "Client"
        assert REQUEST_ID_FORM.fullmatch(answer.headers["x-openstack-request-id"])

    def test_a_token_that_cannot_be_checked_is_503(self, without_keystone):
        answer = without_keystone.simulate_get("/v2/alarms", headers={"X-Auth-Token": "t"})
        assert answer.status_code == 503
        assert answer.json["error_message"]["faultcode"] == "Server"
        assert "identity service" in answer.json["error_message"]["faultstring"]

    def test_identity_headers_of_a_client_count_nothing(self, without_keystone):
        forged = {"X-Roles": "admin", "X-Project-Id": "p", "X-Identity-Status": "Confirmed"}
        assert without_keystone.simulate_get("/v2/alarms", headers=forged).status_code == 401

    @pytest.mark.parametrize("path", ["/", "/healthcheck", "/metrics"])
    def test_public_pages_work(self, without_keystone, path):
        assert without_keystone.simulate_get(path).status_code == 200


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


class TestTokenMemory:
    def test_forgets_in_time(self):
        clock = Clock()
        memory = TokenMemory(clock=clock)
        memory.set("k", b"v", time=300)
        clock.now = 299.9
        assert memory.get("k") == b"v"
        clock.now = 300.0
        assert memory.get("k") is None
        assert memory.get("other") is None

    def test_is_bounded_and_keeps_what_is_used(self):
        memory = TokenMemory(size=2)
        for key in ("a", "b"):
            memory.set(key, b"v", time=300)
        assert memory.get("a")
        memory.set("c", b"v", time=300)
        assert (memory.get("a"), memory.get("b"), memory.get("c")) == (b"v", None, b"v")

    def test_caching_can_be_switched_off(self):
        memory = TokenMemory()
        memory.set("k", b"v", time=-1)  # token_cache_time = -1
        assert memory.get("k") is None
