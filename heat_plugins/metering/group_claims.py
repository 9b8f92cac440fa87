# SPDX-License-Identifier: Apache-2.0
"""Who changes a group's size now, and when it last grew and shrank: kept in the group's metadata.

Heat's groups note there that they are being scaled, but they look and write in two steps, so that
of two signals at once both may go on. A policy of ours claims the group in one step first.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from heat.common import exception
from heat.engine import resource

BUSY = "scaling_in_progress"
COOLDOWN_END = "cooldown_end"
"""Heat's own two: whether the group is being scaled, and until when it is to be left alone then."""
CLAIM = "metering_scaling"
"""The direction in which one of our policies scales the group, and since when."""
SCALED_AT = "metering_scaled_at"
"""By direction: when one of our policies last changed the group's size."""
KEYS = (BUSY, COOLDOWN_END, CLAIM, SCALED_AT)


def is_busy(metadata: Mapping[str, Any], longest_s: float) -> bool:
    """Tell whether somebody scales the group; a claim outlives its engine by no more than this."""
    claim = metadata.get(CLAIM)
    is_dead = claim is not None and time.time() - claim["since"] > longest_s
    return bool(metadata.get(BUSY)) and not is_dead


def cooling_until(metadata: Mapping[str, Any]) -> float:
    """Give until when the group is to be left alone, whoever asked for it; 0: nobody did."""
    (until, *_others) = metadata.get(COOLDOWN_END) or ("",)
    try:
        return datetime.fromisoformat(until).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0


def scaled_at(metadata: Mapping[str, Any]) -> dict[str, float]:
    """Give when our policies last changed the group's size, by direction.

    Heat notes the end of a scaling in one step with the group's being free again, so that nobody
    finds it free without knowing when it was scaled.
    """
    known = dict(metadata.get(SCALED_AT) or {})
    claim, ended = metadata.get(CLAIM), cooling_until(metadata)
    if claim is not None and ended > claim["since"]:
        # where the group has a cooldown of its own, Heat notes the end of that
        known[claim["direction"]] = min(ended, time.time())
    return known


@contextmanager
def claimed(group: Any, seen: Mapping[str, Any], direction: str) -> Iterator[None]:
    """Keep others from scaling a group; `seen` is the metadata after which that was decided.

    Raises NoActionRequired where somebody was quicker.
    """

    def claim(_: Any, current: Any) -> dict[str, Any]:
        current = current or {}
        if any(current.get(key) != seen.get(key) for key in KEYS):
            reason = "another signal came first"
            raise resource.NoActionRequired(res_name=group.name, reason=reason)
        return {
            **current,
            BUSY: True,
            # Heat takes metadata without it for its own of long ago, and reads a time there.
            COOLDOWN_END: current.get(COOLDOWN_END) or {"1970-01-01T00:00:00": "never"},
            CLAIM: {"direction": direction, "since": time.time()},
            SCALED_AT: scaled_at(current),
        }

    def release(_: Any, current: Any) -> dict[str, Any]:
        current = current or {}
        kept = {key: value for key, value in current.items() if key != CLAIM}
        return {**kept, BUSY: False, SCALED_AT: scaled_at(current)}

    group.metadata_set({}, claim)
    group.metadata_get()[BUSY] = False  # adjust() looks here, and then notes it itself
    try:
        yield
    finally:
        with suppress(exception.NotFound, exception.ResourceNotAvailable):  # the group is deleted
            group.metadata_set({}, release)
