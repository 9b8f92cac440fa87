# SPDX-License-Identifier: Apache-2.0
"""Clients that create alarms as fast as they can, each over one connection.

usage: python -m bench._clients URL ALARMS CLIENTS

Prints {"per_s": alarms created a second}.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

from bench._keystone import TOKEN

HEADERS = {"X-Auth-Token": TOKEN, "Content-Type": "application/json"}


def body(number: int) -> bytes:
    """Give an alarm as a user would create it."""
    return json.dumps(
        {
            "name": f"busy {number}",
            "type": "threshold",
            "threshold_rule": {
                "meter_name": "cpu_util",
                "threshold": 70.0,
                "comparison_operator": "gt",
                "evaluation_periods": 3,
                "query": [{"field": "resource_id", "value": f"instance-{number}"}],
            },
            "alarm_actions": ["https://heat.example/v1/signal/up"],
        }
    ).encode()


def main() -> None:
    """Create them all."""
    url, alarms, clients = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    address = urlsplit(url).netloc
    create(address, range(clients))  # the token is validated, the server warm
    parts = [range(alarms)[first::clients] for first in range(clients)]
    threads = [threading.Thread(target=create, args=(address, part)) for part in parts]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps({"per_s": alarms / (time.perf_counter() - began)}))


def create(address: str, numbers: range) -> None:
    """Create alarms over one connection."""
    connection = http.client.HTTPConnection(address)
    for number in numbers:
        connection.request("POST", "/v2/alarms", body(number), HEADERS)
        answer = connection.getresponse()
        told = answer.read()
        if answer.status != 201:
            raise SystemExit(f"HTTP {answer.status}: {told!r}")
    connection.close()


if __name__ == "__main__":
    main()
