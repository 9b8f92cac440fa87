# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Keystone that knows one token: enough for keystonemiddleware to fill its cache.

usage: python -m bench._keystone PORT
"""

import json
import sys
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "bench-token"  # it opens nothing but this stand-in
PROJECT = "a" * 32
USER = "b" * 32


class Handler(BaseHTTPRequestHandler):
    """Answers version discovery, log-in and token validation."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Show the version, or what the token is."""
        if self.path.rstrip("/").endswith("/v3/auth/tokens"):
            self._answer(200, self._token())
            return
        url = f"http://{self.headers['Host']}/v3/"
        version = {
            "id": "v3.14",
            "status": "stable",
            "updated": "2020-04-07T00:00:00Z",
            "links": [{"rel": "self", "href": url}],
            "media-types": [],
        }
        one = self.path.rstrip("/").endswith("/v3")
        self._answer(200, {"version": version} if one else {"versions": {"values": [version]}})

    def do_POST(self) -> None:
        """Let the server log in."""
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._answer(201, self._token(), {"X-Subject-Token": "service-token"})

    def _token(self) -> dict[str, object]:
        now = datetime.now(UTC)
        url = f"http://{self.headers['Host']}"
        endpoints = [
            {"interface": interface, "url": url, "region": "R", "region_id": "R", "id": interface}
            for interface in ("public", "internal", "admin")
        ]
        domain = {"id": "default", "name": "Default"}
        return {
            "token": {
                "methods": ["password"],
                "user": {"id": USER, "name": "bench", "domain": domain},
                "project": {"id": PROJECT, "name": "bench", "domain": domain},
                "roles": [{"id": "m", "name": "member"}, {"id": "r", "name": "reader"}],
                "catalog": [
                    {"type": "identity", "name": "keystone", "id": "k", "endpoints": endpoints}
                ],
                "expires_at": (now + timedelta(hours=8)).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
                "issued_at": now.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
                "audit_ids": ["a"],
            }
        }

    def _answer(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
