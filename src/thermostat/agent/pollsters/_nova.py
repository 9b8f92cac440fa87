# SPDX-License-Identifier: Apache-2.0
"""Nova's metadata of this host's servers, kept fresh by a thread of its own.

All of the host's servers are read now and then; one that is met for the first time is looked up at
once. While Nova does not answer, what is known stays in use.
"""

import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from keystoneauth1.adapter import Adapter
from keystoneauth1.exceptions import ClientException

from thermostat.agent.pollsters._instance import Server, parse_server

LOG = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = (3.0, 20.0)
"""Seconds to wait for a connection and for an answer."""
PAGE_SIZE = 500
LOOKUPS_AT_ONCE = 10
"""New servers that are looked up one by one; of more, the whole list is read."""
_RETRY_S = 5.0
_WAIT_WHILE_FAILING_S = 0.1


class NovaUnavailable(Exception):  # noqa: N818 - it reads as a state
    """Nova did not answer, or refused to."""


class ServerDirectory:
    """Looks up servers by UUID; `find` may be called from one thread."""

    def __init__(self, nova: Adapter, host: str, refresh_s: float) -> None:
        self._nova = nova
        self._host = host
        self._refresh_s = refresh_s
        self._changed = threading.Condition()
        self._servers: dict[str, Server | None] = {}
        self._wanted: set[str] = set()
        self._next_refresh_s = 0.0
        self._failing = False
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="nova-metadata", daemon=True)
        self._thread.start()

    def find(self, uuids: Collection[str], wait_s: float) -> Mapping[str, Server]:
        """Give the servers that are known, after waiting at most this long for new ones."""
        with self._changed:
            if any(uuid not in self._servers for uuid in uuids):
                self._wanted = {uuid for uuid in uuids if uuid not in self._servers}
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: not self._wanted, _WAIT_WHILE_FAILING_S if self._failing else wait_s
                )
            for gone in self._servers.keys() - set(uuids):
                del self._servers[gone]
            found = ((uuid, self._servers.get(uuid)) for uuid in uuids)
            return {uuid: server for uuid, server in found if server is not None}

    def close(self) -> None:
        """Let the thread end."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._closed or bool(self._wanted),
                    max(0.0, self._next_refresh_s - time.monotonic()),
                )
                if self._closed:
                    return
                wanted = set(self._wanted)
            unavailable = None
            try:
                self._update(wanted)
            except NovaUnavailable as error:
                unavailable = error
            except Exception:  # the thread must go on: metadata would stay old for ever
                LOG.exception("Reading metadata from Nova failed unexpectedly")
                self._failed()
            if unavailable is not None:  # outside the handler, or oslo.log would write it twice
                if not self._failing:
                    LOG.warning("Going on with the metadata that is known: %s", unavailable)
                self._failed()

    def _update(self, wanted: set[str]) -> None:
        """Read the whole list when that is due, and what is wanted and was not in it."""
        servers: dict[str, Server | None] = {}
        refresh = time.monotonic() >= self._next_refresh_s or len(wanted) > LOOKUPS_AT_ONCE
        if refresh:
            servers.update(self._list())
        for uuid in sorted(wanted - servers.keys()):
            servers[uuid] = self._get(uuid)
        with self._changed:
            if refresh:
                self._next_refresh_s = time.monotonic() + self._refresh_s
                # what is no longer known to Nova is asked for again when it is polled again
                self._servers = {
                    uuid: server for uuid, server in self._servers.items() if server is not None
                }
            self._servers.update(servers)
            self._wanted -= servers.keys()
            if self._failing:
                LOG.info("Nova answers again")
            self._failing = False
            self._changed.notify_all()

    def _failed(self) -> None:
        with self._changed:
            self._failing = True
            self._wanted.clear()  # the next poll asks again
            if time.monotonic() >= self._next_refresh_s:
                self._next_refresh_s = time.monotonic() + _RETRY_S
            self._changed.notify_all()

    def _list(self) -> Iterator[tuple[str, Server]]:
        """Read all servers of this host, page by page."""
        query = {"all_tenants": "1", "host": self._host, "limit": str(PAGE_SIZE)}
        while True:
            body = self._request("/servers/detail", query)
            servers = body["servers"]
            for server in servers:
                yield server["id"], parse_server(server)
            links = body.get("servers_links", [])
            if not servers or not any(link.get("rel") == "next" for link in links):
                return
            query["marker"] = servers[-1]["id"]

    def _get(self, uuid: str) -> Server | None:
        """Read one server; None where Nova does not know it."""
        body = self._request(f"/servers/{uuid}", {})
        return parse_server(body["server"]) if body else None

    def _request(self, path: str, query: Mapping[str, str]) -> Any:
        """Give the decoded answer; None for 404. Raises NovaUnavailable."""
        try:
            response = self._nova.get(path, params=query, timeout=REQUEST_TIMEOUT_S)
            if response.status_code == 404:
                return None
            if not response.ok:
                raise NovaUnavailable(f"Nova answered GET {path} with {response.status_code}")
            return response.json()
        except (ClientException, ValueError) as error:
            raise NovaUnavailable(f"Nova does not answer GET {path}: {error}") from error
