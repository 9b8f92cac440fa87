# SPDX-License-Identifier: Apache-2.0
"""A whole server over HTTP in this process: requests are an administrator's, without Keystone."""

import json
import time

import urllib3
from oslo_config import cfg

from tests.service.alarm_support import open_database
from tests.service.hooks import HookServer
from tests.service.identity import PROJECT, identified
from thermostat import opts
from thermostat.server import Server


class Deployment:
    """A server, one life after the other, and a listener for what it calls."""

    def __init__(self, directory, options=""):
        self.directory = directory
        self.options = options
        open_database(directory / "db").dispose()
        self.hooks = HookServer().start()
        self.pool = urllib3.PoolManager(retries=False, timeout=60, headers={"Connection": "close"})
        self.server = None
        self.start()

    def start(self):
        conf = cfg.ConfigOpts()
        opts.register(conf)
        configuration = self.directory / "conf"
        configuration.write_text(
            "[api]\nport = 0\n"
            f"[database]\nconnection = sqlite:///{self.directory / 'db'}\n"
            f"[store]\npath = {self.directory / 'samples'}\nmin_free_mb = 0\n"
            "[outside]\nshortest_interval = 1\ntimeout = 0.5\n"
            "[notifier]\npoll_interval = 0.1\n"
            f"{self.options}"
        )
        conf([], project="thermostat", default_config_files=[str(configuration)])
        self.server = Server(conf, application=self.application)
        self.server.start()

    def application(self, services, conf):
        self.services = services
        return identified(services, conf)

    def restart(self):
        self.end()
        self.start()

    def stop(self):
        self.end()
        self.hooks.stop()

    def end(self):
        time.sleep(0.2)  # waitress is not stopped while it closes a connection
        self.server.stop()

    def call(self, method, path, body=None):
        answer = self.pool.request(
            method,
            f"http://{self.server.address}{path}",
            body=None if body is None else json.dumps(body),
            headers={"Content-Type": "application/json", "Connection": "close"},
        )
        assert answer.status < 300, answer.data
        return json.loads(answer.data) if answer.data else None

    def create(self, kind, rule, **changes):
        document = {"name": kind, "type": kind, f"{kind}_rule": rule, **changes}
        return self.call("POST", "/v2/alarms", document)["alarm_id"]

    def state(self, alarm_id):
        return self.call("GET", f"/v2/alarms/{alarm_id}")["state"]

    def report(self, volume):
        """A member reports at the end of the newest step."""
        now_s = time.time() // 10 * 10
        sample = {
            "name": "m",
            "type": "gauge",
            "unit": "%",
            "volume": volume,
            "resource_id": "r",
            "project_id": PROJECT,
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s)),
        }
        self.call("POST", "/v2/samples", [sample])

    def history(self, alarm_id):
        return [one["type"] for one in self.call("GET", f"/v2/alarms/{alarm_id}/history")]

    def metric(self, name, store):
        text = self.pool.request("GET", f"http://{self.server.address}/metrics").data.decode()
        begin = f'thermostat_outside_{name}{{store="{store}"}} '
        (found,) = [line for line in text.splitlines() if line.startswith(begin)]
        return float(found.removeprefix(begin))


def wait_until(condition, timeout_s=60):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
