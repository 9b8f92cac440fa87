# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server for web hooks: keeps what it gets, and answers what the test tells it to."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Call:
    """One request that came in."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    time_s: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Answer:
    """What to answer."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


class HookServer:
    """Listens on 127.0.0.1 between `start` and `stop`; stopped, its port refuses connections."""

    def __init__(self, answer: Callable[[Call], Answer] | None = None) -> None:
        self.calls: list[Call] = []
        self.most_at_once = 0
        self.answer = answer or (lambda _call: Answer())
        self.port = 0
        self._now = 0
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._server: ThreadingHTTPServer | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "HookServer":
        self._released.clear()
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = hooks._take(Call(self.path, headers, body))
                try:
                    self.send_response(answer.status)
                    for name, value in answer.headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
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

    def _take(self, call: Call) -> Answer:
        with self._lock:
            self.calls.append(call)
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        answer = self.answer(call)
        if answer.delay_s:
            self._released.wait(answer.delay_s)
        with self._lock:
            self._now -= 1
        return answer
