# SPDX-License-Identifier: Apache-2.0
"""An event: what a service has told about one thing that happened, in Ceilometer's form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

TRAITS = "traits."
TEXT, INTEGER, FLOAT, DATETIME = 1, 2, 3, 4
"""How Ceilometer numbers the types of traits."""
MAX_NAME = 255
"""Characters of an event's id and type: they stand in reasons."""
_CARRIERS = frozenset({"message_signature", "raw"})
"""What is for those who carry events only: `raw` is the notification with its sender's context."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


class UnusableEvent(ValueError):  # noqa: N818 - it reads as a state
    """A message is not an event; the text says why, without anything that the message holds."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    message_id: str
    event_type: str
    project_id: str
    """The project that it is about; empty: none, and then it concerns no alarm."""
    traits: Mapping[str, Any]
    """What is known of it, by name."""
    document: Mapping[str, Any]
    """The whole but for `raw` and the signature, as Aodh's `reason_data` has it."""

    def value(self, field: str) -> Any | None:
        """Give what stands in `traits.<name>`, or at a dotted path of the document; None: nothing.

        A trait's name may have dots.
        """
        if field.startswith(TRAITS):
            return self.traits.get(field.removeprefix(TRAITS))
        found: Any = self.document
        for part in field.split("."):
            if not isinstance(found, Mapping):
                return None
            found = found.get(part)
        return found

    @property
    def generated_us(self) -> int | None:
        """When it happened, in microseconds since the epoch; None if it does not say."""
        try:
            return (parse_time(self.document.get("generated")) - _EPOCH) // _US
        except ValueError:
            return None


def parse_time(value: Any) -> datetime:
    """Give the time of an ISO 8601 text; UTC where it has no offset. Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError("not a text")  # noqa: TRY004 - callers know one way to fail
    time = datetime.fromisoformat(value.strip())
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def event_of(document: Mapping[str, Any]) -> Event:
    """Give the event of a document in Ceilometer's form. Raises UnusableEvent.

    Its project is its last trait `project_id` or `tenant_id`, as for Aodh. A trait that is not a
    list of name, type and value is left out.
    """
    traits: dict[str, Any] = {}
    project_id = ""
    for trait in _traits(document):
        name, _, value = trait
        traits[name] = value
        if name in ("project_id", "tenant_id"):
            project_id = "" if value is None else str(value)
    return Event(
        _name(document, "message_id"),
        _name(document, "event_type"),
        project_id,
        traits,
        {name: value for name, value in document.items() if name not in _CARRIERS},
    )


def _traits(document: Mapping[str, Any]) -> Sequence[Any]:
    traits = document.get("traits") or ()
    if not isinstance(traits, list | tuple):
        raise UnusableEvent("its traits are not a list")
    return [
        trait
        for trait in traits
        if isinstance(trait, list | tuple) and len(trait) == 3 and isinstance(trait[0], str)
    ]


def _name(document: Mapping[str, Any], field: str) -> str:
    value = document.get(field)
    if not isinstance(value, str) or not value:
        raise UnusableEvent(f"it has no {field}")
    if len(value) > MAX_NAME or not value.isprintable():
        raise UnusableEvent(f"its {field} is too long, or has control characters")
    return value
