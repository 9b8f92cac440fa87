# SPDX-License-Identifier: Apache-2.0
"""What every transport does, whichever it is: a driver is ready when it passes here.

Each comes with a rig that makes its target take notifications, fail or hang. What `log://` writes
to cannot fail, so its rig has no faults.
"""

import json
import logging
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

import pytest
from keystoneauth1.adapter import Adapter
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from oslo_config import cfg

from tests.service.heat_stand_in import HeatStandIn
from tests.service.hooks import Answer, Call, HookServer
from tests.service.zaqar_stand_in import ZaqarStandIn
from thermostat.db.outbox import Notification
from thermostat.db.targets import target_of
from thermostat.endpoints import client
from thermostat.notify.loading import load_transports
from thermostat.notify.opts import GROUP, OPTS
from thermostat.notify.transports import log
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.fake import FakeTransport
from thermostat.notify.transports.heat import HeatTransport
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.transports.log import LogTransport
from thermostat.notify.transports.trust import TrustTransport
from thermostat.notify.transports.zaqar import TrustZaqarTransport, ZaqarTransport
from thermostat.trusts import TrustUnavailable

CONNECT_TIMEOUT_S = 1.0
READ_TIMEOUT_S = 0.5
"""Of a transport whose target may hang."""
PATIENT_S = 20.0
"""Of one whose target answers: a busy machine may take so long."""
HANG_S = 30.0
NOW_US = 1_795_314_544_000_000
SECRETS = ("passw0rd", "s1gnature", "trust-1d", "t0ken")


def configure(read_timeout_s: float = PATIENT_S) -> cfg.ConfigOpts:
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP)
    conf([], default_config_files=[], default_config_dirs=[])
    conf.set_override("connect_timeout", CONNECT_TIMEOUT_S, group=GROUP)
    conf.set_override("read_timeout", read_timeout_s, group=GROUP)
    return conf


def plain_body(number: int) -> str:
    return f'{{"alarm_id":"a","number":{number}}}'


class FakeRig:
    schemes: ClassVar = ()
    body = staticmethod(plain_body)
    faults: ClassVar = ("away", "failing", "hanging")

    def __init__(self, read_timeout_s: float) -> None:
        self.transport = FakeTransport(configure(read_timeout_s))
        self.action = "fake://target"

    def have(self, fault: str) -> None:
        self.transport.failure = DeliveryFailed(fault)

    def recover(self) -> None:
        self.transport.failure = None

    def received(self) -> list[str]:
        return [notification.body for notification in self.transport.delivered]

    def stop(self) -> None:
        pass


class LogRig:
    schemes: ClassVar = ("log", "test")
    body = staticmethod(plain_body)
    faults: ClassVar = ()

    def __init__(self, read_timeout_s: float) -> None:
        self.transport = LogTransport(configure(read_timeout_s))
        self.action = "log://"
        self._records: list[logging.LogRecord] = []
        self._handler = logging.Handler(logging.INFO)
        self._handler.emit = self._records.append  # type: ignore[method-assign]  # it is the rig's own
        log.LOG.addHandler(self._handler)
        self._level = log.LOG.level
        log.LOG.setLevel(logging.INFO)

    def received(self) -> list[str]:
        return [record.getMessage().partition(": ")[2] for record in self._records]

    def stop(self) -> None:
        log.LOG.removeHandler(self._handler)
        log.LOG.setLevel(self._level)


class HttpRig:
    schemes: ClassVar = ("http", "https")
    body = staticmethod(plain_body)
    faults: ClassVar = ("away", "failing", "hanging", "without name servers")
    prefix = ""

    def __init__(self, read_timeout_s: float) -> None:
        self._hook = HookServer(self._answer).start()
        self._taken: list[str] = []
        self._fault: str | None = None
        self.transport = self.make(configure(read_timeout_s))
        self._resolve = socket.getaddrinfo
        self._resolved = threading.Event()
        address = f"user:passw0rd@localhost:{self._hook.port}"
        self.action = f"{self.prefix}http://{address}/hook?signature=s1gnature"

    def make(self, conf: cfg.ConfigOpts) -> HttpTransport | TrustTransport:
        return HttpTransport(conf)

    def have(self, fault: str) -> None:
        self._fault = fault
        if fault == "away":
            self._hook.stop()
        if fault == "without name servers":
            socket.getaddrinfo = self._hang

    def recover(self) -> None:
        if self._fault == "away":
            self._hook.start()
        self._resolve_again()
        self._fault = None

    def received(self) -> list[str]:
        return list(self._taken)

    def stop(self) -> None:
        self._hook.stop()
        self._resolve_again()

    def _hang(self, *args: Any, flags: int = 0, **named: Any) -> Any:
        """Do as the system's resolver where name servers are silent."""
        if not flags & socket.AI_NUMERICHOST:
            self._resolved.wait(HANG_S)
        return self._resolve(*args, flags=flags, **named)

    def _resolve_again(self) -> None:
        socket.getaddrinfo = self._resolve
        self._resolved.set()

    def _answer(self, call: Call) -> Answer:
        if self._fault == "hanging":
            return Answer(delay_s=HANG_S)
        if self._fault is not None:
            return Answer(503)
        self._taken.append(call.body.decode())
        return Answer()


