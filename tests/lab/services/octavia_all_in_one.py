# SPDX-License-Identifier: Apache-2.0
"""octavia-api and octavia-driver-agent in one process.

usage: octavia_all_in_one.py HOST:PORT OCTAVIA_CONF

The agent forks for each request that a provider sends it; here each gets a thread.
"""

import os
import signal
import socketserver
import sys
import threading
import traceback
from contextlib import suppress

listen, config_file = sys.argv[1:]
sys.argv = ["octavia-api", "--config-file", config_file]

import waitress  # noqa: E402  # after sys.argv was set, which Octavia reads when imported
from octavia.api.drivers.driver_agent import driver_listener as agent  # noqa: E402
from octavia.wsgi import api  # noqa: E402
from oslo_config import cfg  # noqa: E402


class Listener(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """One of the agent's sockets."""

    daemon_threads = True


def serve() -> None:
    """Listen for providers, then answer until SIGTERM."""
    options = cfg.CONF.driver_agent
    for path, handler in (
        (options.status_socket_path, agent.StatusRequestHandler),
        (options.stats_socket_path, agent.StatsRequestHandler),
        (options.get_socket_path, agent.GetRequestHandler),
    ):
        with suppress(FileNotFoundError):
            os.remove(path)
        threading.Thread(target=Listener(path, handler).serve_forever, daemon=True).start()
    # The port opens last: who gets an answer finds an agent that listens.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    waitress.serve(api.application, listen=listen, threads=8, ident=None)


try:
    serve()
except BaseException:
    traceback.print_exc()
    os._exit(1)  # the listeners' threads would keep the process alive
