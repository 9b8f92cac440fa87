# SPDX-License-Identifier: Apache-2.0
"""POST over HTTP/1.1 to targets that nobody vouches for.

Every attempt has an end however its answer trickles, only the head of an answer is waited for, and
only addresses that the rules let pass are connected to. The standard library's client reads the
answers; libraries above it can bound neither the whole time nor the address.
"""

import http.client
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast
from urllib.parse import SplitResult, quote, urlsplit

from thermostat.notify.egress import PORTS, Egress, TargetRefused
from thermostat.notify.resolving import Found, Resolver
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.wire import IDLE_S, FinalResponse, Wire, read_out

MOST_IDLE = 500
"""How many connections are kept at most."""
_URL_SAFE = "/?:@!$&'()*+,;=-._~%[]"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long each part of an attempt may take, in seconds."""

    connect_s: float
    read_s: float
    attempt_s: float


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer."""

    status: int
    headers: Mapping[str, str]
    """The names in lower case."""
    remark: str | None = None
    """What was odd about the rest of it."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection leads to."""

    scheme: str
    host: str
    port: int
    verify: bool

    @classmethod
    def of(cls, parts: SplitResult, *, verify: bool) -> "Origin":
        """Give a URL's; `verify` tells whether its certificate is checked. Raises ValueError."""
        host = parts.hostname
        if parts.scheme not in PORTS or not host:
            raise ValueError(parts.scheme)
        if not host.isascii():
            host = host.encode("idna").decode()
        port = PORTS[parts.scheme] if parts.port is None else parts.port
        return cls(parts.scheme, host, port, verify)

    @property
    def header(self) -> str:
        """The value of the header Host."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"


class Poster:
    """Posts to any target, and keeps connections for the next time. For many threads at once."""

    def __init__(self, limits: Limits, egress: Egress, ca_file: str | None = None) -> None:
        self._limits = limits
        self._egress = egress
        self._resolver = Resolver()
        self._contexts = {verify: _context(ca_file, verify=verify) for verify in (True, False)}
        self._lock = threading.Lock()
        self._idle: dict[Origin, deque[Wire]] = {}
        self._kept = 0
        weakref.finalize(self, _close_all, self._idle)

    def deadline_s(self) -> float:
        """Give when an attempt that begins now ends, on the monotonic clock."""
        return time.monotonic() + self._limits.attempt_s

    def post(
        self, url: str, headers: Mapping[str, str], body: bytes, *, verify: bool, deadline_s: float
    ) -> Reply:
        """Give the answer's head. Raises DeliveryFailed with a reason that has no secrets."""
        try:
            parts = urlsplit(url)
            origin = Origin.of(parts, verify=verify)
        except (ValueError, UnicodeError) as error:
            raise DeliveryFailed(f"invalid URL ({type(error).__name__})", final=True) from None
        request = _request(origin, parts, headers, body)
        wire = self._kept_wire(origin)
        if wire is not None:
            try:
                return self._exchange(origin, wire, request, deadline_s)
            except _Stale:
                pass  # it was closed while nobody used it
        return self._exchange(origin, self._connect(origin, deadline_s), request, deadline_s)

    def _exchange(self, origin: Origin, wire: Wire, request: bytes, deadline_s: float) -> Reply:
        try:
            wire.begin(deadline_s, self._limits.read_s)
            response = FinalResponse(cast("socket.socket", wire), method="POST")
            wire.send(request)
            response.begin()
            remark, reusable = read_out(response, wire)
        except BaseException as error:
            wire.close()
            raise _failure(error, wire, self._limits) from None
        if reusable:
            self._keep(origin, wire)
        else:
            wire.close()
        answered = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, answered, remark)

    # -- connections ------------------------------------------------------------------------------

    def _connect(self, origin: Origin, deadline_s: float) -> Wire:
        """Connect to an address of the origin that the rules let pass."""
        try:
            self._egress.check_port(origin.port)
            plain = self._dial(origin, deadline_s)
        except TargetRefused as error:
            raise DeliveryFailed(str(error), final=True) from None
        except TimeoutError:
            raise DeliveryFailed("no connection in time") from None
        except OSError:
            raise DeliveryFailed("no connection") from None
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if origin.scheme == "https":
                plain.settimeout(self._left_s(deadline_s))
                context = self._contexts[origin.verify]
                return Wire(context.wrap_socket(plain, server_hostname=origin.host))
            return Wire(plain)
        except BaseException as error:
            plain.close()
            raise _tls_failure(error) from None

    def _dial(self, origin: Origin, deadline_s: float) -> socket.socket:
        """Raise TargetRefused only if each address is refused: one that is not may be up later."""
        failure: OSError | None = None
        refusal: TargetRefused | None = None
        for family, kind, protocol, _, (address, _, *rest) in self._addresses(origin, deadline_s):
            try:
                self._egress.check_address(str(address))
            except TargetRefused as error:
                refusal = error
                continue
            dialled = socket.socket(family, kind, protocol)
            try:
                dialled.settimeout(self._left_s(deadline_s))
                dialled.connect((address, origin.port, *rest))
            except OSError as error:
                dialled.close()
                failure = error
            else:
                return dialled
        raise failure or refusal or OSError("the name has no address")

    def _addresses(self, origin: Origin, deadline_s: float) -> Iterable[Found]:
        try:
            return self._resolver.addresses(origin.host, self._left_s(deadline_s))
        except TimeoutError:
            raise DeliveryFailed("the host's name was not resolved in time") from None
        except (OSError, UnicodeError):
            raise DeliveryFailed("the host's name cannot be resolved") from None

    def _left_s(self, deadline_s: float) -> float:
        return max(0.001, min(self._limits.connect_s, deadline_s - time.monotonic()))

    def _kept_wire(self, origin: Origin) -> Wire | None:
        """Give a kept connection that is still open."""
        while True:
            with self._lock:
                wires = self._idle.get(origin)
                if not wires:
                    return None
                wire = wires.pop()
                self._kept -= 1
                if not wires:
                    del self._idle[origin]
            if wire.is_open():
                return wire
            wire.close()

    def _keep(self, origin: Origin, wire: Wire) -> None:
        old: list[Wire] = []
        wire.idle_since_s = time.monotonic()
        with self._lock:
            if self._kept >= MOST_IDLE:
                old = self._oldest(wire.idle_since_s - IDLE_S)
            if self._kept >= MOST_IDLE:
                old.append(wire)
            else:
                self._idle.setdefault(origin, deque()).append(wire)
                self._kept += 1
        for one in old:
            one.close()

    def _oldest(self, before_s: float) -> list[Wire]:
        """Take out what has been kept since before this time."""
        old: list[Wire] = []
        for origin, wires in list(self._idle.items()):
            while wires and wires[0].idle_since_s < before_s:
                old.append(wires.popleft())
            if not wires:
                del self._idle[origin]
        self._kept -= len(old)
        return old


