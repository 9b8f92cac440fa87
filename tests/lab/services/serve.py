# SPDX-License-Identifier: Apache-2.0
"""Serve one project's own WSGI application with waitress.

usage: serve.py MODULE:ATTRIBUTE HOST:PORT THREADS PROGRAM
"""

import importlib
import os
import signal
import sys

module, _, attribute = sys.argv[1].partition(":")
listen, threads, program = sys.argv[2:5]
sys.argv = [program]  # these modules parse it when imported
application = getattr(importlib.import_module(module), attribute)

import waitress  # noqa: E402  # after sys.argv was set

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
waitress.serve(application, listen=listen, threads=int(threads), ident=None)
