# SPDX-License-Identifier: Apache-2.0
"""Whom Keystone refuses: the trust, or the server's own user. Keystone is a stand-in here."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from oslo_config import cfg

from thermostat.trusts import TrustRefused, Trusts, TrustUnavailable, register_options


class Keystone(HTTPServer):
    """Gives tokens, but to those that it refuses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Requests)
        self.url = f"http://127.0.0.1:{self.server_port}/v3"
        self.refused: set[str] = set()


class Requests(BaseHTTPRequestHandler):
    server: Keystone

    def do_POST(self) -> None:
        """Answer `/v3/auth/tokens`."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["auth"]
        who = "trust" if "OS-TRUST:trust" in asked.get("scope", {}) else "own"
        self.send_response(401 if who in self.server.refused else 201)
        body = json.dumps({"token": {"expires_at": "2999-01-01T00:00:00Z", "methods": []}}).encode()
        self.send_header("X-Subject-Token", f"token-of-{who}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def keystone():
    with Keystone() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def trusts(keystone, tmp_path):
    settings = tmp_path / "server.conf"
    settings.write_text(
        f"[service_auth]\nauth_type = v3password\nauth_url = {keystone.url}\n"
        "username = thermostat\npassword = s3cret\nuser_domain_id = default\n"
    )
    conf = cfg.ConfigOpts()
    register_options(conf)
    conf([], default_config_files=[str(settings)], default_config_dirs=[])
    return Trusts(conf)


class TestToken:
    def test_it_is_the_trusts(self, trusts):
        assert trusts.token("t1") == "token-of-trust"

    def test_of_a_trust_that_is_refused(self, trusts, keystone):
        keystone.refused |= {"trust"}
        with pytest.raises(TrustRefused, match="401"):
            trusts.token("t1")

    def test_no_trust_is_to_blame_where_the_servers_own_user_is_refused(self, trusts, keystone):
        keystone.refused |= {"trust", "own"}
        with pytest.raises(TrustUnavailable, match=r"\[service_auth\] is wrong: Keystone answered"):
            trusts.token("t1")
