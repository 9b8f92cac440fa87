# SPDX-License-Identifier: Apache-2.0
"""Reads the statistics of all of libvirt's domains with one call, and lives with those that hang.

A QEMU process that does not answer blocks the bulk call without limit. So every call runs in a
thread of its own under a deadline. When the bulk call misses it, every domain becomes a suspect and
is read alone; those that block again are quarantined, and from then on the bulk call leaves them
out. The call that a quarantined domain blocks is left waiting: it returns when the domain answers
again, and that ends the quarantine.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

import libvirt

from thermostat.agent.errors import PollError

LOG = logging.getLogger(__name__)

STATISTICS = (
    libvirt.VIR_DOMAIN_STATS_STATE
    | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
ALONE_S = 1.0
"""How long reading one suspect may take, in seconds."""
MAX_WAITING = 8
"""Calls that may be left waiting at a time: each holds one of libvirtd's workers, by default 20."""

_T = TypeVar("_T")


class Reading(NamedTuple):
    """What libvirt told of one domain."""

    uuid: str
    domain: Any
    """The libvirt.virDomain."""
    statistics: Mapping[str, Any]
    monotonic_s: float
    """When it was read, on this host's monotonic clock."""


class DomainReader:
    """A connection to libvirt that is opened anew when it breaks; used by one thread."""

    def __init__(
        self,
        uri: str,
        timeout_s: float,
        search_s: float,
        connect: Callable[[str], Any] = libvirt.openReadOnly,
    ) -> None:
        self._uri = uri
        self._timeout_s = timeout_s
        self._search_s = search_s
        self._connect = connect
        self._connection: Any = None
        self._suspects: set[str] = set()
        self._quarantined: dict[str, Future[list[Reading]]] = {}
        self._waiting: dict[str, Future[Any]] = {}
        # libvirt would print every error to stderr too
        libvirt.registerErrorHandler(lambda *_: None, None)

    @property
    def quarantined(self) -> frozenset[str]:
        """The UUIDs of the domains that did not answer."""
        return frozenset(self._quarantined)

    def read(self) -> list[Reading]:
        """Read all active domains but the quarantined ones. Raises PollError."""
        try:
            try:
                return self._read()
            except libvirt.libvirtError as error:
                if self._connection is not None and self._alive():
                    raise
                LOG.warning("The connection to libvirt is lost (%s): opening it anew", error)
                self._abandon()
                return self._read()
        except libvirt.libvirtError as error:
            raise PollError(f"{self._uri}: {error}") from error
        except TimeoutError:
            self._abandon()
            raise PollError(f"{self._uri}: libvirt does not answer") from None

    def call(self, uuid: str, function: Callable[[], _T], timeout_s: float) -> _T:
        """Make another libvirt call about a domain under a deadline. Raises PollError.

        A domain has one such call waiting at most, and all together have MAX_WAITING.
        """
        self._waiting = {key: call for key, call in self._waiting.items() if not call.done()}
        if uuid in self._waiting or len(self._waiting) >= MAX_WAITING:
            raise PollError(f"{self._uri}: an earlier call is still waiting for an answer")
        call = _in_thread(function)
        try:
            return call.result(timeout_s)
        except libvirt.libvirtError as error:
            raise PollError(f"{self._uri}: {error}") from error
        except TimeoutError:
            self._waiting[uuid] = call
            self._abandon()
            raise PollError(f"{self._uri}: libvirt does not answer") from None

    def close(self) -> None:
        """Close the connection, unless a call is waiting on it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(libvirt.libvirtError):
                connection.close()

    def _read(self) -> list[Reading]:
        self._end_quarantines()
        if not self._suspects and not self._quarantined:
            bulk = _in_thread(self._read_active(self._open()))
            with contextlib.suppress(TimeoutError):
                return bulk.result(self._timeout_s)
            self._suspect(None)
            return self._read_suspects()
        healthy = [
            domain
            for uuid, domain in self._list().items()
            if uuid not in self._suspects and uuid not in self._quarantined
        ]
        readings: list[Reading] = []
        if healthy:
            bulk = _in_thread(_read_listed(self._open(), healthy))
            try:
                readings = bulk.result(self._timeout_s)
            except TimeoutError:
                self._suspect(healthy)
        return readings + self._read_suspects()

    def _read_active(self, connection: Any) -> Callable[[], list[Reading]]:
        flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
        return lambda: _readings(connection.getAllDomainStats(STATISTICS, flags))

    def _suspect(self, domains: Iterable[Any] | None) -> None:
        """Suspect these domains (None: all that are active) of blocking the bulk call."""
        self._abandon()
        uuids = self._list() if domains is None else [domain.UUIDString() for domain in domains]
        self._suspects.update(uuids)
        LOG.warning(
            "libvirt's bulk call did not return within %.1f s: reading %d domains one by one",
            self._timeout_s,
            len(self._suspects),
        )

    def _read_suspects(self) -> list[Reading]:
        """Read the suspects one by one, as many as there is time for; the others stay suspects."""
        readings: list[Reading] = []
        deadline = time.monotonic() + self._search_s
        active = self._list()
        self._suspects.intersection_update(active)
        for uuid in sorted(self._suspects):
            if time.monotonic() > deadline or len(self._quarantined) >= MAX_WAITING:
                LOG.warning("%d suspected domains are left for the next poll", len(self._suspects))
                break
            if uuid not in active:
                continue
            call = _in_thread(_read_listed(self._open(), [active[uuid]]))
            self._suspects.discard(uuid)
            try:
                readings += call.result(ALONE_S)
            except TimeoutError:
                LOG.warning("Domain %s does not answer: leaving it out until it does", uuid)
                self._quarantined[uuid] = call
                self._abandon()
                active = self._list()
            except libvirt.libvirtError as error:
                LOG.warning("Domain %s cannot be read: %s", uuid, error)
        return readings

    def _end_quarantines(self) -> None:
        """Let go the domains whose waiting call has returned."""
        for uuid, call in list(self._quarantined.items()):
            if not call.done():
                continue
            del self._quarantined[uuid]
            if call.exception() is None:
                LOG.info("Domain %s answers again", uuid)
            else:
                self._suspects.add(uuid)  # libvirt gave up waiting for it, or it is gone

    def _list(self) -> dict[str, Any]:
        """Give the active domains by UUID; asks no QEMU."""
        connection = self._open()
        flags = libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE
        domains = _in_thread(lambda: connection.listAllDomains(flags)).result(self._timeout_s)
        return {domain.UUIDString(): domain for domain in domains}

    def _open(self) -> Any:
        if self._connection is None:
            self._connection = _in_thread(lambda: self._connect(self._uri)).result(self._timeout_s)
        return self._connection

    def _abandon(self) -> None:
        """Leave the connection to the call that waits on it."""
        self._connection = None

    def _alive(self) -> bool:
        try:
            return bool(self._connection.isAlive())
        except libvirt.libvirtError:
            return False


def _read_listed(connection: Any, domains: list[Any]) -> Callable[[], list[Reading]]:
    return lambda: _readings(connection.domainListGetStats(domains, STATISTICS))


def _readings(answer: list[tuple[Any, dict[str, Any]]]) -> list[Reading]:
    now_s = time.monotonic()
    return [Reading(domain.UUIDString(), domain, stats, now_s) for domain, stats in answer]


def _in_thread(function: Callable[[], _T]) -> "Future[_T]":
    """Call the function in a thread of its own, which nothing waits for at exit."""
    future: Future[_T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:  # whoever asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, name="libvirt-call", daemon=True).start()
    return future
