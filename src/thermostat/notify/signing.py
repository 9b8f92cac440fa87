# SPDX-License-Identifier: Apache-2.0
"""Signatures by the Standard Webhooks scheme, version 1: HMAC-SHA256 over id, time and body."""

import base64
import hmac
from collections.abc import Iterable, Mapping


def signed_headers(
    message_id: str, timestamp_s: int, body: bytes, keys: Iterable[bytes]
) -> Mapping[str, str]:
    """Give the headers of a message: its id, its time and a signature by each key."""
    headers = {"webhook-id": message_id, "webhook-timestamp": str(timestamp_s)}
    message = f"{message_id}.{timestamp_s}.".encode() + body
    signatures = [
        f"v1,{base64.b64encode(hmac.digest(key, message, 'sha256')).decode()}" for key in keys
    ]
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return headers
