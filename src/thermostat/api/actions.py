# SPDX-License-Identifier: Apache-2.0
"""Which actions an alarm may have."""

from collections.abc import Callable, Collection
from urllib.parse import urlsplit

import falcon

from thermostat.alarms.model import Alarm, State
from thermostat.api.errors import bad_field

ADMIN_SCHEMES = frozenset({"log", "test"})
TRUST_PREFIX = "trust+"
MAX_URL = 4096


def check_actions(alarm: Alarm, schemes: Collection[str], *, is_admin: Callable[[], bool]) -> None:
    """Raise the 400 or 403 that names the field unless all of the alarm's actions can be called."""
    for state in State:
        field = f"{state.value.replace(' ', '_')}_actions"
        for action in alarm.actions(state):
            _check(field, action, schemes, is_admin=is_admin)


def trust_actions(alarm: Alarm) -> frozenset[str]:
    """Give the alarm's actions that are called with a trust."""
    return frozenset(
        action
        for state in State
        for action in alarm.actions(state)
        if action.startswith(TRUST_PREFIX)
    )


def _check(
    field: str, action: str, schemes: Collection[str], *, is_admin: Callable[[], bool]
) -> None:
    if len(action) > MAX_URL:
        raise bad_field(field, f"a URL is longer than {MAX_URL} characters")
    if not action.isprintable() or " " in action:
        raise bad_field(field, "a URL has spaces or control characters in it")
    try:
        parts = urlsplit(action)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise bad_field(field, f"a URL is invalid: {error}") from error
    if parts.scheme not in schemes:
        known = ", ".join(sorted(schemes))
        raise bad_field(field, f"Unsupported action scheme {parts.scheme!r}: use one of {known}")
    if parts.scheme in ADMIN_SCHEMES and not is_admin():
        raise falcon.HTTPForbidden(
            description=f"{field}: actions of scheme {parts.scheme!r} are for administrators"
        )
    if not host and parts.scheme not in ADMIN_SCHEMES:
        raise bad_field(field, "a URL has no host")
    if parts.username is not None or parts.password is not None:
        raise bad_field(field, "a URL has a user name or password in it")
