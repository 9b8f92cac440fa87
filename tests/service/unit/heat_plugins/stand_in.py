# SPDX-License-Identifier: Apache-2.0
"""A stand-in for the alarm service: it keeps alarms and judges nothing.

It is here because Heat's packages and the service's live in different environments; the lab's tests
run the same resource against the service itself.
"""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs


class AlarmService:
    """Aodh's v2 alarms in a dictionary, over HTTP on a free port of 127.0.0.1."""

    def __init__(self) -> None:
        self.alarms: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []
        self.tokens: set[str] = set()
        self.fault: tuple[int, dict[str, Any]] | None = None
        """What to answer instead, once: a status and a body."""
        self.is_silent = False
        """Whether it hangs up once it has done what it was asked."""
        service = self

        class Handler(BaseHTTPRequestHandler):
            server_version = "stand-in"

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                service.tokens.add(self.headers["X-Auth-Token"])
                service.calls.append((self.command, self.path))
                status, answer = service._handle(self.command, self.path, body)
                if service.is_silent:
                    return
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                if status != 204:
                    self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - http.server's names

            def log_message(self, *args: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.01], daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Answer no more; a second call does nothing."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def only(self) -> dict[str, Any]:
        """The one alarm that there is."""
        (alarm,) = self.alarms.values()
        return alarm

    def _handle(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        if self.fault:
            fault, self.fault = self.fault, None
            return fault
        alarm_id = path.removeprefix("/v2/alarms").lstrip("/")
        if alarm_id.startswith("?"):
            (name,) = parse_qs(alarm_id[1:])["q.value"]
            return 200, [alarm for alarm in self.alarms.values() if alarm["name"] == name]
        if method == "POST":
            alarm_id = str(uuid.uuid4())
            state = {"state": "insufficient data", "state_reason": "Not evaluated yet"}
            self.alarms[alarm_id] = {**body, **state, "alarm_id": alarm_id}
            return 201, self.alarms[alarm_id]
        if alarm_id not in self.alarms:
            sentence = f"Alarm {alarm_id} not found"
            return 404, {"error_message": {"faultcode": "Client", "faultstring": sentence}}
        if method == "DELETE":
            del self.alarms[alarm_id]
            return 204, None
        if method == "PUT":
            kept = {name: self.alarms[alarm_id][name] for name in ("state", "state_reason")}
            self.alarms[alarm_id] = {**kept, **body, "alarm_id": alarm_id}
        return 200, self.alarms[alarm_id]