class StandInForKeystone:
    """Stands in for Keystone: gives a token of its own making. The lab's tests ask a real one."""

    def __init__(self) -> None:
        self.away = False

    def token(self, trust_id: str) -> str:
        assert trust_id == "trust-1d"
        if self.away:
            raise TrustUnavailable("Keystone cannot be used: ConnectFailure")
        return "t0ken"

    def renew(self, trust_id: str) -> None:
        assert trust_id == "trust-1d"


class TrustRig(HttpRig):
    schemes: ClassVar = ("trust+http", "trust+https")
    faults: ClassVar = (*HttpRig.faults, "without Keystone")
    prefix = "trust+"

    def make(self, conf: cfg.ConfigOpts) -> TrustTransport:
        self._keystone = StandInForKeystone()
        return TrustTransport(conf, self._keystone)

    def have(self, fault: str) -> None:
        if fault == "without Keystone":
            self._keystone.away = True
        else:
            super().have(fault)

    def recover(self) -> None:
        self._keystone.away = False
        super().recover()

    def _answer(self, call: Call) -> Answer:
        assert call.headers["x-auth-token"] == "t0ken"
        return super()._answer(call)


class HeatRig:
    """Has a stand-in for Heat; the lab's tests have a real one."""

    schemes: ClassVar = ("trust+heat",)
    faults: ClassVar = ("away", "failing", "hanging", "without Keystone")

    def __init__(self, read_timeout_s: float) -> None:
        self._heat = HeatStandIn().start()
        self._keystone = StandInForKeystone()
        self._fault: str | None = None
        self.action = "trust+heat://"
        self._conf = configure(read_timeout_s)
        self.transport = HeatTransport(self._conf, self)  # type: ignore[arg-type]  # as far as it goes

    def token(self, trust_id: str) -> str:
        return self._keystone.token(trust_id)

    def client(self, trust_id: str, group: str) -> Adapter:
        return client(self._conf, group, Session(), Token(self._heat.url, self.token(trust_id)))

    @staticmethod
    def body(number: int) -> str:
        members = [{"id": f"m{number}"}]
        wanted = {"pool_id": "p", "stack_id": "s", "asg_id": "g", "unhealthy_members": members}
        return json.dumps({"alarm_id": "a", "reason_data": wanted})

    def have(self, fault: str) -> None:
        self._fault = fault
        self._keystone.away = fault == "without Keystone"
        self._heat.status = 503 if fault == "failing" else None
        self._heat.hang_s = HANG_S if fault == "hanging" else 0.0
        if fault == "away":
            self._heat.stop()

    def recover(self) -> None:
        if self._fault == "away":
            self._heat.start()
        self.have("none")

    def received(self) -> list[str]:
        return [self.body(int(unit.removeprefix("u"))) for unit in self._heat.marked]

    def stop(self) -> None:
        self._heat.stop()


