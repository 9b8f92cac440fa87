# SPDX-License-Identifier: Apache-2.0
"""Turns `matching_metadata` into the conditions of a query."""

from collections.abc import Iterator, Mapping
from typing import Any

NOVA_METERS = (
    "instance",
    "vcpus",
    "cpu",
    "memory",
    "disk.",
    "network.incoming.",
    "network.outgoing.",
)
"""How the names of the meters begin whose resources are servers."""


def conditions(meter_name: str, matching_metadata: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """Give one `field eq value` condition per key; the values become text.

    Heat's rule since 2013: whatever prefix a key is written with (`metadata.user_metadata.`,
    `metadata.metering.`, `user_metadata.`, `metering.` or none), it names a metering key, which
    stands under `user_metadata` for the meters of servers and under `metering` for all others.
    """
    prefix = "user_metadata" if meter_name.startswith(NOVA_METERS) else "metering"
    for key, value in matching_metadata.items():
        bare = key.removeprefix("metadata.")
        for written in ("user_metadata.", "metering."):
            bare = bare.removeprefix(written)
        yield {"field": f"metadata.{prefix}.{bare}", "op": "eq", "value": str(value)}
