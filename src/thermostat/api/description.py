# SPDX-License-Identifier: Apache-2.0
"""`/openapi.json`: the API's OpenAPI description."""

from functools import cache

import falcon
import msgspec

from thermostat.api.openapi.document import document


class DescriptionResource:
    """The description."""

    def on_get(self, _req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = _encoded()


@cache
def _encoded() -> bytes:
    return msgspec.json.encode(document())
