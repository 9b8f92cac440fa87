# SPDX-License-Identifier: Apache-2.0
"""The server with a real Keystone: tokens, projects, trusts, and delivery with a trust's token."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
import urllib3

from tests.lab.settings import ini
from tests.service.alarm_support import make_transition
from tests.service.hooks import Answer, HookServer
from thermostat.alarms.model import State
from thermostat.db.alarms import AlarmRepository
from thermostat.db.engine import open_engine
from thermostat.db.outbox import Outbox, Status

pytestmark = pytest.mark.lab

ALARM = {
    "name": "busy",
    "type": "threshold",
    "threshold_rule": {"meter_name": "cpu_util", "threshold": 70, "comparison_operator": "gt"},
}


def wait_until(condition, what, timeout_s=180.0):
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not happen in {timeout_s} s"
        time.sleep(0.05)
    return found


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Service:
    """thermostat-server with the lab's Keystone, and a look into its database."""

    def __init__(self, lab, directory):
        self.url = f"http://127.0.0.1:{free_port()}"
        self.log = directory / "server.log"
        self._configuration = directory / "thermostat-server.conf"
        database = f"sqlite:///{directory}/alarms.sqlite"
        own_user = {
            "auth_type": "password",
            "auth_url": lab.layout.auth_url,
            "username": "thermostat",
            "password": lab.layout.passwords["thermostat"],
            "user_domain_id": "default",
            "project_name": "service",
            "project_domain_id": "default",
        }
        self._configuration.write_text(
            ini(
                {
                    # Everybody says everything: no secret may be in the log even so.
                    "DEFAULT": {"debug": "true", "default_log_levels": "amqp=WARN"},
                    "api": {"port": self.url.rpartition(":")[2]},
                    "database": {"connection": database},
                    "store": {"path": directory / "samples"},
                    "notifier": {"backoff_base": "0.1"},
                    "keystone_authtoken": {
                        **own_user,
                        "www_authenticate_uri": lab.layout.auth_url,
                        "service_type": "alarming",
                    },
                    "service_auth": own_user,
                }
            )
        )
        self._run("dbsync")
        self.engine = open_engine(database)
        self.alarms = AlarmRepository(self.engine)
        self.outbox = Outbox(self.engine)

    def _command(self, name):
        arguments = ["--config-file", str(self._configuration)]
        return [sys.executable, "-m", f"thermostat.cmd.{name}", *arguments]

    def _run(self, name):
        subprocess.run(self._command(name), check=True, timeout=60)

    @contextmanager
    def running(self):
        with self.log.open("ab") as log:
            process = subprocess.Popen(self._command("server"), stdout=log, stderr=log)
        try:
            wait_until(lambda: self._answers(process), "the server's start", 60.0)
            yield
        finally:
            process.terminate()
            process.wait(30)
            self.engine.dispose()

    def _answers(self, process):
        assert process.poll() is None, self.log.read_text()
        try:
            return self.call(None, "GET", "/healthcheck").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def call(self, token, method, path, body=None, **headers):
        if token:
            headers["X-Auth-Token"] = token
        return urllib3.request(
            method, self.url + path, json=body, headers=headers, retries=False, timeout=60
        )

    def fire(self, alarm_id):
        """Record a transition to alarm, as the evaluator does."""
        alarm = self.alarms.find(alarm_id)
        now_us = int(time.time() * 1e6)
        assert self.alarms.record(make_transition(alarm, State.ALARM, timestamp_us=now_us))


@pytest.fixture(scope="module")
def service(lab, tmp_path_factory):
    service = Service(lab, tmp_path_factory.mktemp("service"))
    with service.running():
        yield service


@pytest.fixture(scope="module")
def demo(lab):
    return lab.cloud("demo")


@pytest.fixture(scope="module")
def other(lab):
    return lab.cloud("other")


@pytest.fixture(scope="module")
def admin(lab):
    return lab.cloud("admin")


def trusts_of(cloud):
    """Give the trusts that the cloud's user has made."""
    answer = cloud.session.get(
        f"/OS-TRUST/trusts?trustor_user_id={cloud.current_user_id}",
        endpoint_filter={"service_type": "identity", "version": 3},
    )
    return {trust["id"]: trust for trust in answer.json()["trusts"]}


@pytest.fixture
def hook(admin):
    """A web hook that, like Heat's API, takes only requests whose token Keystone knows."""

    def check(call):
        token = call.headers.get("x-auth-token", "")
        answer = admin.session.get(
            "/auth/tokens",
            endpoint_filter={"service_type": "identity", "version": 3},
            headers={"X-Subject-Token": token},
            raise_exc=False,
        )
        seen.append(answer.json().get("token"))
        return Answer(200 if answer.status_code == 200 else 401)

    seen = []
    server = HookServer(check).start()
    server.tokens = seen
    yield server
    server.stop()


