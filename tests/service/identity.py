# SPDX-License-Identifier: Apache-2.0
"""The application with an identity in place of the token check, for servers without a Keystone."""

from collections.abc import Callable, Iterable
from typing import Any

from oslo_config import cfg

from thermostat.api.app import Services, create_api

PROJECT = "p1"
HEADERS = {
    "HTTP_X_USER_ID": "root",
    "HTTP_X_PROJECT_ID": PROJECT,
    "HTTP_X_ROLES": "admin,member,reader",
}


def identified(services: Services, _conf: cfg.ConfigOpts) -> Any:
    """Give the application; every request has the headers of an administrator's verified token."""
    app = create_api(services)

    def call(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return app(environ | HEADERS, start_response)

    return call
