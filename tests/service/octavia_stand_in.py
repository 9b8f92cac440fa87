# SPDX-License-Identifier: Apache-2.0
"""Stands in for Octavia where tests need its faults; the lab's tests ask a real one."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit


class OctaviaStandIn:
    def __init__(self):
        self.pools = {}
        self.page = 100
        self.statuses = {}
        self.body = None
        self.hang_s = 0.0
        self.asked = []
        self._released = threading.Event()
        octavia = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                octavia.asked.append(self.path)
                octavia._released.wait(octavia.hang_s)
                status, document = octavia._answer(self.path)
                body = json.dumps(document).encode() if octavia.body is None else octavia.body
                try:
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass

            def log_message(self, *_args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, target):
        parts = urlsplit(target)
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        pool_id, _, what = parts.path.removeprefix("/v2/lbaas/pools/").partition("/")
        if status := self.statuses.get(pool_id) or self.statuses.get("*"):
            return status, {}
        if pool_id not in self.pools:
            return 404, {}
        project_id, members = self.pools[pool_id]
        if not what:
            return 200, {"pool": {"project_id": project_id}}
        ids = [member["id"] for member in members]
        begin = ids.index(query["marker"]) + 1 if "marker" in query else 0
        shown = [
            member
            for member in members[begin : begin + self.page]
            if member["operating_status"] == query["operating_status"]
        ]
        links = [{"rel": "next", "href": "x"}] if len(shown) == self.page else []
        return 200, {"members": shown, "members_links": links}
