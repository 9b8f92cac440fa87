# SPDX-License-Identifier: Apache-2.0
"""Which actions an alarm may have."""

from collections.abc import Callable, Collection, Sequence
from urllib.parse import urlsplit

import falcon
from msgspec.structs import replace
from oslo_config import cfg

from thermostat.alarms.lending import TRUST_PREFIX, is_of_a_trust
from thermostat.alarms.model import ACTION_FIELDS, Alarm, State
from thermostat.api.errors import bad_field
from thermostat.db.grouping import group_wait_s
from thermostat.notify import queue_urls
from thermostat.notify.egress import PORTS, Egress, TargetRefused
from thermostat.redaction import HIDDEN, is_hidden, restored

ADMIN_SCHEMES = frozenset({"log", "test"})
HOSTLESS_SCHEMES = ADMIN_SCHEMES | queue_urls.SCHEMES | {"trust+heat"}
"""They find their target without a URL."""
SUBSCRIBER_SCHEMES = frozenset(PORTS)
"""What Zaqar may be told to call: to a `trust+` URL it would take a token of the server's user."""
MAX_URL = 4096
NO_KEYSTONE = ", which needs Keystone, and this server runs without Keystone"
OPTS = [
    cfg.IntOpt(
        "alarm_max_actions",
        default=-1,
        help="Actions that an alarm may have for each of its states; 0 or less: no limit beyond "
        "the 100 that there is always.",
    ),
]


def check_actions(
    alarm: Alarm,
    schemes: Collection[str],
    *,
    is_admin: Callable[[], bool],
    egress: Egress,
    most: int = -1,
) -> None:
    """Raise the 400 or 401 that names the field unless all of the alarm's actions can be called.

    It may have `most` for each state if that is above 0.
    """
    for state in State:
        field = f"{state.value.replace(' ', '_')}_actions"
        if 0 < most < len(alarm.actions(state)):
            raise bad_field(field, f"{field} count exceeds maximum value {most}")
        for action in alarm.actions(state):
            _check(field, action, schemes, is_admin=is_admin)
            _check_target(field, action, egress)
            for subscriber in _subscribers(field, action):
                _check_subscriber(field, subscriber, schemes, is_admin=is_admin)
                _check_target(field, subscriber, egress)


def with_secrets(alarm: Alarm, known: Alarm | None) -> Alarm:
    """Put the known alarm's secrets back into URLs that were shown without them.

    Clients send back what they have read. Raises the 400 where the known alarm has no such URL.
    """
    others = [] if known is None else [url for state in State for url in known.actions(state)]
    for field in ACTION_FIELDS:
        urls = getattr(alarm, field)
        if any(map(is_hidden, urls)):
            before = () if known is None else getattr(known, field)
            try:
                alarm = replace(alarm, **{field: restored(urls, before, others)})
            except ValueError as error:
                raise bad_field(
                    field,
                    f"{error} has {HIDDEN} where a secret is to stand, and the alarm has no such "
                    "URL: send it whole",
                ) from None
    return alarm


def without_trusts(schemes: Collection[str]) -> frozenset[str]:
    """Give those of these schemes that work without Keystone."""
    return frozenset(scheme for scheme in schemes if not _needs_keystone(scheme))


def _needs_keystone(scheme: str) -> bool:
    return is_of_a_trust(scheme) or scheme in queue_urls.SCHEMES


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
    scheme = action.partition(":")[0][:50]  # as it was written: who calls it looks for it so
    if scheme not in schemes:
        known = ", ".join(sorted(schemes))
        why = (
            NO_KEYSTONE
            if _needs_keystone(scheme) and not any(map(_needs_keystone, schemes))
            else ""
        )
        raise bad_field(field, f"Unsupported action scheme {scheme!r}{why}: use one of {known}")
    if scheme in ADMIN_SCHEMES and not is_admin():
        raise falcon.HTTPUnauthorized(  # Aodh's status and words
            description=f"{field}: You are not authorized to create action: {action:.100}"
        )
    if not host and scheme not in HOSTLESS_SCHEMES:
        raise bad_field(field, "a URL has no host")
    if parts.username is not None or parts.password is not None:
        raise bad_field(field, "a URL has a user name or password in it")
    try:
        group_wait_s(action)
    except ValueError as error:
        raise bad_field(field, str(error)) from error


def _check_target(field: str, action: str, egress: Egress) -> None:
    """Raise the 400 where the URL itself shows that its target may not be called."""
    parts = urlsplit(action)
    scheme = parts.scheme.removeprefix(TRUST_PREFIX)
    if scheme not in PORTS:
        return
    try:
        egress.check_url(scheme, parts.hostname or "", parts.port)
    except TargetRefused as error:
        raise bad_field(field, f"a URL leads to a target that is not allowed: {error}") from None


def _subscribers(field: str, action: str) -> Sequence[str]:
    """Give the URLs that Zaqar is to call for this action; what the action says is checked."""
    scheme = action.partition(":")[0]
    try:
        if scheme == queue_urls.TENANT_QUEUE:
            queue_urls.queue_name(action)
        return queue_urls.topic(action).subscribers if scheme == queue_urls.TOPIC else ()
    except ValueError as error:
        raise bad_field(field, f"a {scheme} URL is invalid: {error}") from error


def _check_subscriber(
    field: str, subscriber: str, schemes: Collection[str], *, is_admin: Callable[[], bool]
) -> None:
    """Check it as an action, of which it may have fewer schemes."""
    allowed = SUBSCRIBER_SCHEMES.intersection(schemes)
    if subscriber.partition(":")[0] not in allowed:
        known = " or ".join(sorted(allowed)) or "none: this server allows neither http nor https"
        raise bad_field(field, f"the scheme of a subscriber in a zaqar URL must be {known}")
    _check(field, subscriber, allowed, is_admin=is_admin)
