# SPDX-License-Identifier: Apache-2.0
"""heat-engine, heat-api and heat-api-cfn in one process, joined by oslo.messaging's fake:// driver.

usage: heat_all_in_one.py API_HOST:PORT CFN_HOST:PORT HEAT_CONF
"""

import os
import signal
import sys
import threading
import traceback

api_listen, cfn_listen, config_file = sys.argv[1:]
sys.argv = ["heat-engine", "--config-file", config_file]

from oslo_service import backend  # noqa: E402  # the backend must be chosen before Heat is imported

backend.init_backend(backend.BackendType.THREADING)

import waitress  # noqa: E402
from heat.api.cfn import wsgi as cfn_wsgi  # noqa: E402
from heat.api.openstack import wsgi as api_wsgi  # noqa: E402
from oslo_config import cfg  # noqa: E402

# Both read the same file and share one messaging transport, as fake:// needs.
api = api_wsgi.init_application()
cfn = cfn_wsgi.init_application()

from heat.common import config  # noqa: E402
from heat.engine import service  # noqa: E402
from heat.rpc import api as rpc_api  # noqa: E402


def serve() -> None:
    """Start the engine, then answer until SIGTERM."""
    config.startup_sanity_check()
    service.EngineService(cfg.CONF.host, rpc_api.ENGINE_TOPIC).start()
    # The ports open last: who gets an answer finds an engine that has loaded its plugins.
    for application, listen, threads in ((api, api_listen, 8), (cfn, cfn_listen, 4)):
        server = waitress.create_server(application, listen=listen, threads=threads, ident=None)
        threading.Thread(target=server.run, daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    threading.Event().wait()


try:
    serve()
except BaseException:
    traceback.print_exc()
    os._exit(1)  # the engine's threads would keep the process alive
