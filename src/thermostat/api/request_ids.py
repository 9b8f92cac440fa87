# SPDX-License-Identifier: Apache-2.0
"""Each answer has a request id, that of a refusal before the application too."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from oslo_context.context import generate_request_id

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUEST_ID = "X-OpenStack-Request-ID"


def with_request_id(app: "WSGIApplication") -> "WSGIApplication":
    """Give the application with a request id on the answers that have none."""

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            if not any(name.lower() == REQUEST_ID.lower() for name, _ in headers):
                headers = [*headers, (REQUEST_ID, generate_request_id())]
            return start_response(status, headers, *error)

        return app(environ, start)

    return answer
