# SPDX-License-Identifier: Apache-2.0
"""Zaqar's API with waitress; its own WSGI module would read configuration in /etc only.

usage: zaqar_api.py HOST:PORT ZAQAR_CONF
"""

import os
import signal
import sys

import waitress
from oslo_config import cfg
from oslo_log import log
from zaqar import bootstrap

listen, config_file = sys.argv[1:]
log.register_options(cfg.CONF)
cfg.CONF(["--config-file", config_file], project="zaqar", prog="zaqar-queues")
log.setup(cfg.CONF, "zaqar")
application = bootstrap.Bootstrap(cfg.CONF).transport.app
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
waitress.serve(application, listen=listen, threads=4, ident=None)
