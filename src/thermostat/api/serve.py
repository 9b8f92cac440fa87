# SPDX-License-Identifier: Apache-2.0
"""Serving the WSGI application over HTTP, by waitress. TLS belongs to a proxy in front."""

import threading
from typing import TYPE_CHECKING

import waitress
from oslo_config import cfg
from waitress.server import MultiSocketServer, TcpWSGIServer

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

GROUP = cfg.OptGroup("api", title="The HTTP API")
OPTS = [
    cfg.HostAddressOpt("host", default="127.0.0.1", help="The address to listen on."),
    cfg.PortOpt("port", default=8042, help="The port to listen on."),
    cfg.IntOpt(
        "threads",
        default=16,
        min=1,
        help="Requests that are served at once. A request with samples occupies one until they "
        "are on disk.",
    ),
]
_OVERHEAD_BYTES = 1_000_000
"""What the server accepts beyond the largest body of samples, so that the API can refuse it."""


class HttpServer:
    """Serves one application from a thread of its own."""

    def __init__(self, app: "WSGIApplication", conf: cfg.ConfigOpts, max_body_bytes: int) -> None:
        """Bind the socket; raises OSError where the address is taken or not ours."""
        conf.register_opts(OPTS, GROUP)
        self._server: TcpWSGIServer | MultiSocketServer = waitress.create_server(
            app,
            host=conf.api.host,
            port=conf.api.port,
            threads=conf.api.threads,
            ident=None,
            max_request_body_size=max_body_bytes + _OVERHEAD_BYTES,
            # HTTPProxyToWSGI decides about X-Forwarded-*, as the operator configured it.
            clear_untrusted_proxy_headers=False,
        )
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="http", daemon=True)

    @property
    def address(self) -> str:
        """The first address that is listened on, as host:port."""
        return f"{self._server.effective_host}:{self._server.effective_port}"

    def start(self) -> None:
        """Begin to accept requests."""
        self._thread.start()

    def stop(self) -> None:
        """Accept no more requests, and let those that are under way finish."""
        self._stopped.set()
        self._server.close()
        self._server.task_dispatcher.shutdown()

    def _serve(self) -> None:
        try:
            self._server.run()
        except OSError:  # it waits for sockets, which `stop` may close meanwhile
            if not self._stopped.is_set():
                raise