class TestTokens:
    @pytest.mark.parametrize("token", [None, "nonsense", ""])
    def test_without_a_valid_one(self, service, lab, token):
        answer = service.call(token, "GET", "/v2/alarms")
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{lab.layout.auth_url}"'
        assert answer.json()["error_message"]["faultcode"] == "Client"
        assert "authentication" in answer.json()["error_message"]["faultstring"]

    def test_identity_headers_of_a_client_count_nothing(self, service):
        forged = {"X-Roles": "admin", "X-Project-Id": "p", "X-Identity-Status": "Confirmed"}
        assert service.call(None, "GET", "/v2/alarms", **forged).status == 401

    @pytest.mark.parametrize("path", ["/", "/healthcheck", "/metrics"])
    def test_public_pages_need_none(self, service, path):
        assert service.call(None, "GET", path).status == 200

    def test_public_paths_do_not_open_others(self, service):
        for path in ("//v2/alarms", "/metrics/../v2/alarms", "/%2e/v2/alarms", "/v2/nothing"):
            assert service.call(None, "GET", path).status == 401

    def test_another_projects_alarm_does_not_exist(self, service, demo, other, admin):
        created = service.call(demo.auth_token, "POST", "/v2/alarms", ALARM)
        assert created.status == 201
        path = f"/v2/alarms/{created.json()['alarm_id']}"
        for method, body in (("GET", None), ("PUT", ALARM), ("DELETE", None)):
            assert service.call(other.auth_token, method, path, body).status == 404
        assert service.call(other.auth_token, "GET", "/v2/alarms").json() == []
        assert service.call(admin.auth_token, "GET", path).status == 200
        assert service.call(demo.auth_token, "GET", path).json() == created.json()
        assert service.call(demo.auth_token, "DELETE", path).status == 204

    def test_publishing_is_for_services(self, service, demo, lab):
        for cloud, status in ((demo, 403), (lab.cloud("thermostat"), 201)):
            assert service.call(cloud.auth_token, "POST", "/v2/samples", []).status == status

    def test_a_token_is_validated_once(self, service, demo):
        """Keystone is slow; a cached token costs it nothing."""
        service.call(demo.auth_token, "GET", "/v2/alarms")

        def call_s(token):
            begun = time.monotonic()
            assert service.call(token, "GET", "/v2/alarms").status == 200
            return time.monotonic() - begun

        def new_token():
            demo.session.invalidate()
            return demo.session.get_token()

        # the quickest of each: the others waited for the machine
        again_s = min(call_s(demo.auth_token) for _ in range(20))
        assert again_s < min(call_s(new_token()) for _ in range(5))


class TestTrusts:
    def create(self, service, cloud, *actions):
        body = {**ALARM, "alarm_actions": actions}
        answer = service.call(cloud.auth_token, "POST", "/v2/alarms", body)
        assert answer.status == 201, answer.data
        return answer.json()

    def test_from_creation_to_deletion(self, service, demo, hook):
        before = set(trusts_of(demo))
        action = f"trust+{hook.url}/v1/policies/up/signal?Signature=s3cret"
        alarm = self.create(service, demo, action)
        (made,) = (trust for key, trust in trusts_of(demo).items() if key not in before)
        assert made["impersonation"]
        assert made["project_id"] == demo.current_project_id
        assert made["id"] not in str(alarm)

        service.fire(alarm["alarm_id"])
        wait_until(lambda: service.outbox.counts()[Status.DELIVERED], "the delivery")
        (token,) = hook.tokens
        assert token["user"]["id"] == demo.current_user_id
        assert token["project"]["id"] == demo.current_project_id
        assert token["OS-TRUST:trust"]["id"] == made["id"]

        service.call(demo.auth_token, "DELETE", f"/v2/alarms/{alarm['alarm_id']}")
        wait_until(lambda: made["id"] not in trusts_of(demo), "the trust's deletion")
        log = service.log.read_text()
        assert "delivered to" in log
        assert made["id"] not in log
        assert "s3cret" not in log
        assert hook.calls[0].headers["x-auth-token"] not in log
        assert demo.auth_token not in log

    def test_goes_with_the_last_trust_action(self, service, demo, hook):
        before = set(trusts_of(demo))
        alarm = self.create(service, demo, f"trust+{hook.url}/signal")
        assert len(set(trusts_of(demo)) - before) == 1
        path = f"/v2/alarms/{alarm['alarm_id']}"
        answer = service.call(
            demo.auth_token, "PUT", path, {**alarm, "alarm_actions": [f"{hook.url}/signal"]}
        )
        assert answer.status == 200
        wait_until(lambda: set(trusts_of(demo)) == before, "the trust's deletion")
        service.call(demo.auth_token, "DELETE", path)

    def test_a_plain_action_makes_none(self, service, demo, hook):
        before = set(trusts_of(demo))
        alarm = self.create(service, demo, f"{hook.url}/signal")
        assert set(trusts_of(demo)) == before
        service.call(demo.auth_token, "DELETE", f"/v2/alarms/{alarm['alarm_id']}")

    def test_a_token_that_may_not_delegate_is_refused(self, service, demo, hook):
        credential = demo.identity.create_application_credential(
            demo.current_user_id, name=f"restricted-{os.getpid()}"
        )
        try:
            answer = demo.session.post(
                "/auth/tokens",
                endpoint_filter={"service_type": "identity", "version": 3},
                authenticated=False,
                json={
                    "auth": {
                        "identity": {
                            "methods": ["application_credential"],
                            "application_credential": {
                                "id": credential.id,
                                "secret": credential.secret,
                            },
                        }
                    }
                },
            )
            token = answer.headers["X-Subject-Token"]
            body = {**ALARM, "alarm_actions": [f"trust+{hook.url}/signal"]}
            refused = service.call(token, "POST", "/v2/alarms", body)
            assert refused.status == 403
            assert "Keystone" in refused.json()["error_message"]["faultstring"]
            assert service.call(token, "GET", "/v2/alarms").json() == []
        finally:
            demo.identity.delete_application_credential(demo.current_user_id, credential.id)
