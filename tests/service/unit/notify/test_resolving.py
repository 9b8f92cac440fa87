# SPDX-License-Identifier: Apache-2.0
"""How long names are waited for that the system's resolver hangs at."""

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.unit.notify.conftest import configure
from tests.service.unit.notify.test_egress import notification
from thermostat.db.outbox import Status
from thermostat.notify.resolving import Resolver
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.http import HttpTransport

HERE = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


class NameServers:
    """Stand in for the system's resolver: names in `hanging.example` hang until released."""

    def __init__(self, monkeypatch):
        self.asked = []
        self.released = threading.Event()
        self._resolve = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host, *args, **named):
        if named.get("flags", 0) & socket.AI_NUMERICHOST:
            return self._resolve(host, *args, **named)
        self.asked.append(host)
        if host.endswith("hanging.example"):
            self.released.wait(30.0)
        if host.startswith("unknown"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return HERE


@pytest.fixture
def names(monkeypatch):
    names = NameServers(monkeypatch)
    yield names
    names.released.set()


def not_in_time(resolver, host, within_s=0.1):
    begun = time.monotonic()
    with pytest.raises(TimeoutError):
        resolver.addresses(host, within_s)
    return time.monotonic() - begun


class TestResolver:
    def test_a_name_and_an_address(self, names):
        resolver = Resolver()
        assert resolver.addresses("a.example", 5.0) == HERE
        assert resolver.addresses("127.0.0.1", 5.0)[0][4][0] == "127.0.0.1"
        assert resolver.addresses("::1", 5.0)[0][4][0] == "::1"
        assert names.asked == ["a.example"], "an address is not looked up"

    @pytest.mark.parametrize("host", ["unknown.example", "a" * 64 + ".example", "a..example"])
    @pytest.mark.usefixtures("names")
    def test_what_is_no_name(self, host):
        with pytest.raises((socket.gaierror, UnicodeError)):
            Resolver().addresses(host, 5.0)

    @pytest.mark.usefixtures("names")
    def test_a_name_that_hangs_is_not_waited_for(self):
        assert 0.1 <= not_in_time(Resolver(), "hanging.example") < 15.0

    def test_it_takes_one_thread_however_often_it_is_tried(self, names):
        resolver = Resolver()
        before = threading.active_count()
        for _ in range(5):
            not_in_time(resolver, "hanging.example", 0.01)
        assert names.asked == ["hanging.example"]
        assert threading.active_count() <= before + 1
        names.released.set()
        assert resolver.addresses("hanging.example", 5.0) == HERE

    def test_all_who_wait_for_it_get_it(self, names):
        resolver = Resolver()
        with ThreadPoolExecutor(8) as threads:
            asked = [threads.submit(resolver.addresses, "hanging.example", 10.0) for _ in range(8)]
            time.sleep(0.1)
            names.released.set()
            assert [one.result(10.0) for one in asked] == [HERE] * 8
        assert names.asked == ["hanging.example"]

    @pytest.mark.usefixtures("names")
    def test_others_are_looked_up_meanwhile(self):
        resolver = Resolver(most=3)
        for number in range(2):
            not_in_time(resolver, f"{number}.hanging.example", 0.01)
        assert resolver.addresses("a.example", 5.0) == HERE

    def test_no_more_than_so_many_at_once(self, names):
        resolver = Resolver(most=2)
        for number in range(4):
            not_in_time(resolver, f"{number}.hanging.example", 0.01)
        assert len(names.asked) == 2
        assert 0.1 <= not_in_time(resolver, "a.example") < 15.0
        assert resolver.addresses("127.0.0.1", 0.1), "an address needs no turn"
        threading.Timer(0.1, names.released.set).start()
        assert resolver.addresses("a.example", 10.0) == HERE, "it gets its turn"

    def test_an_answer_is_not_kept(self, names):
        resolver = Resolver()
        for _ in range(2):
            resolver.addresses("a.example", 5.0)
        assert names.asked == ["a.example"] * 2


class TestAttempts:
    def failure(self, url, **options):
        begun = time.monotonic()
        with pytest.raises(DeliveryFailed) as caught:
            HttpTransport(configure(**options)).send(notification(url), 0)
        assert time.monotonic() - begun < 15.0
        assert not caught.value.final
        return str(caught.value)

    @pytest.mark.parametrize("option", ["connect_timeout", "attempt_timeout"])
    @pytest.mark.usefixtures("names")
    def test_their_time_holds_for_names_too(self, option):
        reason = self.failure("http://hanging.example/", **{option: 0.1})
        assert reason == "the host's name was not resolved in time"

    @pytest.mark.usefixtures("names")
    def test_a_name_that_has_no_address(self):
        reason = self.failure("http://unknown.example/")
        assert reason == "the host's name cannot be resolved"

    def test_names_that_hang_delay_nobody_and_are_tried_again(self, names, notifier, hook):
        notifier.start(connect_timeout=0.2)
        hung = [f"http://{number}.hanging.example:{hook.port}/" for number in range(30)]
        notifier.fire(*hung)
        begun = time.monotonic()
        notifier.fire(f"http://a.example:{hook.port}/")
        counts = notifier.wait(pending=len(hung))
        assert time.monotonic() - begun < 15.0
        assert counts[Status.DELIVERED] == 1
        names.released.set()
        assert notifier.wait()[Status.DELIVERED] == len(hung) + 1
