# SPDX-License-Identifier: Apache-2.0
"""How time and memory grow from a thousand alarms and series to a million.

The exponent is the slope of a straight line through the logarithms: 1 is growth in proportion. Time
is what one round costs: a sample for every alarm, and its judgement. Memory is what the process has
beyond one with no alarms.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bench._engine import in_a_process

SIZES = (1_000, 10_000, 100_000, 1_000_000)


def run() -> Iterator[dict[str, Any]]:
    """Yield time and memory of each size, and the two exponents."""
    empty_bytes = in_a_process(1).resident_bytes
    rounds = [in_a_process(size) for size in SIZES]
    seconds = [one.ingest_s + one.judge_s for one in rounds]
    sizes_bytes = [float(one.resident_bytes - empty_bytes) for one in rounds]
    for size, time_s, size_bytes in zip(SIZES, seconds, sizes_bytes, strict=True):
        yield {"name": f"growth_round_{size}", "value": round(time_s, 5), "unit": "s"}
        yield {"name": f"growth_memory_{size}", "value": round(size_bytes), "unit": "bytes"}
    yield {"name": "growth_exponent", "value": _exponent(seconds), "unit": "of time"}
    yield {"name": "growth_exponent_memory", "value": _exponent(sizes_bytes), "unit": "of memory"}


def _exponent(costs: Sequence[float]) -> float:
    """Give the slope of least squares in logarithms; a line's is 1."""
    slope, _ = np.polyfit([math.log(size) for size in SIZES], np.log(costs), 1)
    return round(float(slope), 3)
