# SPDX-License-Identifier: Apache-2.0
"""Publishes to thermostat-server: POST {metering endpoint}/v2/samples with a Keystone token."""

import email.utils
import logging
import re
import time

from keystoneauth1 import exceptions
from oslo_config import cfg
from requests import Response

from thermostat.agent.auth import load_adapter, load_session
from thermostat.agent.errors import BatchRefused, PublishError, Unavailable
from thermostat.agent.opts import METERING_GROUP
from thermostat.samples.wire import COLUMNAR_TYPE

LOG = logging.getLogger(__name__)

_REFUSING = frozenset({400, 413, 415, 422})
"""Statuses by which the server says that the batch itself is at fault."""


class HttpPublisher:
    """Sends each batch in one request."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._adapter = load_adapter(conf, METERING_GROUP, load_session(conf))
        options = conf[METERING_GROUP]
        self._timeout_s = (options.connect_timeout, options.read_timeout)
        self._adapter.session.timeout = options.read_timeout  # for Keystone's answers

    def publish(self, batch: bytes) -> None:
        """Deliver one batch; a token is renewed once. Raises BatchRefused or Unavailable."""
        try:
            response = self._adapter.post(
                "/v2/samples",
                data=batch,
                headers={"Content-Type": COLUMNAR_TYPE, "Accept": "application/json"},
                timeout=self._timeout_s,
                redirect=False,
            )
        except exceptions.ClientException as error:
            raise Unavailable(f"{type(error).__name__}: {_gist(error)}") from error
        if not response.ok or response.is_redirect:
            raise _failure(response)

    def close(self) -> None:
        """Close the connections."""
        self._adapter.session.session.close()


def _failure(response: Response) -> PublishError:
    """Give what a status other than 2xx means for the batch."""
    reason = f"HTTP {response.status_code} from {response.url}: {_fault(response)}"
    if response.status_code in _REFUSING:
        return BatchRefused(reason)
    return Unavailable(reason, _retry_after_s(response.headers.get("Retry-After")))


def _fault(response: Response) -> str:
    """Give the server's own words, at most 500 characters."""
    try:
        words = response.json()["error_message"]["faultstring"]
    except (ValueError, KeyError, TypeError):
        words = response.text
    return str(words).strip()[:500]


def _gist(error: Exception) -> str:
    """Give what failed and the system's reason, without the connection pool's account of it."""
    text = str(error)
    gist = re.split(r": HTTPS?ConnectionPool", text)[0]
    reason = re.search(r"\[Errno -?\d+\] [^')\"]+", text)
    return f"{gist}: {reason[0]}" if reason and reason[0] not in gist else gist


def _retry_after_s(value: str | None) -> float | None:
    """Give the seconds in a Retry-After header, which holds seconds or an HTTP date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
