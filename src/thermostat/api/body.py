# SPDX-License-Identifier: Apache-2.0
"""Request bodies: bounded, and decoded with errors that name the field."""

from typing import Any

import falcon
import msgspec

MAX_BODY = 256 * 1024
"""The largest body that a definition may have, in bytes."""


def read_body(req: falcon.Request, *, most: int = MAX_BODY) -> bytes:
    """Give the request's body, or raise the 413 if it is longer than this."""
    if (req.content_length or 0) > most:
        raise _too_large(most)
    body: bytes = req.bounded_stream.read(most + 1)
    if len(body) > most:
        raise _too_large(most)
    return body


def read_json(req: falcon.Request) -> Any:
    """Give the request's JSON body, or raise the 400 that says where it is broken.

    A body that says it is something else is a 415.
    """
    media_type = (req.content_type or falcon.MEDIA_JSON).partition(";")[0].strip().lower()
    if media_type != falcon.MEDIA_JSON:
        raise falcon.HTTPUnsupportedMediaType(
            description=f"Content-Type: {media_type!r:.100} is not {falcon.MEDIA_JSON}"
        )
    try:
        return msgspec.json.decode(read_body(req))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise falcon.HTTPBadRequest(description=f"The body is not valid JSON: {error}") from error


def read_object(req: falcon.Request) -> dict[str, Any]:
    """Give the request's body, which must be a JSON object."""
    document = read_json(req)
    if not isinstance(document, dict):
        raise falcon.HTTPBadRequest(description="The body must be a JSON object.")
    return document


def _too_large(most: int) -> falcon.HTTPContentTooLarge:
    return falcon.HTTPContentTooLarge(description=f"The body is longer than {most} bytes.")
