# SPDX-License-Identifier: Apache-2.0
"""`http://` and `https://`: POST Aodh's JSON body to a URL, signed."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import SplitResult, parse_qs, urljoin, urlsplit

from oslo_config.cfg import ConfigOpts

from thermostat.db.outbox import Notification
from thermostat.notify.egress import PORTS, Egress, TargetRefused
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.posting import Limits, Poster, Reply
from thermostat.notify.signing import signed_headers
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.version import __version__

GONE = 410
KEEPING_POST = (307, 308)
"""Redirects that are followed; after the others a request is a GET, which delivers nothing."""


class HttpTransport:
    """Posts notifications to web hooks."""

    def __init__(self, conf: ConfigOpts) -> None:
        conf.register_opts(OPTS, group=GROUP)
        options = conf[GROUP]
        self._egress = Egress.of(conf)
        self._schemes = frozenset(options.allowed_schemes or PORTS)
        self._max_redirects: int = options.max_redirects
        limits = Limits(options.connect_timeout, options.read_timeout, options.attempt_timeout)
        self._poster = Poster(limits, self._egress, options.ca_file)

    def send(self, notification: Notification, now_us: int) -> str | None:
        """Post it; any 2xx answer means delivered."""
        return self.post(notification, now_us, notification.action, {})

    def post(
        self, notification: Notification, now_us: int, url: str, secret: Mapping[str, str]
    ) -> str | None:
        """Post it to this URL with these headers besides the usual ones; give what was odd.

        The secret ones follow no redirect to another host.
        """
        body = notification.body.encode()
        headers = {**_headers(notification, now_us, body), **secret}
        verify_first, deadline_s = _verifies(url), self._poster.deadline_s()
        first, verify = url, verify_first
        for _ in range(1 + self._max_redirects):
            reply = self._poster.post(url, headers, body, verify=verify, deadline_s=deadline_s)
            if reply.status not in KEEPING_POST:
                break
            url = self._redirected(url, reply, stays=bool(secret))
            verify = verify_first or _origin(url) != _origin(first)
        if 200 <= reply.status < 300:
            return reply.remark
        raise _failure(reply)

    def _redirected(self, url: str, reply: Reply, *, stays: bool) -> str:
        """Give where a redirect leads to. Raises DeliveryFailed if it must not be followed."""
        location = reply.headers.get("location")
        if not location:
            raise DeliveryFailed(f"HTTP {reply.status} without a Location")
        try:
            target = urljoin(url, location)
            before, after = urlsplit(url), urlsplit(target)
            self._check(before, after, stays=stays)
        except ValueError:
            raise DeliveryFailed(f"HTTP {reply.status} to an invalid URL", final=True) from None
        except TargetRefused as error:
            raise DeliveryFailed(
                f"HTTP {reply.status} to a target that is refused: {error}", final=True
            ) from None
        return target

    def _check(self, before: SplitResult, after: SplitResult, *, stays: bool) -> None:
        if after.scheme not in (before.scheme, "https") or not after.hostname:
            raise TargetRefused(f"from {before.scheme} to {after.scheme:.20}")
        if after.scheme != before.scheme and after.scheme not in self._schemes:
            raise TargetRefused(f"the scheme {after.scheme} is not allowed")
        if after.username is not None:
            raise TargetRefused("it has a user name")
        self._egress.check_url(after.scheme, after.hostname, after.port)
        if stays and (before.scheme, before.netloc) != (after.scheme, after.netloc):
            raise TargetRefused("a token is not taken to another host")


def _verifies(url: str) -> bool:
    """Tell whether the server's certificate is checked; Aodh lets the alarm's URL say no.

    That holds for the URL's own server, not for those to which it redirects.
    """
    if "aodh-alarm-ssl-verify" not in url:
        return True
    return parse_qs(urlsplit(url).query).get("aodh-alarm-ssl-verify", ["1"])[-1] != "0"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Give whose URL it is, which has been posted to or checked."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or PORTS.get(parts.scheme)


def _headers(notification: Notification, now_us: int, body: bytes) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"thermostat/{__version__}",
        "x-openstack-request-id": notification.request_id,
        **signed_headers(
            notification.notification_id, now_us // 1_000_000, body, notification.signing_keys
        ),
    }


def _failure(reply: Reply) -> DeliveryFailed:
    reason = f"HTTP {reply.status}"
    if reply.status in KEEPING_POST:
        reason += " (too many redirects)"
    elif 300 <= reply.status < 400:
        reason += " (such redirects are not followed)"
    if reply.remark:
        reason += f" ({reply.remark})"
    return DeliveryFailed(
        reason,
        retry_after_s=retry_after_s(reply.headers.get("retry-after")),
        final=reply.status == GONE,
    )


def retry_after_s(value: str | None) -> float:
    """Give the seconds of a Retry-After header, which has a number or a date; 0 without one."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value.strip()[:9])
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
