# SPDX-License-Identifier: Apache-2.0
"""The targets of notifications: one spelling for each host and port."""

import socket
from urllib.parse import SplitResult, urlsplit

from sqlalchemy import ColumnElement, and_, or_

from thermostat.db.tables import NOTIFICATION

PORTS = {"http": 80, "https": 443}
"""The ports that a target does not name, by the scheme of its URL without `trust+`."""
LONGEST = 255


def target_of(action: str) -> str:
    """Give the host and port of an action's URL, or its scheme where it has no host.

    However it is written: the scheme's own port, the dot at the end of a name, capitals, and the
    numbers that IPv4 addresses may be written in make no difference.
    """
    parts = urlsplit(action)
    host, port = _host_and_port(parts)
    if not host:
        return parts.scheme[:LONGEST]
    usual = PORTS.get(parts.scheme.removeprefix("trust+"))
    return _joined(host, None if port == usual else port)


def goes_to(target: str) -> ColumnElement[bool]:
    """Give the condition that a notification goes to this host and port, or host, or scheme.

    Those that an older release wrote have the spelling of their URL.
    """
    column = NOTIFICATION.c.target
    try:
        host, port = _host_and_port(urlsplit(f"//{target}"))
    except ValueError:  # brackets that are none of an IPv6 address
        return column == target
    same = or_(column == target, column == _joined(host, port))
    if port is None:
        start = f"{_joined(host, None)}:"
        return or_(same, column.startswith(start, autoescape=True)) if host else same
    schemes = [name for name, usual in PORTS.items() if usual == port]
    if not schemes:
        return same
    written = [*schemes, *(f"trust+{name}" for name in schemes)]
    return or_(same, and_(column == _joined(host, None), NOTIFICATION.c.scheme.in_(written)))


def _host_and_port(parts: SplitResult) -> tuple[str, int | None]:
    try:
        port = parts.port
        host = parts.hostname or ""
    except ValueError:  # no API takes such a URL, but a filter may be anything
        return parts.netloc.rpartition("@")[2].lower(), None
    return _usual(host), port


def _usual(host: str) -> str:
    """Give the usual spelling of a host."""
    host = host.removesuffix(".")
    if host[-1:].isdigit() or ".0x" in f".{host}":
        try:
            return socket.inet_ntoa(socket.inet_aton(host))
        except (OSError, ValueError):
            pass
    return host


def _joined(host: str, port: int | None) -> str:
    host = f"[{host}]" if ":" in host else host
    return (host if port is None else f"{host}:{port}")[:LONGEST]
