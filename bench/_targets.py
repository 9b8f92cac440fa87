# SPDX-License-Identifier: Apache-2.0
"""Web hooks in a process of their own, which does not share our interpreter.

Some answer at once and keep the times of their calls; others take connections and never answer.
"""

import asyncio
import multiprocessing
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from multiprocessing.connection import Connection

from bench._processes import BenchError

_SPAWN = multiprocessing.get_context("spawn")
POLL_S = 0.05


class Targets:
    """What to call, and who was called when."""

    def __init__(
        self, connection: Connection, ports: Sequence[int], hanging: Sequence[int]
    ) -> None:
        self._connection = connection
        self.urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.hanging = [f"http://127.0.0.1:{port}" for port in hanging]

    def calls(self) -> list[tuple[float, str]]:
        """Give the monotonic time and the path of each call that has come, in order."""
        self._connection.send(None)
        calls: list[tuple[float, str]] = self._connection.recv()
        return calls

    def count(self, prefix: str) -> int:
        """Give how many calls of paths that begin so have come; `prefix` is `/word/`."""
        self._connection.send(prefix)
        return int(self._connection.recv())

    def wait_for(self, count: int, prefix: str, timeout_s: float) -> list[float]:
        """Give the times of calls of paths that begin so, when there are so many or time is up."""
        deadline = time.monotonic() + timeout_s
        while True:
            if self.count(prefix) >= count or time.monotonic() > deadline:
                return [at_s for at_s, path in self.calls() if path.startswith(prefix)]
            time.sleep(POLL_S)


@contextmanager
def serving(count: int, hanging: int = 0) -> Iterator[Targets]:
    """Give so many targets that answer, and so many that hang."""
    ours, theirs = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_serve, args=(theirs, count), daemon=True)
    process.start()
    with ExitStack() as stack:
        listeners = [
            stack.enter_context(closing(socket.create_server(("127.0.0.1", 0), backlog=200)))
            for _ in range(hanging)
        ]
        try:
            if not ours.poll(60):
                raise BenchError("the targets do not start")
            ports = [listener.getsockname()[1] for listener in listeners]
            yield Targets(ours, ours.recv(), ports)
        finally:
            process.terminate()
            process.join()


def _serve(ours: Connection, count: int) -> None:
    """Tell the ports, and the calls whenever asked for them."""
    calls: list[tuple[float, str]] = []
    counts: Counter[str] = Counter()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                await reader.readexactly(int(length))
                path = head.split(b" ", 2)[1].decode()
                calls.append((time.monotonic(), path))
                counts[path[: path.find("/", 1) + 1]] += 1
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main() -> None:
        servers = [await asyncio.start_server(answer, "127.0.0.1", 0) for _ in range(count)]
        ours.send([server.sockets[0].getsockname()[1] for server in servers])
        asyncio.get_running_loop().add_reader(ours.fileno(), tell)
        await asyncio.Event().wait()

    def tell() -> None:
        prefix = ours.recv()
        ours.send(calls if prefix is None else counts[prefix])

    asyncio.run(main())
