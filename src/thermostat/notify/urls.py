# SPDX-License-Identifier: Apache-2.0
"""Action URLs as they may be shown: their queries carry signatures, their user parts passwords."""

from urllib.parse import urlsplit


def shown(url: str) -> str:
    """Give scheme, host and path of a URL, for logs and error messages."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
