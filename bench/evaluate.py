# SPDX-License-Identifier: Apache-2.0
"""How many resident alarms the engine judges a second of one core.

A million alarms, each over a series of its own: five one-minute datapoints in ten-second steps. All
of them get a sample and are judged; none changes its state.
"""

from collections.abc import Iterator
from typing import Any

from bench._engine import in_a_process

ALARMS = 1_000_000


def run() -> Iterator[dict[str, Any]]:
    """Yield alarms judged a second, and samples taken into their windows a second."""
    rounds = in_a_process(ALARMS)
    yield {"name": "evaluate_alarms", "value": round(judged_per_s()), "unit": "alarms/s"}
    yield {
        "name": "ingest_windows",
        "value": round(ALARMS / rounds.ingest_s),
        "unit": "samples/s",
    }


def judged_per_s() -> float:
    """Give alarms judged per second of one core, measured once a run."""
    return ALARMS / in_a_process(ALARMS).judge_s
