# SPDX-License-Identifier: Apache-2.0
"""Host names to addresses, waited for no longer than there is time.

The system's resolver takes a minute where name servers are silent, and cannot be interrupted. So
each lookup has a thread of its own, from which whoever waits for it can turn away. Whoever asks for
the same name meanwhile waits for the same lookup: a name that hangs costs one thread however often
it is tried.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

MOST_LOOKUPS = 500
"""How many names are looked up at once; further ones wait until another lookup is over."""

Found = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
"""An address as the standard library has it, without a port."""


class Resolver:
    """Looks names up. For many threads at once."""

    def __init__(self, most: int = MOST_LOOKUPS) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._under_way: dict[str, Future[Sequence[Found]]] = {}

    def addresses(self, host: str, within_s: float) -> Sequence[Found]:
        """Give the addresses of a name, at least one; an address is its own.

        Raises TimeoutError if that takes longer, socket.gaierror or UnicodeError if it has none.
        """
        with contextlib.suppress(socket.gaierror):
            return _look_up(host, socket.AI_NUMERICHOST)
        ends_s = time.monotonic() + within_s
        lookup = self._lookup(host, ends_s)
        return lookup.result(max(0.0, ends_s - time.monotonic()))

    def _lookup(self, host: str, ends_s: float) -> "Future[Sequence[Found]]":
        """Give the lookup of this name that is under way, or begin one."""
        with self._changed:
            while host not in self._under_way and len(self._under_way) >= self._most:
                if not self._changed.wait(ends_s - time.monotonic()):
                    raise TimeoutError
            lookup = self._under_way.get(host)
            if lookup is None:
                lookup = Future()
                # Daemons, so that none holds up the end of the process.
                threading.Thread(
                    target=self._run, args=(host, lookup), name="resolver", daemon=True
                ).start()
                self._under_way[host] = lookup
            return lookup

    def _run(self, host: str, lookup: "Future[Sequence[Found]]") -> None:
        found: Sequence[Found] = ()
        failure: Exception | None = None
        try:
            found = _look_up(host)
        except Exception as error:
            failure = error
        with self._changed:  # first, so that nobody who asks from now on gets an old answer
            del self._under_way[host]
            self._changed.notify_all()
        if failure is None:
            lookup.set_result(found)
        else:
            lookup.set_exception(failure)


def _look_up(host: str, flags: int = 0) -> Sequence[Found]:
    return socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
