# SPDX-License-Identifier: Apache-2.0
"""Serve Gnocchi's API from its own environment; who does not say who asks is its admin.

usage: gnocchi_serve.py CONFIGURATION PORT
"""

import sys

import waitress
from gnocchi import service
from gnocchi.rest import app

ADMIN = {"HTTP_X_USER_ID": "aodh", "HTTP_X_PROJECT_ID": "service", "HTTP_X_ROLES": "admin"}


def identified(environ, start_response):
    """Let requests without a user be the admin's."""
    for name, value in ADMIN.items():
        environ.setdefault(name, value)
    return application(environ, start_response)


configuration, port = sys.argv[1:]
conf = service.prepare_service(args=[], default_config_files=[configuration])
application = app.load_app(conf)
waitress.serve(identified, listen=f"127.0.0.1:{port}", threads=4, ident=None)
