# SPDX-License-Identifier: Apache-2.0
"""`POST /v2/samples`, and `/v1/samples`: in Ceilometer's two JSON forms, or in our columnar one."""

import math

import falcon
import msgspec
from prometheus_client import Counter

from thermostat.api import policies
from thermostat.api.body import read_body
from thermostat.api.context import authorize
from thermostat.api.services import Services
from thermostat.ingest import JSON_TYPE, UnknownMediaType
from thermostat.samples.wire import InvalidSamples
from thermostat.store.base import StoreBusy

BUSY_S = 1
"""How soon a sender may try again where too many samples wait to be written, in seconds."""


class Samples:
    """The samples of every project: written here, read as statistics."""

    def __init__(self, services: Services) -> None:
        self._ingest = services.ingest
        self._enforcer = services.enforcer
        self._overload = services.overload
        self._accepted = Counter(
            "thermostat_samples_accepted",
            "Samples acknowledged, by media type",
            ["media_type"],
            registry=services.registry,
        )
        self._throttled = Counter(
            "thermostat_samples_throttled",
            "Requests with samples that were answered 429, because judging or storing is behind",
            registry=services.registry,
        )

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Store all samples of the body, or none: 201 says that they are on disk."""
        authorize(self._enforcer, req, policies.CREATE_SAMPLES)
        retry_after_s = self._overload()
        if retry_after_s is not None:
            raise self._throttle(retry_after_s, "alarms are judged too late")
        media_type = (req.content_type or JSON_TYPE).partition(";")[0].strip().lower()
        body = read_body(req, most=self._ingest.max_body_bytes)
        try:
            accepted = self._ingest.receive(body, media_type)
        except UnknownMediaType as error:
            raise falcon.HTTPUnsupportedMediaType(description=f"Content-Type: {error}") from error
        except InvalidSamples as error:
            raise falcon.HTTPBadRequest(description=str(error)) from error
        except StoreBusy as error:
            raise self._throttle(BUSY_S, str(error)) from error
        self._accepted.labels(media_type).inc(accepted)
        resp.status = falcon.HTTP_201
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode({"accepted": accepted})

    def _throttle(self, retry_after_s: float, reason: str) -> falcon.HTTPTooManyRequests:
        """Give the 429 that asks the sender to come again; nothing of its request is stored."""
        self._throttled.inc()
        return falcon.HTTPTooManyRequests(
            description=f"More samples come than can be handled: {reason}. Send them again.",
            retry_after=max(1, math.ceil(retry_after_s)),
        )
