# SPDX-License-Identifier: Apache-2.0
"""Clients that create alarms as fast as they can, each over one connection.

usage: python -m bench._clients URL ALARMS CLIENTS [aodh]

Aodh's are over events: those over Gnocchi's metrics would ask a Gnocchi for each.
Prints {"per_s": alarms created a second}.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

from bench._keystone import PROJECT, TOKEN, USER

HEADERS = {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}
HEADERS_OF_AODH = {
    "X-Project-Id": PROJECT,
    "X-User-Id": USER,
    "X-Roles": "member,reader",
    "Content-Type": "application/json",
}


def body(number: int, *, of_aodh: bool) -> bytes:
    """Give an alarm as a user would create it."""
    query = [{"field": "resource_id", "value": f"instance-{number}"}]
    rule: dict[str, object] = {
        "meter_name": "cpu_util",
        "threshold": 70.0,
        "comparison_operator": "gt",
        "evaluation_periods": 3,
        "query": query,
    }
    if of_aodh:
        query[0] = {**query[0], "field": "traits.instance_id", "type": "string"}
        rule = {"event_type": "compute.instance.*", "query": query}
    kind = "event" if of_aodh else "threshold"
    return json.dumps(
        {
            "name": f"busy {number}",
            "type": kind,
            f"{kind}_rule": rule,
            "alarm_actions": ["https://heat.example/v1/signal/up"],
        }
    ).encode()


def main() -> None:
    """Create them all."""
    url, alarms, clients = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    of_aodh = sys.argv[4:] == ["aodh"]
    address = urlsplit(url).netloc
    create(address, range(clients), of_aodh=of_aodh)  # the token is validated, the server warm
    parts = [range(alarms)[first::clients] for first in range(clients)]
    threads = [
        threading.Thread(target=create, args=(address, part), kwargs={"of_aodh": of_aodh})
        for part in parts
    ]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"per_s": alarms / (time.perf_counter() - began)}))


def create(address: str, numbers: range, *, of_aodh: bool) -> None:
    """Create alarms over one connection."""
    connection = http.client.HTTPConnection(address)
    headers = HEADERS_OF_AODH if of_aodh else HEADERS
    for number in numbers:
        connection.request("POST", "/v2/alarms", body(number, of_aodh=of_aodh), headers)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 201:
            raise SystemExit(f"HTTP {answer.status}: {told!r}")
    connection.close()


if __name__ == "__main__":
    main()
