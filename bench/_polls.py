# SPDX-License-Identifier: Apache-2.0
"""Agents that poll a fleet once a minute, evenly spread, and send what they measure; until killed.

usage: python -m bench._polls URL CLOCK_OFFSET_S SERIES

Prints how many seconds of polls it is behind, once a second.
"""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import urllib3
from numpy.typing import NDArray

from bench._dataset import BASE_US, polled_at
from bench._fleet import METERS, PERIOD_S, US_PER_S, samples
from thermostat.samples.wire import COLUMNAR_TYPE, encode_columnar

SENDERS = 4
SAMPLES_A_REQUEST = 1000


def main() -> None:
    """Send each second's polls, as early as the clock allows."""
    url, offset_s, count = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    instances = np.arange(0, count, METERS)
    second = polled_at(count)[instances]
    by_second = [instances[second == number] for number in range(PERIOD_S)]
    pool = urllib3.PoolManager(maxsize=SENDERS, retries=False)

    def send(body: bytes) -> None:
        headers = {"Content-Type": COLUMNAR_TYPE}
        while True:
            answer = pool.request("POST", f"{url}/v2/samples", body=body, headers=headers)
            if answer.status == 201:
                return
            time.sleep(float(answer.headers.get("Retry-After", 1)))

    with ThreadPoolExecutor(SENDERS) as senders:
        at_s = BASE_US // US_PER_S
        while True:
            at_s += 1
            # A minute of polls begins one second after the base.
            firsts = by_second[(at_s - BASE_US // US_PER_S - 1) % PERIOD_S]
            requests = max(1, len(firsts) * METERS // SAMPLES_A_REQUEST)
            bodies = [_poll(part, at_s * US_PER_S) for part in np.array_split(firsts, requests)]
            ahead_s = at_s - (time.time() + offset_s)
            print(round(max(0.0, -ahead_s), 1), flush=True)
            time.sleep(max(0.0, ahead_s))
            list(senders.map(send, bodies))


def _poll(firsts: NDArray[np.int64], at_us: int) -> bytes:
    """Give the request with all meters of some instances, each named by its first series."""
    return encode_columnar(
        [one for first in firsts.tolist() for one in samples(range(first, first + METERS), at_us)]
    )


if __name__ == "__main__":
    main()