class _Stale(Exception):  # noqa: N818 - it names what a kept connection is
    """A kept connection was closed by the other side before it answered anything."""


def _close_all(idle: Mapping[Origin, Iterable[Wire]]) -> None:
    for wires in idle.values():
        for wire in wires:
            wire.close()


def _context(ca_file: str | None, *, verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _request(origin: Origin, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> bytes:
    target = parts.path or "/"
    if parts.query:
        target += f"?{parts.query}"
    lines = [
        f"POST {quote(target, safe=_URL_SAFE)} HTTP/1.1",
        f"Host: {origin.header}",
        *(f"{name}: {value}" for name, value in headers.items()),
        f"Content-Length: {len(body)}",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body


def _failure(error: BaseException, wire: Wire, limits: Limits) -> BaseException:
    """Give what to raise for an attempt over a connection; its reason has no secrets."""
    was_closed = isinstance(error, ConnectionError | ssl.SSLEOFError)
    if was_closed and wire.uses > 1 and not wire.received:
        return _Stale()
    match error:
        case TimeoutError():
            if wire.is_over():
                return DeliveryFailed(f"no whole answer within {limits.attempt_s:g} s")
            return DeliveryFailed("no answer in time")
        case OSError():
            return DeliveryFailed(f"the connection broke ({type(error).__name__})")
        case http.client.HTTPException() | ValueError():
            return DeliveryFailed(f"the answer is not HTTP ({type(error).__name__})")
    return error


def _tls_failure(error: BaseException) -> BaseException:
    match error:
        case ssl.SSLCertVerificationError():
            return DeliveryFailed(
                f"TLS failed: the certificate is not valid: {error.verify_message}"
            )
        case TimeoutError():
            return DeliveryFailed("no connection in time")
        case ssl.SSLError():
            return DeliveryFailed(f"TLS failed ({error.reason or type(error).__name__})")
        case OSError() | ValueError():
            return DeliveryFailed(f"TLS failed ({type(error).__name__})")
    return error
