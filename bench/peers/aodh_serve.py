# SPDX-License-Identifier: Apache-2.0
"""Serve Aodh's API from its own environment.

usage: aodh_serve.py CONFIGURATION PORT
"""

import sys

import waitress
from aodh import service
from aodh.api import app

configuration, port = sys.argv[1:]
conf = service.prepare_service(argv=["--config-file", configuration], with_gmr=False)
waitress.serve(app.load_app(conf), listen=f"127.0.0.1:{port}", threads=4, ident=None)
