# SPDX-License-Identifier: Apache-2.0
"""What the URLs of queues say: `zaqar://?topic=…&subscriber=…&ttl=…`, `trust+zaqar://?queue_name=…`.

The forms are Aodh's. A `&` or a `#` within a subscriber's URL is written `%26` or `%23`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

TOPIC = "zaqar"
TENANT_QUEUE = "trust+zaqar"
SCHEMES = frozenset({TOPIC, TENANT_QUEUE})
MAX_NAME = 64
"""The longest name that Zaqar lets a queue have."""
MAX_TOPIC = MAX_NAME - len("00000000-0000-0000-0000-000000000000-")
"""The alarm's id comes before the topic."""
MAX_SUBSCRIBERS = 10
USUAL_TTL_S = 3600
MIN_TTL_S = 60
"""Zaqar's own limit."""
MAX_TTL_S = 31_536_000
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Topic:
    """A queue of the alarm's own, and who hears what is put into it."""

    name: str
    """1 to MAX_TOPIC characters."""
    subscribers: Sequence[str] = ()
    """URLs that Zaqar calls, at most MAX_SUBSCRIBERS."""
    ttl_s: int = USUAL_TTL_S
    """How long Zaqar keeps a subscription, MIN_TTL_S to MAX_TTL_S seconds."""

    def queue_of(self, alarm_id: str) -> str:
        """Give the queue's name."""
        return f"{alarm_id}-{self.name}"


def topic(url: str) -> Topic:
    """Read a `zaqar` URL. Raises ValueError with what is wrong with it."""
    query = _query(url, {"topic", "subscriber", "ttl"})
    subscribers = tuple(dict.fromkeys(query.get("subscriber", ())))
    if len(subscribers) > MAX_SUBSCRIBERS:
        raise ValueError(f"more than {MAX_SUBSCRIBERS} subscribers")
    return Topic(_name(query, "topic", MAX_TOPIC), subscribers, _ttl_s(query))


def queue_name(url: str) -> str:
    """Read a `trust+zaqar` URL. Raises ValueError with what is wrong with it."""
    return _name(_query(url, {"queue_name"}), "queue_name", MAX_NAME)


def _query(url: str, known: set[str]) -> Mapping[str, Sequence[str]]:
    parts = urlsplit(url)
    if parts.netloc or parts.path.strip("/") or parts.fragment:
        raise ValueError("only a query may follow its ://")
    query = parse_qs(parts.query, keep_blank_values=True)
    for name in query:
        if name not in known:
            raise ValueError(f"unknown parameter {name[:50]!r}: use {', '.join(sorted(known))}")
    return query


def _only(query: Mapping[str, Sequence[str]], name: str) -> str | None:
    values = query.get(name, ())
    if len(values) > 1:
        raise ValueError(f"{name} is there twice")
    return values[0] if values else None


def _name(query: Mapping[str, Sequence[str]], parameter: str, most: int) -> str:
    name = _only(query, parameter)
    if not name:
        raise ValueError(f"{parameter} is missing")
    if len(name) > most or not _NAME.fullmatch(name):
        raise ValueError(f"{parameter} must be 1 to {most} letters, digits, '_', '-' and '.'")
    return name


def _ttl_s(query: Mapping[str, Sequence[str]]) -> int:
    text = _only(query, "ttl")
    if text is None:
        return USUAL_TTL_S
    ttl_s = int(text) if re.fullmatch(r"[0-9]{1,10}", text) else 0
    if not MIN_TTL_S <= ttl_s <= MAX_TTL_S:
        raise ValueError(f"ttl must be {MIN_TTL_S} to {MAX_TTL_S} seconds")
    return ttl_s
