# SPDX-License-Identifier: Apache-2.0
"""429 for senders of samples, and the agent's spool that honours it, over a real HTTP server."""

import time
from types import SimpleNamespace

import falcon
import pytest
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from thermostat.agent import opts as agent_opts
from thermostat.agent.delivery import Delivery
from thermostat.agent.publishers.http import HttpPublisher
from thermostat.agent.spool import Spool
from thermostat.api import errors, policies, serve
from thermostat.api.context import ContextMiddleware
from thermostat.api.samples import Samples
from thermostat.api.serve import HttpServer
from thermostat.ingest import Ingest
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import encode_columnar
from thermostat.store.base import StoreBusy
from thermostat.store.memory import MemoryStore

BATCHES = 5


class BusyStore(MemoryStore):
    """A store whose queue can be full."""

    busy = False

    def append(self, batch):
        if self.busy:
            raise StoreBusy("100 samples wait to be written already")
        return super().append(batch)


class Server:
    """The samples API on a port of 127.0.0.1; it remembers when requests came."""

    def __init__(self):
        self.store = BusyStore()
        self.retry_after_s = None
        self.arrivals_s = []
        self.statuses = []
        self.registry = CollectorRegistry()
        conf = cfg.ConfigOpts()
        conf([], project="thermostat", default_config_files=[])
        services = SimpleNamespace(
            ingest=Ingest(self.store, lambda _batch: None),
            enforcer=policies.load_enforcer(conf),
            registry=self.registry,
            overload=lambda: self.retry_after_s,
        )
        app = falcon.App(middleware=[ContextMiddleware()])
        errors.install(app)
        app.add_route("/v2/samples", Samples(services))

        def as_service(environ, start_response):
            """Stand for the token check, which is not what is tested here."""
            self.arrivals_s.append(time.monotonic())
            identity = {"HTTP_X_ROLES": "service", "HTTP_X_USER_ID": "u", "HTTP_X_PROJECT_ID": "p"}

            def note(status, headers, *rest):
                self.statuses.append(int(status.split()[0]))
                return start_response(status, headers, *rest)

            return app({**environ, **identity}, note)

        conf.register_opts(serve.OPTS, serve.GROUP)
        conf.set_override("port", 0, "api")
        self._http = HttpServer(as_service, conf, 1_000_000)
        self._http.start()

    @property
    def url(self):
        return f"http://{self._http.address}"

    def stop(self):
        self._http.stop()

    def metric(self):
        return self.registry.get_sample_value("thermostat_samples_throttled_total")

    def stored(self):
        return len(self.store.scan(None, 0, 2**62))


@pytest.fixture
def server():
    running = Server()
    yield running
    running.stop()


@pytest.fixture
def delivery(server, tmp_path):
    path = tmp_path / "agent.conf"
    path.write_text(
        "[service_auth]\nauth_type = none\n"
        f"[metering]\nendpoint_override = {server.url}\nread_timeout = 5\n"
    )
    conf = cfg.ConfigOpts()
    agent_opts.register(conf)
    conf(["--config-file", str(path)], default_config_dirs=[])
    delivery = Delivery("test", HttpPublisher(conf), Spool(tmp_path / "spool", 10_000_000))
    delivery.start()
    yield delivery
    delivery.stop(5)


def batch(number):
    now_us = time.time_ns() // 1000
    samples = [
        Sample(
            name="cpu_util",
            type=SampleType.GAUGE,
            unit="%",
            volume=float(number),
            resource_id=f"vm-{vm}",
            timestamp_us=now_us + number,
        )
        for vm in range(10)
    ]
    return encode_columnar(samples)


def wait_until(condition, timeout_s=15):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def test_a_spool_waits_as_long_as_it_is_asked_to_and_then_delivers_everything(server, delivery):
    server.retry_after_s = 1.2  # rounded up to whole seconds
    for number in range(BATCHES):
        delivery.offer(batch(number))
    wait_until(lambda: len(server.statuses) >= 2)
    assert server.statuses == [429, 429]
    assert server.arrivals_s[1] - server.arrivals_s[0] >= 1.9
    assert server.stored() == 0
    assert server.metric() == 2
    assert len(delivery.spool) == BATCHES
    server.retry_after_s = None
    wait_until(lambda: not len(delivery.spool))
    assert server.stored() == 10 * BATCHES
    assert delivery.counters.delivered == BATCHES
    assert delivery.counters.refused == delivery.counters.lost == 0
    assert server.metric() == 2


def test_a_full_queue_slows_senders_down_and_loses_nothing(server, delivery):
    server.store.busy = True
    delivery.offer(batch(0))
    wait_until(lambda: server.statuses)
    assert server.statuses[0] == 429
    assert server.metric() >= 1
    server.store.busy = False
    wait_until(lambda: not len(delivery.spool))
    assert server.stored() == 10
