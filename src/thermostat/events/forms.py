# SPDX-License-Identifier: Apache-2.0
"""The two forms that events come in: Ceilometer's, and the notifications of any service.

Ceilometer's publisher puts lists of events into its messages, with traits that its operator
defined. A plain notification has no traits: they are made of its payload, whose nested names
become dotted ones, and of the few fields of its context that say whom it concerns.
"""

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from thermostat.events.model import FLOAT, INTEGER, TEXT, Event, UnusableEvent, event_of

MAX_TRAITS = 1000
"""What of a payload goes beyond this is left out."""
MAX_DEPTH = 20
_VERSIONED = "_object.data"
"""What the key of a versioned object's fields ends in, such as `nova_object.data`."""
_PROJECT_FIELDS = ("tenant_id", "project_id", "initiator.project_id")
"""Where services put the project of what the notification is about."""
_IMAGES = "image."
"""Glance's notifications, which call that project the owner."""


def documents_of(payload: Any) -> Sequence[Mapping[str, Any]]:
    """Give the documents of the events in a message of Ceilometer's publisher, as they are.

    Raises UnusableEvent where there is something else.
    """
    documents = payload if isinstance(payload, list) else [payload]
    if not all(isinstance(document, dict) for document in documents):
        raise UnusableEvent("its payload is not a list of events")
    return documents


class Notifications:
    """Makes events of plain notifications."""

    def __init__(self, hidden: Sequence[str] = ()) -> None:
        """Leave out traits whose names match one of these patterns, in any case of letters."""
        patterns = "|".join(fnmatch.translate(pattern.lower()) for pattern in hidden)
        matches = re.compile(patterns).match if patterns else lambda _: None
        self._is_hidden = lru_cache(maxsize=10_000)(lambda name: bool(matches(name.lower())))

    def event(self, message: Mapping[str, Any], priority: str) -> Event:
        """Give the event of a notification, as oslo.messaging's listener has it.

        Raises UnusableEvent.
        """
        payload = message.get("payload")
        flat: dict[str, Any] = {}
        if isinstance(payload, dict):
            for name, value in _flat(payload, "", MAX_DEPTH):
                if len(flat) == MAX_TRAITS:
                    break
                if not self._is_hidden(name):
                    flat[name] = value
        traits = {**flat, **_known(message, flat)}
        metadata = message.get("metadata") or {}
        return event_of(
            {
                "message_id": metadata.get("message_id"),
                "event_type": message.get("event_type"),
                "generated": metadata.get("timestamp"),
                "priority": priority,
                "publisher_id": message.get("publisher_id"),
                "traits": [[name, _type(value), value] for name, value in traits.items()],
            }
        )


def _known(message: Mapping[str, Any], flat: Mapping[str, Any]) -> Mapping[str, str]:
    """Give the traits that Ceilometer gives every event."""
    context = message.get("ctxt") or {}
    fields = ("owner",) if str(message.get("event_type")).startswith(_IMAGES) else _PROJECT_FIELDS
    project_id = _owner(flat, fields) or _first(context, "project_id", "tenant_id", "tenant")
    known = {
        "service": message.get("publisher_id"),
        "request_id": _first(flat, "request_id") or _first(context, "request_id"),
        "user_id": _first(flat, "user_id") or _first(context, "user_id", "user"),
        "project_id": project_id,
        "tenant_id": project_id,
    }
    return {name: value for name, value in known.items() if isinstance(value, str) and value}


def _owner(flat: Mapping[str, Any], fields: Sequence[str]) -> str | None:
    """Give the project that the payload names: itself, or the one thing in it (`port.tenant_id`).

    Things of several projects have none.
    """
    own = _first(flat, *fields)
    if own:
        return own
    within = {
        value
        for name, value in flat.items()
        if name.count(".") == 1 and name.endswith((".tenant_id", ".project_id"))
    }
    owner = within.pop() if len(within) == 1 else None
    return owner if isinstance(owner, str) else None


def _first(values: Mapping[str, Any], *names: str) -> str | None:
    found = (values.get(name) for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


def _flat(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    """Give the numbers, texts and booleans within, each with its dotted name."""
    if isinstance(value, dict):
        items: Iterator[tuple[str, Any]] = iter(_unwrapped(value).items())
    elif isinstance(value, list):
        items = ((str(position), item) for position, item in enumerate(value))
    else:
        if value is not None:
            yield name, value
        return
    if depth:
        for key, item in items:
            yield from _flat(item, f"{name}.{key}" if name else key, depth - 1)


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a versioned object, or the mapping itself."""
    for key, inner in value.items():
        if key.endswith(_VERSIONED) and isinstance(inner, dict):
            return inner
    return value


def _type(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return TEXT
    return INTEGER if isinstance(value, int) else FLOAT
