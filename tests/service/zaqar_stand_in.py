# SPDX-License-Identifier: Apache-2.0
"""Stands in for Zaqar where tests need its faults; the lab's tests ask a real one."""

import json
import re
import threading
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import UUID


class ZaqarStandIn:
    """Listens on 127.0.0.1 between `start` and `stop`."""

    def __init__(self) -> None:
        self.messages: dict[str, list[dict[str, Any]]] = defaultdict(list)
        """The messages of each queue."""
        self.subscriptions: dict[str, dict[str, int]] = defaultdict(dict)
        """The subscribers of each queue, with their time to live."""
        self.requests: list[str] = []
        """What was posted to, `subscriptions` or `messages`."""
        self.tokens: set[str] = set()
        self.status: int | None = None
        """Every request is answered with this while it is set."""
        self.retry_after = ""
        self.hang_s = 0.0
        self.delay_s = 0.0
        """How long every answer takes."""
        self.port = 0
        self._released = threading.Event()
        self._lock = threading.Lock()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "ZaqarStandIn":
        self._released.clear()
        zaqar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                zaqar._released.wait(zaqar.hang_s or zaqar.delay_s)
                with zaqar._lock:
                    status = zaqar._take(self.path, self.headers, document)
                try:
                    self.send_response(status)
                    self.send_header("Retry-After", zaqar.retry_after)
                    self.send_header("Content-Length", "2")
                    self.end_headers()
                    self.wfile.write(b"{}")
                except OSError:
                    pass  # the client has gone, as a hang is to make it

            def log_message(self, *_args: object) -> None:
                """Keep quiet."""

        ThreadingHTTPServer.request_queue_size = 200
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

    def _take(self, path: str, headers: Any, document: dict[str, Any]) -> int:
        """Give the status of the answer."""
        if self.hang_s:
            return 503  # whoever asked has gone
        found = re.fullmatch(r"/v2/queues/([A-Za-z0-9_.-]{1,64})/(messages|subscriptions)", path)
        if found is None:
            return 404
        self.tokens.add(headers["X-Auth-Token"])
        UUID(headers["Client-ID"])
        queue, what = found.groups()
        self.requests.append(what)
        if self.status is not None:
            return self.status
        if what == "messages":
            self.messages[queue] += document["messages"]
            return 201
        if document["subscriber"] in self.subscriptions[queue]:
            return 409
        self.subscriptions[queue][document["subscriber"]] = document["ttl"]
        return 201
