# SPDX-License-Identifier: Apache-2.0
"""HEAD is answered as GET is, without the body, for every path that has GET."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


def answering_head(app: "WSGIApplication") -> "WSGIApplication":
    """Give the application with HEAD."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "HEAD":
            return app(environ, start_response)
        body = app({**environ, "REQUEST_METHOD": "GET"}, start_response)
        for _ in body:  # whatever is done while it is made is done
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()
        return []

    return answer
