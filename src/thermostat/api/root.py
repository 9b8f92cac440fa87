# SPDX-License-Identifier: Apache-2.0
"""`/`: which versions of the API there are, in Aodh's form."""

from typing import Any

import falcon
import msgspec


class RootResource:
    """The discovery document."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the versions."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode({"versions": {"values": [_version(req)]}})


class VersionResource:
    """What the discovery document says of v2, for clients that look there; Aodh has none."""

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show the version."""
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode({"version": _version(req)})


def _version(req: falcon.Request) -> dict[str, Any]:
    return {
        "id": "v2",
        "status": "stable",
        "updated": "2013-02-13T00:00:00Z",
        "links": [{"rel": "self", "href": f"{req.prefix}/v2"}],
        # Aodh names XML too, which it does not speak either.
        "media-types": [
            {
                "base": f"application/{base}",
                "type": f"application/vnd.openstack.telemetry-v2+{base}",
            }
            for base in ("json", "xml")
        ],
    }
