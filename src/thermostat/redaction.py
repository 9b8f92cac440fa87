# SPDX-License-Identifier: Apache-2.0
"""What must not be shown: signatures and tokens in URLs, user parts, trusts.

A URL without `trust+` is itself the permission to call it. So of a query only the values are shown
that are known to open nothing, and a log line has scheme and host.
"""

import logging
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

HIDDEN = "***"
"""Stands in place of what is not shown."""
_HARMLESS = frozenset(
    {
        "aodh-alarm-ssl-verify",
        "expires",
        "queue_name",
        "signaturemethod",
        "signatureversion",
        "temp_url_expires",
        "timestamp",
        "topic",
        "ttl",
        "x-amz-algorithm",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
    }
)
"""Query parameters, in lower case, whose values are no secrets."""
_IN_TEXT = (
    (re.compile(r"(?<=\S)\?[^\s'\"<>\\]*=[^\s'\"<>\\]*"), f"?{HIDDEN}"),
    (re.compile(r"(?<=://)[^/\s@'\"<>]+@"), f"{HIDDEN}@"),
    (
        re.compile(r"(OS-TRUST/trusts/|trust_?id['\"]?\s*[:=]\s*['\"]?)[0-9a-fA-F]{32}"),
        rf"\1{HIDDEN}",
    ),
)


def hidden(url: str) -> str:
    """Give a URL as others than its owner may see it; one without secrets stays as it is."""
    rest, mark, fragment = url.partition("#")
    address, question, query = rest.partition("?")
    scheme, slashes, after = address.partition("://")
    authority, slash, path = after.partition("/")
    _, at, host = authority.rpartition("@")
    shown = f"{scheme}{slashes}{f'{HIDDEN}@' if at else ''}{host}{slash}{path}"
    if question:
        shown += "?" + "&".join(map(_hidden_pair, query.split("&")))
    return shown + mark + (HIDDEN if fragment else "")


def is_hidden(url: str) -> bool:
    """Tell whether this is what `hidden` gives of a URL with secrets."""
    return HIDDEN in url and _has_gaps(url)


def restored(urls: Iterable[str], known: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Put the known URLs in the place of what `hidden` gave of them.

    They come from `known` in their order, or else from `others`. Raises ValueError with the URL of
    which none is known.
    """
    left, everywhere = list(known), list(others)
    found = []
    for url in urls:
        whole = url
        if is_hidden(url):
            matching = [one for one in left if hidden(one) == url] or [
                one for one in everywhere if hidden(one) == url
            ]
            if not matching:
                raise ValueError(url)
            whole = matching[0]
        if whole in left:
            left.remove(whole)
        found.append(whole)
    return tuple(found)


def short(url: str) -> str:
    """Give what a log line may have of a URL: scheme and host, and the path if it needs a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an invalid URL"
    path = parts.path if parts.scheme.startswith("trust+") else ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}"


def scrubbed(text: str) -> str:
    """Give a text without the queries and user parts of the URLs in it, and without trusts."""
    for pattern, replacement in _IN_TEXT:
        text = pattern.sub(replacement, text)
    return text


class ScrubbingFormatter(logging.Formatter):
    """Scrubs what another formatter makes of a record: its message and its traceback."""

    def __init__(self, inner: logging.Formatter | None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Give the record's text."""
        return scrubbed(self._inner.format(record))


def scrub_logs(logger: logging.Logger | None = None) -> None:
    """Scrub all that the handlers of a logger write, by default the root's."""
    for handler in (logger or logging.getLogger()).handlers:
        if not isinstance(handler.formatter, ScrubbingFormatter):
            handler.setFormatter(ScrubbingFormatter(handler.formatter))


def _hidden_pair(pair: str) -> str:
    name, _, value = pair.partition("=")
    if name.lower() in _HARMLESS:
        return pair
    if not value.strip("="):  # a token by itself, maybe with the padding of Base64
        return HIDDEN if pair else ""
    return f"{name}={HIDDEN}"


def _has_gaps(url: str) -> bool:
    rest, _, fragment = url.partition("#")
    address, _, query = rest.partition("?")
    authority = address.partition("://")[2].partition("/")[0]
    values = [pair.rpartition("=")[2] for pair in query.split("&")]
    return HIDDEN in (*values, fragment, authority.rpartition("@")[0])
