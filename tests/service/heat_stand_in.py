# SPDX-License-Identifier: Apache-2.0
"""Stands in for Heat where tests need its faults; the lab's tests ask a real one.

The stack `s` has the group `g`. The group's units, stacks `u0`, `u1` and so on, each hold a member
`m0`, `m1`; a unit that was marked is replaced by an update of the stack.
"""

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

NAMES = {"s": "stack", "g": "stack-group"}


class HeatStandIn:
    """Listens on 127.0.0.1 between `start` and `stop`."""

    def __init__(self, size: int = 50) -> None:
        self.units = {f"u{number}": "CREATE_COMPLETE" for number in range(size)}
        """The status of each unit."""
        self.statuses = {"s": "CREATE_COMPLETE", "g": "CREATE_COMPLETE"}
        self.marked: list[str] = []
        """The units that were marked, each time they were."""
        self.updates = 0
        self.status: int | None = None
        """Every request is answered with this while it is set."""
        self.retry_after = ""
        self.hang_s = 0.0
        self.tokens: set[str] = set()
        self.port = 0
        self._released = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/p"

    def start(self) -> "HeatStandIn":
        self._released.clear()
        heat = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._answer()

            def do_PATCH(self) -> None:
                self._answer()

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                heat.tokens.add(self.headers["X-Auth-Token"])
                heat._released.wait(heat.hang_s)
                answer = heat._take(self.command, self.path) if heat.status is None else None
                status, headers, document = answer or (
                    heat.status,
                    {"Retry-After": heat.retry_after},
                    {},
                )
                body = json.dumps(document).encode()
                try:
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the client has gone, as a hang is to make it

            def log_message(self, *_args: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def stop(self) -> None:
        self._released.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _take(self, method: str, target: str) -> tuple[int, dict[str, str], Any]:
        """Give status, headers and document of an answer."""
        parts = urlsplit(target)
        path = parts.path.removeprefix("/v1/p/stacks/")
        if path in NAMES:
            return 302, {"Location": f"{self.url}/stacks/{NAMES[path]}/{path}"}, {}
        found = re.fullmatch(r"(stack|stack-group)/([sg])(?:/resources(?:/(\w+))?)?", path)
        if found is None or NAMES[found[2]] != found[1]:
            return 404, {}, {}
        if path.endswith("/resources"):
            wanted = parse_qs(parts.query)["physical_resource_id"]
            return 200, {}, {"resources": list(self._resources(wanted))}
        if found[3]:
            return self._mark(found[3])
        if method == "PATCH":
            return self._update()
        return 200, {}, {"stack": {"id": found[2], "stack_status": self.statuses[found[2]]}}

    def _resources(self, wanted: list[str]) -> Iterator[dict[str, Any]]:
        for unit, status in self.units.items():
            member = unit.replace("u", "m")
            if member in wanted:
                yield _shown(member, "CREATE_COMPLETE", f"unit/{unit}")
            if unit in wanted:
                yield _shown(unit, status, "stack-group/g")

    def _mark(self, unit: str) -> tuple[int, dict[str, str], Any]:
        if unit not in self.units:
            return 404, {}, {}
        self.marked.append(unit)
        self.units[unit] = "CHECK_FAILED"
        return 200, {}, None

    def _update(self) -> tuple[int, dict[str, str], Any]:
        self.updates += 1
        for unit in [unit for unit, status in self.units.items() if status == "CHECK_FAILED"]:
            del self.units[unit]
        return 202, {}, {}


def _shown(physical_id: str, status: str, stack: str) -> dict[str, Any]:
    return {
        "physical_resource_id": physical_id,
        "resource_status": status,
        "links": [
            {"rel": "self", "href": f"http://heat/v1/p/stacks/{stack}/resources/x"},
            {"rel": "stack", "href": f"http://heat/v1/p/stacks/{stack}"},
        ],
    }
