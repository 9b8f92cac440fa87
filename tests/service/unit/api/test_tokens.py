# SPDX-License-Identifier: Apache-2.0
"""What is remembered of tokens. Keystone's answers are made up here; the lab's are real."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from falcon.testing import TestClient
from keystonemiddleware.auth_token import _exceptions, _identity
from oslo_config import cfg
from oslo_context.context import RequestContext

from thermostat.api import auth

DOMAIN = {"id": "default", "name": "Default"}


def token(*, user="alice", roles=("member", "reader"), lives_s=3600, **more):
    expires = datetime.now(UTC) + timedelta(seconds=lives_s)
    return {
        "token": {
            "methods": ["password"],
            "user": {"id": user, "name": user, "domain": DOMAIN},
            "project": {"id": "p1", "name": "project", "domain": DOMAIN},
            "roles": [{"id": role, "name": role} for role in roles],
            "catalog": [{"type": "alarming", "name": "t", "id": "t", "endpoints": []}],
            "expires_at": expires.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "issued_at": "2026-11-25T00:00:00.000000Z",
            "audit_ids": ["a"],
            **more,
        }
    }


class Keystone:
    """Stands in for the service: its tokens, and how often it was asked for which."""

    def __init__(self):
        self.tokens = {"good": token()}
        self.asked = []

    def verify_token(self, name, allow_expired=False):
        self.asked.append((name, allow_expired))
        if name not in self.tokens:
            raise _exceptions.InvalidToken
        return self.tokens[name]


@pytest.fixture
def keystone(monkeypatch):
    keystone = Keystone()
    monkeypatch.setattr(_identity.IdentityServer, "verify_token", keystone.verify_token)
    return keystone


@pytest.fixture
def seen():
    """The requests that the application got."""
    return []


@pytest.fixture
def ask(keystone, seen, tmp_path):  # noqa: ARG001 - it must be there before the check is made
    path = tmp_path / "thermostat.conf"
    path.write_text(
        "[keystone_authtoken]\nwww_authenticate_uri = http://keystone.example/v3\n"
        "service_type = alarming\nservice_token_roles_required = true\n"
    )
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[str(path)], default_config_dirs=[])

    def app(environ, start_response):
        seen.append(dict(environ))
        status = "401 Unauthorized" if "denied" in environ["PATH_INFO"] else "200 OK"
        start_response(status, [("Content-Type", "text/plain"), ("Content-Length", "2")])
        return [b"ok"]

    whole = auth.protect(app, conf)
    client = TestClient(lambda environ, start_response: whole(environ, start_response))  # noqa: PLW0108

    def ask(name="good", path="/v2/alarms", method="GET", **headers):
        headers = {key.replace("_", "-"): value for key, value in headers.items()}
        given = {"X-Auth-Token": name} if name else {}
        return client.simulate_request(method, path, headers={**given, **headers})

    ask.check = next(
        cell.cell_contents for cell in whole.__closure__ if hasattr(cell.cell_contents, "_memory")
    )
    return ask


class TestRemembered:
    def test_the_second_request_is_the_first_s_caller_s(self, ask, keystone, seen):
        for _ in range(3):
            assert ask().status_code == 200
        assert keystone.asked == [("good", False)]
        contexts = [{**RequestContext.from_environ(environ).to_policy_values()} for environ in seen]
        assert contexts[0]["user_id"] == "alice"
        assert contexts[0]["project_id"] == "p1"
        assert contexts[0]["roles"] == ["member", "reader"]
        assert contexts[0] == contexts[1] == contexts[2]
        assert "keystone.token_info" in seen[0], "this one went through keystonemiddleware"
        assert "keystone.token_info" not in seen[1]

    def test_a_request_cannot_bring_an_identity_of_its_own(self, ask, seen):
        forged = dict.fromkeys(
            ("X_Roles", "X_Role", "X_User_Id", "X_Project_Id", "X_Domain_Id", "X_Tenant_Id",
             "X_Service_Roles", "X_Service_User_Id", "OpenStack_System_Scope", "X_Is_Admin_Project",
             "X_Identity_Status", "X_Anything"),
            "admin",
        )  # fmt: skip
        ask()
        ask(**forged)
        identity = [
            {k: v for k, v in one.items() if k.startswith(("HTTP_X_", "HTTP_OPENSTACK")) and v}
            for one in seen
        ]
        for ours in identity:
            assert "admin" not in ours.values()
        kept = set(identity[1])
        assert identity[1] == {k: v for k, v in identity[0].items() if k in kept}

    def test_what_is_forged_first_is_not_remembered(self, ask, seen):
        ask(X_Anything="admin", X_Service_Roles="admin")
        ask()
        assert "admin" not in seen[1].values()

    def test_each_token_has_its_own(self, ask, keystone, seen):
        keystone.tokens["bob's"] = token(user="bob")
        for name in ("good", "bob's", "good", "bob's"):
            ask(name)
        assert [one["HTTP_X_USER_ID"] for one in seen] == ["alice", "bob"] * 2
        assert len(keystone.asked) == 2

    def test_the_request_id_is_passed_on(self, ask, seen):
        for _ in range(2):
            ask(X_OpenStack_Request_ID="req-1")
        assert [one["HTTP_X_OPENSTACK_REQUEST_ID"] for one in seen] == ["req-1", "req-1"]

    def test_a_401_of_the_application_says_where_to_log_in(self, ask):
        for _ in range(2):
            answer = ask(path="/denied")
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == 'Keystone uri="http://keystone.example/v3"'


class TestForgotten:
    def test_after_the_cache_s_time(self, ask, keystone, seen):
        """A revoked token works so long and no longer, however often it is used meanwhile."""
        now_s = [0.0]
        ask.check._memory._clock = lambda: now_s[0]
        for now_s[0] in (0.0, 100.0, 299.0):
            assert ask().status_code == 200
        del keystone.tokens["good"]
        now_s[0] = 300.0
        assert ask().status_code == 401
        assert len(keystone.asked) == 2
        assert len(seen) == 3

    def test_when_the_token_expires(self, ask, keystone):
        keystone.tokens["good"] = token(lives_s=0.3)
        assert ask().status_code == 200
        assert ask().status_code == 200
        time.sleep(0.35)
        assert ask().status_code == 401
        assert len(keystone.asked) == 1

    def test_a_bad_token_is_not_remembered_as_good(self, ask, keystone):
        assert ask("bad").status_code == 401
        assert ask("").status_code == 401
        keystone.tokens["bad"] = token()
        assert ask("bad").status_code == 200


class TestNotByTheTokenAlone:
    def test_access_rules_are_looked_at_each_time(self, ask, keystone):
        rule = {"service": "alarming", "method": "GET", "path": "/v2/alarms"}
        keystone.tokens["limited"] = token(
            application_credential={"id": "c", "name": "c", "access_rules": [rule]}
        )
        for _ in range(2):
            assert ask("limited").status_code == 200
            assert ask("limited", method="DELETE").status_code == 401
            assert ask("limited", path="/v2/quotas").status_code == 401

    def test_a_service_token_lets_an_expired_one_pass_only_with_it(self, ask, keystone):
        keystone.tokens |= {
            "old": token(lives_s=-60),
            "service": token(user="heat", roles=["service"]),
            "user": token(user="eve"),
        }
        for _ in range(2):
            assert ask("old", X_Service_Token="service").status_code == 200
            assert ask("old").status_code == 401
            assert ask("old", X_Service_Token="user").status_code == 401
            assert ask("good", X_Service_Token="service").status_code == 200
            assert ask("good", X_Service_Token="bad").status_code == 401
            assert ask("good").status_code == 200

    def test_a_service_s_identity_goes_with_its_request_only(self, ask, keystone, seen):
        keystone.tokens["service"] = token(user="heat", roles=["service"])
        ask(X_Service_Token="service")
        ask()
        ask()
        assert seen[0]["HTTP_X_SERVICE_USER_ID"] == "heat"
        assert not any(one.get("HTTP_X_SERVICE_USER_ID") for one in seen[1:])

    def test_bound_tokens_are_checked_each_time(self, ask, keystone, seen):
        keystone.tokens["bound"] = token(bind={"kerberos": "alice@REALM"})
        for _ in range(2):
            assert ask("bound").status_code == 401
        assert not seen
