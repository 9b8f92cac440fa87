# SPDX-License-Identifier: Apache-2.0
"""A small real HTTP server that takes columnar batches as thermostat-server does.

It stands in for the server where a test is about the sender: it keeps what it takes in memory,
checks no token, and answers what the test tells it to.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from thermostat.samples.model import Sample
from thermostat.samples.wire import COLUMNAR_TYPE, InvalidSamples, decode_columnar


@dataclass(frozen=True)
class Answer:
    """What the receiver answers instead of taking the batch."""

    status: int
    fault: str = "told to"
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0


class Receiver:
    """Listens on a port of 127.0.0.1 between `start` and `stop`; the port stays the same."""

    def __init__(self) -> None:
        self.port = 0
        self.batches: list[list[Sample]] = []
        """The batches that were taken, in order."""
        self.arrivals_s: list[float] = []
        """When each of them was taken, on the monotonic clock."""
        self.requests: list[dict[str, str]] = []
        """The headers of every request, names in lower case."""
        self.answer: Answer | None = None
        """Given to every request while it is set."""
        self.answers: list[Answer] = []
        """Given to the next requests, one each, before `answer`."""
        self._changed = threading.Condition()
        self._server: ThreadingHTTPServer | None = None
        self._connections: list[socket.socket] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> "Receiver":
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = receiver._take(self.path, dict(self.headers), body)
                time.sleep(answer.delay_s)
                content = {"accepted": True}
                if answer.status >= 400:
                    content = {"error_message": {"faultstring": answer.fault}}
                encoded = json.dumps(content).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, Any]:
                connection, address = super().get_request()
                receiver._connections.append(connection)
                return connection, address

            def handle_error(self, *_: object) -> None:
                pass  # the client went away, as some tests have it

        self._server = Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)  # what was kept alive ends too
            self._connections.clear()

    def wait_for(self, batches: int, timeout_s: float = 20.0) -> None:
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(self.batches) >= batches, timeout_s)
            assert arrived, f"{len(self.batches)} of {batches} batches after {timeout_s} s"

    def _take(self, path: str, headers: dict[str, str], body: bytes) -> Answer:
        with self._changed:
            headers = {name.lower(): value for name, value in headers.items()}
            self.requests.append(headers)
            answer = self.answers.pop(0) if self.answers else self.answer
            if answer is not None:
                return answer
            if path != "/v2/samples" or headers["content-type"] != COLUMNAR_TYPE:
                return Answer(404, f"{path} {headers['content-type']}")
            try:
                samples = decode_columnar(body, now_us=time.time_ns() // 1000)
            except InvalidSamples as error:
                return Answer(400, str(error))
            self.batches.append(samples)
            self.arrivals_s.append(time.monotonic())
            self._changed.notify_all()
            return Answer(201)


@contextmanager
def running_receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    try:
        yield receiver
    finally:
        receiver.stop()
