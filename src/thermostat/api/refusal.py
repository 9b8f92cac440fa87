# SPDX-License-Identifier: Apache-2.0
"""Refusals in Aodh's shape from what stands before the application."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

import msgspec

from thermostat.api.errors import error_body

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse


def refuse(
    start_response: "StartResponse", status: int, message: str, *headers: tuple[str, str]
) -> Iterable[bytes]:
    """Answer a request with an error."""
    body = msgspec.json.encode(error_body(status, message))
    own = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {HTTPStatus(status).phrase}", [*own, *headers])
    return [body]
