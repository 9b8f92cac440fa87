# SPDX-License-Identifier: Apache-2.0
"""The server directory against a real HTTP server that answers as Nova's API does.

The server is a stand-in; the directory meets a real Nova in the lab's tests.
"""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from keystoneauth1 import adapter, noauth, session

from thermostat.agent.pollsters import _nova
from thermostat.agent.pollsters._nova import ServerDirectory


class Nova:
    def __init__(self) -> None:
        self.servers: dict[str, dict] = {}
        self.hidden: set[str] = set()
        """Servers that the list leaves out, as those of another host."""
        self.requests: list[str] = []
        self.failing = False
        self.delay_s = 0.0
        nova = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nova.requests.append(self.path)
                time.sleep(nova.delay_s)
                status, body = nova.answer(self.path)
                encoded = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass  # the client has gone

        self.http = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def add(self, uuid: str, **metadata: str) -> None:
        self.servers[uuid] = {"id": uuid, "name": f"name-{uuid}", "metadata": metadata}

    def answer(self, path: str) -> tuple[int, dict]:
        if self.failing:
            return 503, {}
        url = urlsplit(path)
        if url.path != "/servers/detail":
            uuid = url.path.removeprefix("/servers/")
            if uuid not in self.servers:
                return 404, {"itemNotFound": {}}
            return 200, {"server": self.servers[uuid]}
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        assert (query["all_tenants"], query["host"]) == ("1", "compute-1")
        listed = sorted(set(self.servers) - self.hidden)
        rest = [uuid for uuid in listed if uuid > query.get("marker", "")]
        limit = int(query["limit"])
        body = {"servers": [self.servers[uuid] for uuid in rest[:limit]]}
        if len(rest) > limit:
            body["servers_links"] = [{"rel": "next", "href": "…"}]
        return 200, body


@pytest.fixture
def nova():
    nova = Nova()
    yield nova
    nova.http.shutdown()
    nova.http.server_close()


@pytest.fixture
def make_directory(nova):
    directories = []

    def make(refresh_s: float = 300) -> ServerDirectory:
        client = adapter.Adapter(
            session.Session(auth=noauth.NoAuth()), endpoint_override=nova.url, raise_exc=False
        )
        directories.append(ServerDirectory(client, "compute-1", refresh_s))
        return directories[-1]

    yield make
    for directory in directories:
        directory.close()


def groups(found) -> dict[str, dict]:
    return {uuid: dict(server.user_metadata) for uuid, server in found.items()}


def test_known_servers_cost_no_request(nova, make_directory):
    nova.add("a", **{"metering.server_group": "grp"})
    nova.add("b")
    directory = make_directory()
    for _ in range(5):
        assert groups(directory.find(["a", "b"], 5)) == {"a": {"server_group": "grp"}, "b": {}}
    assert len(nova.requests) == 1


def test_a_new_server_is_looked_up_at_once(nova, make_directory):
    nova.add("a")
    directory = make_directory()
    directory.find(["a"], 5)
    nova.add("b", **{"metering.server_group": "grp"})
    assert groups(directory.find(["a", "b"], 5))["b"] == {"server_group": "grp"}
    assert nova.requests[1:] == ["/servers/b"]


def test_a_server_that_the_host_filter_hides_is_found_by_its_id(nova, make_directory):
    nova.add("a", **{"metering.server_group": "grp"})
    nova.hidden = {"a"}
    assert groups(make_directory().find(["a"], 5)) == {"a": {"server_group": "grp"}}


def test_a_server_that_nova_does_not_know_is_not_asked_for_each_time(nova, make_directory):
    directory = make_directory()
    for _ in range(5):
        assert directory.find(["gone"], 5) == {}
    assert len(nova.requests) == 2


def test_many_servers_come_page_by_page(nova, make_directory, monkeypatch):
    monkeypatch.setattr(_nova, "PAGE_SIZE", 10)
    uuids = [f"{number:03d}" for number in range(35)]
    for uuid in uuids:
        nova.add(uuid)
    directory = make_directory()
    assert set(directory.find(uuids, 5)) == set(uuids)
    assert len(nova.requests) == 4


def test_changed_metadata_is_seen_at_the_next_refresh(nova, make_directory):
    nova.add("a", **{"metering.server_group": "old"})
    directory = make_directory(refresh_s=0.2)
    directory.find(["a"], 5)
    nova.add("a", **{"metering.server_group": "new"})
    deadline = time.monotonic() + 5
    while groups(directory.find(["a"], 5)) != {"a": {"server_group": "new"}}:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_while_nova_fails_what_is_known_stays_in_use(nova, make_directory):
    nova.add("a", **{"metering.server_group": "grp"})
    directory = make_directory(refresh_s=0.1)
    directory.find(["a"], 5)
    nova.failing = True
    time.sleep(0.3)
    nova.add("b", **{"metering.server_group": "grp"})
    for _ in range(3):
        assert groups(directory.find(["a", "b"], 5)) == {"a": {"server_group": "grp"}}
    nova.failing = False
    assert groups(directory.find(["a", "b"], 5)) == {}.fromkeys(("a", "b"), {"server_group": "grp"})


def test_a_slow_nova_delays_a_poll_no_longer_than_agreed(nova, make_directory):
    nova.add("a", **{"metering.server_group": "grp"})
    nova.delay_s = 3.0
    directory = make_directory()
    started = time.monotonic()
    assert directory.find(["a"], 0.2) == {}
    assert time.monotonic() - started < 1.5
    assert groups(directory.find(["a"], 20)) == {"a": {"server_group": "grp"}}


def test_a_nova_that_is_away_delays_nothing(nova, make_directory):
    nova.http.shutdown()
    nova.http.server_close()
    started = time.monotonic()
    directory = make_directory()
    for _ in range(3):
        assert directory.find(["a"], 2) == {}
    assert time.monotonic() - started < 2
