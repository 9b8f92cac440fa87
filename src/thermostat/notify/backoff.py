# SPDX-License-Identifier: Apache-2.0
"""When to try again."""

import random
from dataclasses import dataclass

US_PER_S = 1_000_000


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with full jitter, within a deadline. All fields are in seconds."""

    base_s: float
    most_s: float
    deadline_s: float
    """From the creation of a notification to its last attempt."""

    def next_attempt_us(
        self,
        now_us: int,
        *,
        created_us: int,
        failures: int,
        retry_after_s: float,
        rng: random.Random,
    ) -> int | None:
        """Give when to try again after so many failures (≥ 1); None when the time is up.

        The delay is drawn evenly from 0 to `base · 2^(failures - 1)`, at most `most`. A longer one
        that the target asked for is kept to. What would be later than the deadline is due at it.
        """
        ceiling_s = min(self.most_s, self.base_s * 2.0 ** min(failures - 1, 60))
        delay_s = rng.uniform(0.0, ceiling_s)
        deadline_us = created_us + int(self.deadline_s * US_PER_S)
        if now_us >= deadline_us:
            return None
        return min(now_us + int(max(delay_s, retry_after_s) * US_PER_S), deadline_us)
