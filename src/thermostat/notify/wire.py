# SPDX-License-Identifier: Apache-2.0
"""A connection whose use ends at a deadline, and the answers that come over it."""

import http.client
import io
import select
import socket
import time
from typing import Any

from thermostat.notify.transports.base import DeliveryFailed

SHORT_ANSWER = 4096
"""A connection whose answer has more bytes than this is closed rather than read out."""
READ_OUT_S = 0.5
"""How long the rest of an answer may take whose status is known."""
IDLE_S = 60.0
"""How long a connection is kept for the next notification."""
MOST_INTERIM = 20
"""How many interim answers (1xx) may come before the final one."""


class Wire:
    """A connection whose reads and writes end at a deadline. It is one attempt's at a time."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._deadline_s = 0.0
        self._read_s = 0.0
        self.uses = 0
        self.received = 0
        """Bytes of the answer under way."""
        self.idle_since_s = 0.0

    def begin(self, deadline_s: float, read_s: float) -> None:
        """Start an attempt that ends at this time, and waits so long for anything to come."""
        self._deadline_s = deadline_s
        self._read_s = read_s
        self.uses += 1
        self.received = 0

    def end_in(self, seconds: float) -> None:
        """Have the attempt end so soon."""
        self._deadline_s = min(self._deadline_s, time.monotonic() + seconds)

    def is_over(self) -> bool:
        """Tell whether the attempt's time is up."""
        return time.monotonic() >= self._deadline_s

    def is_open(self) -> bool:
        """Tell whether the other side has neither closed it nor said anything unasked."""
        if time.monotonic() - self.idle_since_s > IDLE_S:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def send(self, data: bytes) -> None:
        """Send all of it."""
        self._socket.settimeout(self._left_s())
        self._socket.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        """Wait for bytes of the answer; 0: there are no more."""
        self._socket.settimeout(min(self._read_s, self._left_s()))
        count = self._socket.recv_into(buffer)
        self.received += count
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Give the answer as a file, for the standard library's parser."""
        return io.BufferedReader(_Received(self), SHORT_ANSWER)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _left_s(self) -> float:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        return left_s


class _Received(io.RawIOBase):
    """What comes over a wire."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._wire.receive_into(buffer)


class FinalResponse(http.client.HTTPResponse):
    """Passes over the interim answers before the one that counts.

    The standard library does so with 100 only, and with any number of them. 101 is final: it ends
    HTTP on the connection, which nobody asked for.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._left = MOST_INTERIM

    def _read_status(self) -> tuple[str, int, str]:
        version, status, reason = super()._read_status()  # type: ignore[misc]  # it is private
        if not 100 <= status < 200 or status == http.HTTPStatus.SWITCHING_PROTOCOLS:
            return version, status, reason
        self._left -= 1
        if self._left < 0:
            raise DeliveryFailed(f"more than {MOST_INTERIM} interim answers")
        return version, int(http.HTTPStatus.CONTINUE), reason


def read_out(response: http.client.HTTPResponse, wire: Wire) -> tuple[str | None, bool]:
    """Give what is odd about the rest of an answer, and whether the connection can be kept."""
    if response.status == http.HTTPStatus.SWITCHING_PROTOCOLS:
        return "the target leaves HTTP", False
    if response.length is not None and response.length > SHORT_ANSWER:
        return f"an answer of {response.length} bytes was cut off", False
    wire.end_in(READ_OUT_S)
    try:
        length = len(response.read(SHORT_ANSWER + 1))
    except TimeoutError:
        return f"the rest of the answer was cut off after {READ_OUT_S:g} s", False
    except (OSError, http.client.HTTPException):
        return None, False  # the status has come: what follows does not matter
    if length > SHORT_ANSWER:
        return f"an answer of more than {SHORT_ANSWER} bytes was cut off", False
    return None, response.isclosed() and not response.will_close