class ZaqarRig:
    """Has a stand-in for Zaqar; the lab's tests have a real one."""

    schemes: ClassVar = ("zaqar",)
    body = staticmethod(plain_body)
    faults: ClassVar = ("away", "failing", "hanging", "without Keystone")
    kind: ClassVar[type[ZaqarTransport | TrustZaqarTransport]] = ZaqarTransport
    action = "zaqar://?topic=t&subscriber=http://h/%3Fsignature=s1gnature"

    def __init__(self, read_timeout_s: float) -> None:
        self._zaqar = ZaqarStandIn().start()
        self._keystone = StandInForKeystone()
        self._fault: str | None = None
        self._conf = configure(read_timeout_s)
        self.transport = self.kind(self._conf, self)  # type: ignore[arg-type]  # as far as it goes

    def token(self, trust_id: str) -> str:
        return self._keystone.token(trust_id)

    def client(self, trust_id: str, group: str) -> Adapter:
        return client(self._conf, group, Session(), Token(self._zaqar.url, self.token(trust_id)))

    def own_client(self, group: str) -> Adapter:
        return self.client("trust-1d", group)

    def have(self, fault: str) -> None:
        self._fault = fault
        self._keystone.away = fault == "without Keystone"
        self._zaqar.status = 503 if fault == "failing" else None
        self._zaqar.hang_s = HANG_S if fault == "hanging" else 0.0
        if fault == "away":
            self._zaqar.stop()

    def recover(self) -> None:
        if self._fault == "away":
            self._zaqar.start()
        self.have("none")

    def received(self) -> list[str]:
        taken = []
        for message in [one for queue in self._zaqar.messages.values() for one in queue]:
            number = message["body"]["number"]
            assert message["body"].pop("notification_id") == f"n{number}"
            taken.append(json.dumps(message["body"], separators=(",", ":")))
        return taken

    def stop(self) -> None:
        self._zaqar.stop()


class TrustZaqarRig(ZaqarRig):
    schemes: ClassVar = ("trust+zaqar",)
    kind = TrustZaqarTransport
    action = "trust+zaqar://?queue_name=q"


RIGS = (FakeRig, LogRig, HttpRig, TrustRig, HeatRig, ZaqarRig, TrustZaqarRig)
Rig = FakeRig | LogRig | HttpRig | HeatRig | ZaqarRig


@pytest.fixture(params=RIGS, ids=lambda kind: kind.__name__)
def rig(request) -> Iterator[Rig]:
    rig = request.param(PATIENT_S)
    yield rig
    rig.stop()


@pytest.fixture(
    params=[(kind, fault) for kind in RIGS for fault in kind.faults],
    ids=lambda pair: f"{pair[0].__name__} {pair[1]}",
)
def faulty(request) -> Iterator[FakeRig | HttpRig | HeatRig | ZaqarRig]:
    """A rig whose target has a fault."""
    kind, fault = request.param
    rig = kind(READ_TIMEOUT_S if fault == "hanging" else PATIENT_S)
    rig.have(fault)
    yield rig
    rig.stop()


def notification(rig: Rig, number: int = 0) -> Notification:
    return Notification(
        notification_id=f"n{number}",
        alarm_id="a",
        action=rig.action,
        target=target_of(rig.action),
        trust_id="trust-1d",
        request_id="req-1",
        body=rig.body(number),
        attempts=0,
        created_us=NOW_US,
    )


def test_a_notification_is_delivered_once_and_whole(rig):
    rig.transport.send(notification(rig, 1), NOW_US)
    assert rig.received() == [rig.body(1)]


def test_many_threads_may_send_at_once(rig):
    sent = [notification(rig, number) for number in range(40)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda one: rig.transport.send(one, NOW_US), sent))
    assert Counter(rig.received()) == Counter(one.body for one in sent)


def test_a_failure_is_told_in_time_with_a_reason_and_may_be_tried_again(faulty):
    begun = time.monotonic()
    with pytest.raises(DeliveryFailed, match=r"\w") as caught:
        faulty.transport.send(notification(faulty), NOW_US)
    # a second and a half by the options; the rest is what a busy machine may take
    assert time.monotonic() - begun < CONNECT_TIMEOUT_S + READ_TIMEOUT_S + 15 < HANG_S
    assert not caught.value.final
    assert caught.value.retry_after_s >= 0
    assert faulty.received() == []
    faulty.recover()
    faulty.transport.send(notification(faulty, 2), NOW_US)
    assert faulty.received() == [faulty.body(2)]


def test_neither_reasons_nor_logs_tell_secrets(faulty, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DeliveryFailed) as caught:
        faulty.transport.send(notification(faulty), NOW_US)
    for secret in SECRETS:
        assert secret not in str(caught.value)
        assert secret not in caplog.text


def test_what_is_delivered_leaves_no_secrets_in_the_log(rig, caplog):
    caplog.set_level(logging.DEBUG)
    rig.transport.send(notification(rig), NOW_US)
    for secret in SECRETS:
        assert secret not in caplog.text


def test_every_installed_transport_has_a_rig():
    assert set(load_transports(configure())) == {name for kind in RIGS for name in kind.schemes}
