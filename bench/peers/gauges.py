# SPDX-License-Identifier: Apache-2.0
"""Serve gauges in Prometheus' text form; one in a hundred lies above 75.

usage: gauges.py PORT SERIES
"""

import random
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

port, series = (int(argument) for argument in sys.argv[1:])


class Gauges(BaseHTTPRequestHandler):
    """Answers every GET with all gauges."""

    def do_GET(self):
        """Answer with new values."""
        shift = random.random()
        lines = ["# TYPE cpu_util gauge"]
        lines += [
            f'cpu_util{{vm="{number}"}} {(40 if number % 100 else 80) + number * shift % 5:.2f}'
            for number in range(series)
        ]
        body = "\n".join(lines).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Keep quiet."""


ThreadingHTTPServer(("127.0.0.1", port), Gauges).serve_forever()
