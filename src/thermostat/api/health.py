# SPDX-License-Identifier: Apache-2.0
"""`/healthcheck`: whether every part works; 503 with the reasons if not.

A part that is degraded says so too, with 200: what it lacks is outside of this server.
"""

import logging

import falcon
import msgspec

from thermostat.api.services import Check, Services
from thermostat.degraded import Degraded

LOG = logging.getLogger(__name__)


class HealthResource:
    """The health of the server's parts."""

    def __init__(self, services: Services) -> None:
        self._checks = {"database": services.alarms.check, **services.checks}

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Ask every part; 200 if all work or are degraded at most, else 503."""
        reasons = {
            name: reason for name, check in self._checks.items() if (reason := _ask(name, check))
        }
        is_failing = not all(isinstance(reason, Degraded) for reason in reasons.values())
        status = "failing" if is_failing else "degraded" if reasons else "ok"
        resp.status = falcon.HTTP_503 if is_failing else falcon.HTTP_200
        resp.content_type = falcon.MEDIA_JSON
        resp.cache_control = ["no-store"]
        texts = {name: str(reason) for name, reason in reasons.items()}
        resp.data = msgspec.json.encode({"status": status, "reasons": texts})


def _ask(name: str, check: Check) -> str | None:
    try:
        return check()
    except Exception as error:  # whatever is wrong with a part is what is asked for
        LOG.exception("The health check of %s failed", name)
        # Anybody may read this: the message, which may have paths or queries, is in the log only.
        return f"failed ({type(error).__name__})"
