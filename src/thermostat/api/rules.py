# SPDX-License-Identifier: Apache-2.0
"""The wire form of each type of rule: one entry per type, as `<type>_rule` has it."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from thermostat.alarms.balancers import LoadBalancerRule
from thermostat.alarms.outside import OUTSIDE_TYPES
from thermostat.alarms.rules import Rule, rule_type
from thermostat.alarms.wire import encodable
from thermostat.api.composite import decode_combination, decode_composite
from thermostat.api.conversion import convert, given
from thermostat.api.errors import bad_field
from thermostat.api.events import decode_event
from thermostat.api.outside import decode_outside
from thermostat.api.threshold import decode_threshold


def _decode_load_balancer(name: str, document: Mapping[str, Any]) -> LoadBalancerRule:
    return convert(given(document, LoadBalancerRule), LoadBalancerRule, name)


DECODERS: Mapping[str, Callable[[str, Mapping[str, Any]], Rule]] = {
    "threshold": decode_threshold,
    "composite": decode_composite,
    "combination": decode_combination,
    **{kind: partial(decode_outside, kind) for kind in OUTSIDE_TYPES},
    "event": decode_event,
    "loadbalancer_member_health": _decode_load_balancer,
}
"""By type, what takes the field's name, for errors, and the JSON object."""


def decode_rule(kind: str, document: Mapping[str, Any]) -> Rule:
    """Give the rule of an alarm object, which must have the one for its type and no other."""
    decode = DECODERS.get(kind)
    if decode is None:
        raise bad_field("type", f"{kind!r} is not one of {', '.join(DECODERS)}")
    name = f"{kind}_rule"
    for other in document:
        if other.removesuffix("_rule") not in DECODERS:
            raise bad_field(other, "Unknown attribute.")
        if other != name and document[other] is not None:
            raise bad_field(other, f"{name} and {other} cannot be set at the same time")
    rule = document.get(name)
    if not isinstance(rule, dict):
        raise bad_field(name, f"{name} must be set for {kind} type alarm, as an object")
    return decode(name, rule)


def encode_rule(rule: Rule) -> dict[str, Any]:
    """Give the members of an alarm object that show its rule: `type` and `<type>_rule`."""
    kind = rule_type(rule)
    return {"type": kind, f"{kind}_rule": encodable(rule)}
