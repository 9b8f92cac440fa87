# SPDX-License-Identifier: Apache-2.0
"""`zaqar://` and `trust+zaqar://`: put the notification into a queue of Zaqar's.

`trust+zaqar` puts it into a queue of the alarm owner's project, in the owner's name. `zaqar` puts
it into a queue of the server's own project that belongs to the alarm, and subscribes the URL's
subscribers to it; Zaqar calls them.

A message is Aodh's body with the notification's id, by which whoever reads it knows a repetition.
"""

import time
import uuid
from collections.abc import Callable, Collection
from typing import Any, TypeVar
from urllib.parse import urlsplit

import msgspec
from oslo_config import cfg

from thermostat.db.outbox import Notification
from thermostat.endpoints import endpoint_options
from thermostat.notify import queue_urls
from thermostat.notify.egress import PORTS, Egress, TargetRefused
from thermostat.notify.opts import GROUP as NOTIFIER
from thermostat.notify.opts import OPTS as NOTIFIER_OPTS
from thermostat.notify.transports.base import DeliveryFailed, no_token
from thermostat.notify.transports.openstack import Service
from thermostat.trusts import TrustError, Trusts

T = TypeVar("T")
GROUP = "zaqar"
OPTS = endpoint_options("messaging")
CLIENT_ID = str(uuid.uuid5(uuid.NAMESPACE_URL, "thermostat"))
"""By this Zaqar knows a client, to hide from it what it has posted itself: we read nothing."""
FINAL = frozenset({400, 403, 413})
"""Answers of Zaqar that another attempt would not change."""
ALREADY_SUBSCRIBED = 409
"""The answer where there is such a subscription already."""


class ZaqarTransport:
    """`zaqar://`: a queue of the alarm's, with subscribers."""

    def __init__(self, conf: cfg.ConfigOpts, trusts: Trusts | None = None) -> None:
        _register(conf)
        options = conf[NOTIFIER]
        self._trusts = trusts or Trusts(conf)
        self._egress = Egress.of(conf)
        self._schemes = frozenset(options.allowed_schemes or PORTS)
        self._timeouts_s = (options.connect_timeout, options.read_timeout)
        self._attempt_s: float = options.attempt_timeout

    def send(self, notification: Notification, _now_us: int) -> None:
        """Subscribe the subscribers, whose time begins anew where it is over, and post."""
        ends_s = time.monotonic() + self._attempt_s
        topic = _read(queue_urls.topic, notification.action)
        queue = topic.queue_of(notification.alarm_id)
        for subscriber in topic.subscribers:
            self._check(subscriber)
        try:
            client = self._trusts.own_client(GROUP)
        except TrustError as error:
            raise DeliveryFailed(str(error)) from None
        zaqar = Service("Zaqar", client, self._timeouts_s, FINAL, ends_s, "the server's user")
        for subscriber in topic.subscribers:
            wanted = {"subscriber": subscriber, "ttl": topic.ttl_s, "options": {}}
            _post(zaqar, queue, "subscriptions", wanted, fine=(ALREADY_SUBSCRIBED,))
        _post(zaqar, queue, "messages", _messages(notification))

    def _check(self, subscriber: str) -> None:
        """Raise DeliveryFailed where the rules for targets, which may be new, refuse it.

        Which address its name has is not seen here: it is Zaqar that calls it.
        """
        parts = urlsplit(subscriber)
        if parts.scheme not in self._schemes.intersection(PORTS):
            raise DeliveryFailed("the scheme of a subscriber is refused", final=True)
        try:
            self._egress.check_url(parts.scheme, parts.hostname or "", parts.port)
        except (TargetRefused, ValueError) as error:
            raise DeliveryFailed(f"a subscriber is refused: {error}", final=True) from None


class TrustZaqarTransport:
    """`trust+zaqar://`: a queue of the alarm owner's project."""

    def __init__(self, conf: cfg.ConfigOpts, trusts: Trusts | None = None) -> None:
        _register(conf)
        self._trusts = trusts or Trusts(conf)
        self._timeouts_s = (conf[NOTIFIER].connect_timeout, conf[NOTIFIER].read_timeout)

    def send(self, notification: Notification, _now_us: int) -> None:
        """Post it. Zaqar makes the queue if it is not there."""
        trust_id = notification.trust_id
        if trust_id is None:
            raise DeliveryFailed("the alarm has no trust", final=True)
        queue = _read(queue_urls.queue_name, notification.action)
        try:
            self._trusts.token(trust_id)
            client = self._trusts.client(trust_id, GROUP)
        except TrustError as error:
            raise no_token(error) from None
        zaqar = Service("Zaqar", client, self._timeouts_s, FINAL)
        _post(zaqar, queue, "messages", _messages(notification))


def _register(conf: cfg.ConfigOpts) -> None:
    conf.register_opts(NOTIFIER_OPTS, group=NOTIFIER)
    conf.register_opts(OPTS, group=GROUP)


def _read(reader: Callable[[str], T], url: str) -> T:
    try:
        return reader(url)
    except ValueError as error:
        raise DeliveryFailed(f"invalid URL: {error}", final=True) from None


def _messages(notification: Notification) -> dict[str, Any]:
    """Give Aodh's body, and the id that is the same on every attempt."""
    body = msgspec.json.decode(notification.body)
    return {"messages": [{"body": {**body, "notification_id": notification.notification_id}}]}


def _post(zaqar: Service, queue: str, what: str, document: Any, fine: Collection[int] = ()) -> None:
    zaqar.call(
        "POST",
        f"/v2/queues/{queue}/{what}",
        fine=fine,
        json=document,
        headers={"Client-ID": CLIENT_ID},
    )
