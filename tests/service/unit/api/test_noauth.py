# SPDX-License-Identifier: Apache-2.0
"""The server without Keystone: only when asked for, and only on a loopback address."""

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import urllib3
from falcon.testing import TestClient
from oslo_config import cfg

from tests.service.alarm_requests import ALARM, TRUSTED, fault, with_
from thermostat.api.app import create_app
from thermostat.api.noauth import NotLoopback

ALICE = {"X-User-Id": "alice", "X-Project-Id": "p1", "X-Roles": "member,reader"}


@pytest.fixture
def make_client(services, tmp_path):
    def make(host="127.0.0.1", more=""):
        path = tmp_path / "thermostat.conf"
        path.write_text(f"[api]\nauth_mode = noauth\nhost = {host}\n{more}")
        conf = cfg.ConfigOpts()
        conf([], default_config_files=[str(path)], default_config_dirs=[])
        app = create_app(services, conf)
        return TestClient(lambda environ, start_response: app(environ, start_response))  # noqa: PLW0108

    return make


@pytest.fixture
def ask(make_client):
    client = make_client()

    def ask(method, path, headers=ALICE, **options):
        return client.simulate_request(
            method, path, headers=headers, host="127.0.0.1", port=8042, **options
        )

    return ask


class TestIdentity:
    def test_requests_are_believed(self, ask):
        made = ask("POST", "/v2/alarms", json=ALARM)
        assert made.status_code == 201
        assert (made.json["user_id"], made.json["project_id"]) == ("alice", "p1")
        path = f"/v2/alarms/{made.json['alarm_id']}"
        assert ask("GET", path, {**ALICE, "X-Project-Id": "p2"}).status_code == 404
        assert ask("DELETE", path, {**ALICE, "X-Roles": "reader"}).status_code == 403

    @pytest.mark.parametrize("left_out", ["X-User-Id", "X-Project-Id"])
    def test_they_must_say_who_they_are(self, ask, left_out):
        headers = {name: value for name, value in ALICE.items() if name != left_out}
        answer = ask("GET", "/v2/alarms", headers)
        assert answer.status_code == 401
        assert left_out in fault(answer)
        assert answer.headers["x-openstack-request-id"].startswith("req-")

    def test_without_roles_nothing_may_be_done(self, ask):
        headers = {"X-User-Id": "alice", "X-Project-Id": "p1"}
        assert ask("GET", "/v2/alarms", headers).status_code == 403

    @pytest.mark.parametrize("host", ["evil.example", "10.0.0.1", "127.0.0.1.evil.example", "[::"])
    def test_another_name_of_this_machine_is_refused(self, make_client, host):
        """A web page whose name was made to resolve to 127.0.0.1 would be let in otherwise."""
        headers = {**ALICE, "Host": host}
        answer = make_client().simulate_get("/v2/alarms", headers=headers)
        assert answer.status_code == 403

    @pytest.mark.parametrize("host", ["localhost", "[::1]:8042", "127.0.0.1"])
    def test_its_own_are_not(self, make_client, host):
        headers = {**ALICE, "Host": host}
        assert make_client().simulate_get("/v2/alarms", headers=headers).status_code == 200

    def test_tokens_are_not_passed_on(self, make_client, monkeypatch):
        seen = []
        monkeypatch.setattr(
            "thermostat.api.alarms.authorize", lambda _e, req, *_: seen.append(req.env)
        )
        headers = {**ALICE, "X-Auth-Token": "t", "X-Service-Token": "t", "Host": "localhost"}
        make_client().simulate_get("/v2/alarms", headers=headers)
        assert not [key for key in seen[0] if "TOKEN" in key]


class TestHost:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "localhost"])
    def test_loopback_is_needed(self, make_client, host, caplog):
        make_client(host)
        assert "NO AUTHENTICATION" in caplog.text

    @pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "no-such-host.invalid"])
    def test_anything_else_is_refused(self, make_client, host):
        with pytest.raises(NotLoopback, match="loopback"):
            make_client(host)

    def test_a_proxy_is_refused(self, make_client):
        with pytest.raises(NotLoopback, match="proxy"):
            make_client(more="[oslo_middleware]\nenable_proxy_headers_parsing = true\n")


@contextmanager
def served(directory, host):
    """The command thermostat-server, with what it has written to its log."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    conf = directory / "server.conf"
    conf.write_text(
        f"[api]\nauth_mode = noauth\nhost = {host}\nport = {port}\n"
        f"[database]\nconnection = sqlite:///{directory}/alarms.sqlite\n"
        f"[store]\npath = {directory}/samples\n"
    )
    command = [sys.executable, "-m"]
    arguments = ["--config-file", str(conf)]
    subprocess.run([*command, "thermostat.cmd.dbsync", *arguments], check=True, timeout=60)
    log = directory / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "thermostat.cmd.server", *arguments], stdout=output, stderr=output
        )
    try:
        yield process, f"http://127.0.0.1:{port}", log
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


class TestCommand:
    def test_on_loopback(self, tmp_path):
        with served(tmp_path, "127.0.0.1") as (process, url, log):
            http = urllib3.PoolManager(retries=False)

            def ask(method, path, document=None):
                return http.request(method, url + path, json=document, headers=ALICE)

            deadline = time.monotonic() + 60
            while process.poll() is None and time.monotonic() < deadline:
                try:
                    ask("GET", "/healthcheck")
                    break
                except urllib3.exceptions.HTTPError:
                    time.sleep(0.1)
            assert ask("POST", "/v2/alarms", ALARM).status == 201
            refused = ask("POST", "/v2/alarms", with_(alarm_actions=[TRUSTED]))
            assert refused.status == 400
            said = refused.json()["error_message"]["faultstring"]
            assert "alarm_actions" in said
            assert "runs without Keystone" in said
            assert "NO AUTHENTICATION" in log.read_text()

    def test_elsewhere(self, tmp_path):
        with served(tmp_path, "0.0.0.0") as (process, _, log):
            assert process.wait(60) == 2
        assert "loopback" in log.read_text()
