# SPDX-License-Identifier: Apache-2.0
"""A stand-in for Neutron: answers that there are no networks, ports or security groups.

It has one subnet, `lab-subnet`, by name only: Heat asks for the one that a load balancer is in.

usage: neutron_stand_in.py HOST:PORT

Real Neutron needs a network back end that this lab cannot have (OVN or bridges, namespaces,
RabbitMQ). Nova asks for a server's ports and security groups even when the server was created
without networks; empty lists are all that it needs. Whatever else is asked is refused with 404.
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from urllib.parse import parse_qs

import waitress

EMPTY = frozenset(("extensions", "floatingips", "networks", "ports", "quotas", "security-groups"))
SUBNETS = [
    {
        "id": "3b0c6d1e-5f0a-4c52-9d5e-6a1f0d3c7b11",
        "name": "lab-subnet",
        "network_id": "8f1a7c52-0b7e-4a43-8a6f-2d9c4e5b6a77",
        "cidr": "10.0.0.0/24",
        "ip_version": 4,
    }
]
VERSIONS = {"versions": [{"id": "v2.0", "status": "CURRENT", "links": []}], "resources": []}


def _is_wanted(subnet: dict[str, object], wanted: dict[str, list[str]]) -> bool:
    return all(subnet[key] in wanted[key] for key in ("id", "name") if key in wanted)


def application(
    environ: dict[str, str], start_response: Callable[[str, list[tuple[str, str]]], object]
) -> Iterable[bytes]:
    """Neutron v2's empty lists, as WSGI."""
    path = environ["PATH_INFO"].rstrip("/")
    kind = path.rpartition("/")[2]
    status = "200 OK"
    body: dict[str, object]
    if path in ("", "/v2.0"):
        body = VERSIONS
    elif environ["REQUEST_METHOD"] == "GET" and kind in EMPTY:
        body = {kind.replace("-", "_"): []}
    elif environ["REQUEST_METHOD"] == "GET" and kind == "subnets":
        wanted = parse_qs(environ["QUERY_STRING"])
        body = {"subnets": [one for one in SUBNETS if _is_wanted(one, wanted)]}
    else:
        status = "404 Not Found"
        body = {"NeutronError": {"type": "NotFound", "message": path, "detail": "lab stand-in"}}
    data = json.dumps(body).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
    start_response(status, headers)
    return [data]


signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
waitress.serve(application, listen=sys.argv[1], threads=2, ident=None)
