# SPDX-License-Identifier: Apache-2.0
"""Serve Gnocchi's API from its own environment.

usage: gnocchi_serve.py CONFIGURATION PORT
"""

import sys

import waitress
from gnocchi import service
from gnocchi.rest import app

configuration, port = sys.argv[1:]
conf = service.prepare_service(args=[], default_config_files=[configuration])
waitress.serve(app.load_app(conf), listen=f"127.0.0.1:{port}", threads=4, ident=None)
