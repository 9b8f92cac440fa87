# SPDX-License-Identifier: Apache-2.0
"""`http://` and `https://`: POST Aodh's JSON body to a URL.

Redirects are not followed. Link-local addresses, where clouds serve instance metadata, are refused
once the address is known, so that no DNS answer leads there either.
"""

import ipaddress
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import parse_qs, urlsplit

import urllib3
from oslo_config.cfg import ConfigOpts
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError, LocationValueError

from thermostat.db.outbox import Notification
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.version import __version__

GONE = 410
SHORT_ANSWER = 4096
"""A connection whose answer is longer than this many bytes is closed rather than read out."""
_METADATA_V6 = ipaddress.ip_address("fd00:ec2::254")


class HttpTransport:
    """Posts notifications to web hooks."""

    def __init__(self, conf: ConfigOpts) -> None:
        conf.register_opts(OPTS, group=GROUP)
        options = conf[GROUP]
        # At debug level urllib3 logs URLs with their query strings, which carry signatures.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
        self._pools = {
            verify: _pool_manager(
                urllib3.Timeout(connect=options.connect_timeout, read=options.read_timeout),
                verify=verify,
                ca_file=options.ca_file,
                size=options.per_target_limit,
                guarded=not options.allow_link_local,
            )
            for verify in (True, False)
        }

    def send(self, notification: Notification, now_us: int) -> None:
        """Post it; any 2xx answer means delivered."""
        self.post(notification, now_us, notification.action, {})

    def post(
        self, notification: Notification, now_us: int, url: str, headers: Mapping[str, str]
    ) -> None:
        """Post it to this URL with these headers besides the usual ones."""
        try:
            response = self._pools[_verifies(url)].request(
                "POST",
                url,
                body=notification.body.encode(),
                headers={**_headers(notification, now_us), **headers},
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except (LocationValueError, UnicodeError) as error:
            raise DeliveryFailed(f"invalid URL ({type(error).__name__})", final=True) from None
        except HTTPError as error:
            # Its message would have the URL.
            raise DeliveryFailed(_describe(error)) from None
        _finish(response)
        if not 200 <= response.status < 300:
            raise _failure(response)


class _Guarded:
    """Hangs up on addresses that no alarm may call, before any request is sent."""

    def refuse_forbidden(self, connection: HTTPConnection) -> None:
        peer = ipaddress.ip_address(connection.sock.getpeername()[0].partition("%")[0])
        mapped = getattr(peer, "ipv4_mapped", None) or peer
        if mapped.is_link_local or mapped == _METADATA_V6:
            connection.close()
            raise DeliveryFailed(f"link-local address {mapped} is refused", final=True)


class _GuardedHTTPConnection(_Guarded, HTTPConnection):
    def connect(self) -> None:
        super().connect()
        self.refuse_forbidden(self)


class _GuardedHTTPSConnection(_Guarded, HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        self.refuse_forbidden(self)


class _GuardedHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _GuardedHTTPConnection


class _GuardedHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _GuardedHTTPSConnection


def _pool_manager(
    timeout: urllib3.Timeout, *, verify: bool, ca_file: str | None, size: int, guarded: bool
) -> urllib3.PoolManager:
    manager = urllib3.PoolManager(
        num_pools=100,
        maxsize=size,
        timeout=timeout,
        cert_reqs="CERT_REQUIRED" if verify else "CERT_NONE",
        ca_certs=ca_file,
    )
    if guarded:
        manager.pool_classes_by_scheme = {"http": _GuardedHTTPPool, "https": _GuardedHTTPSPool}
    return manager


def _verifies(url: str) -> bool:
    """Tell whether the server's certificate is checked; Aodh lets the URL say no."""
    return parse_qs(urlsplit(url).query).get("aodh-alarm-ssl-verify", ["1"])[-1] != "0"


def _headers(notification: Notification, now_us: int) -> dict[str, str]:
    return {
        "Content-Type": "application/json",
        "User-Agent": f"thermostat/{__version__}",
        "x-openstack-request-id": notification.request_id,
        "webhook-id": notification.notification_id,
        "webhook-timestamp": str(now_us // 1_000_000),
    }


def _finish(response: urllib3.BaseHTTPResponse) -> None:
    """Keep the connection for the next notification if its answer is short, else close it."""
    length = response.headers.get("Content-Length", "")
    try:
        if response.status != 204 and not (length.isdigit() and int(length) <= SHORT_ANSWER):
            response.close()
        else:
            response.drain_conn()
    except HTTPError:
        response.close()  # the status has come: what follows does not matter


def _failure(response: urllib3.BaseHTTPResponse) -> DeliveryFailed:
    reason = f"HTTP {response.status}"
    if 300 <= response.status < 400:
        reason += " (redirects are not followed)"
    return DeliveryFailed(
        reason,
        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
        final=response.status == GONE,
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


def _describe(error: HTTPError) -> str:
    match error:
        case urllib3.exceptions.ReadTimeoutError():
            return "no answer in time"
        case urllib3.exceptions.NameResolutionError():
            return "the host's name cannot be resolved"
        case urllib3.exceptions.NewConnectionError():
            return "no connection"
        case urllib3.exceptions.ConnectTimeoutError():
            return "no connection in time"
        case urllib3.exceptions.SSLError():
            return "TLS failed: the certificate may not be trusted"
        case _:
            return f"the connection broke ({type(error).__name__})"
