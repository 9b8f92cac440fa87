# SPDX-License-Identifier: Apache-2.0
"""Targets that misbehave: cut off in time, with the reason in the notification's row."""

import socket
import ssl
import subprocess
import threading
import time
from contextlib import closing

import pytest

from tests.service.unit.notify.conftest import configure
from tests.service.unit.notify.test_egress import notification
from thermostat.db.outbox import Status
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.http import HttpTransport

HEAD = b"HTTP/1.1 200 OK\r\n"


class Raw:
    """A server that sends what it is told to on each connection, slowly where there are pauses."""

    def __init__(self, *pieces, pause_s=0.0, repeat=1, context=None):
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=200)
        self._pieces, self._pause_s, self._repeat = pieces, pause_s, repeat
        self._context = context
        self.sent = 0
        self.requests = []
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/hook"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection):
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with closing(connection):
                self.requests.append(connection.recv(65536))
                for _ in range(self._repeat):
                    for piece in self._pieces:
                        connection.sendall(piece)
                        self.sent += len(piece)
                        time.sleep(self._pause_s)
        except OSError:
            connection.close()

    def close(self):
        self._listener.close()


@pytest.fixture
def raw():
    servers = []

    def make(*pieces, **options):
        servers.append(Raw(*pieces, **options))
        return servers[-1]

    yield make
    for server in servers:
        server.close()


def failure(url, **options):
    with pytest.raises(DeliveryFailed) as caught:
        HttpTransport(configure(**options)).send(notification(url), 0)
    return str(caught.value)


def test_an_answer_that_trickles_is_cut_off(raw):
    server = raw(b"H", b"T", b"T", b"P", pause_s=0.1, repeat=100)
    begun = time.monotonic()
    assert failure(server.url, attempt_timeout=0.7) == "no whole answer within 0.7 s"
    assert time.monotonic() - begun < 2.0


def test_headers_that_trickle_are_cut_off(raw):
    server = raw(HEAD, *[b"X-A: b\r\n"] * 50, pause_s=0.1)
    assert failure(server.url, attempt_timeout=0.7) == "no whole answer within 0.7 s"


def test_a_body_that_trickles_holds_nobody_up(raw):
    server = raw(HEAD + b"Content-Length: 50\r\n\r\n", *[b"x"] * 50, pause_s=0.2)
    begun = time.monotonic()
    remark = HttpTransport(configure()).send(notification(server.url), 0)
    assert "cut off after" in remark
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Content-Length: 1073741824\r\n\r\n",
        HEAD + b"Connection: close\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n10000\r\n",
    ],
)
def test_an_answer_of_a_gigabyte_is_not_read(raw, head):
    server = raw(head, b"x" * 65536, repeat=16384)
    begun = time.monotonic()
    remark = HttpTransport(configure()).send(notification(server.url), 0)
    assert "bytes was cut off" in remark
    assert time.monotonic() - begun < 2.0
    time.sleep(0.2)
    assert server.sent < 32 * 1024 * 1024, "it must be hung up on"


def test_what_was_cut_off_is_in_the_status(raw, notifier):
    server = raw(HEAD + b"Content-Length: 1073741824\r\n\r\n", b"x" * 65536, repeat=16384)
    notifier.start()
    notifier.fire(server.url)
    assert notifier.wait()[Status.DELIVERED] == 1
    assert notifier.rows()[0]["last_error"] == "an answer of 1073741824 bytes was cut off"


def test_endless_headers(raw):
    server = raw(HEAD, b"X: " + b"y" * 65536)
    assert "not HTTP" in failure(server.url)


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x15\x03\x01\x00\x02\x02\x16"])
def test_what_is_not_http(raw, answer):
    assert "not HTTP" in failure(raw(answer).url)


OK = HEAD + b"Content-Length: 0\r\n\r\n"


def interim(status, headers=b"Link: </x>\r\n"):
    return f"HTTP/1.1 {status} Interim\r\n".encode() + headers + b"\r\n"


class TestInterimAnswers:
    @pytest.mark.parametrize("status", [100, 102, 103, 199])
    @pytest.mark.parametrize("pause_s", [0.0, 0.1])
    def test_the_one_after_them_counts(self, raw, status, pause_s):
        server = raw(interim(status), interim(100, b""), interim(status), OK, pause_s=pause_s)
        assert HttpTransport(configure()).send(notification(server.url), 0) is None
        assert len(server.requests) == 1

    def test_that_may_be_a_failure(self, raw):
        answer = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"
        with pytest.raises(DeliveryFailed, match=r"^HTTP 503$") as caught:
            HttpTransport(configure()).send(notification(raw(interim(103) + answer).url), 0)
        assert caught.value.retry_after_s == 7.0

    def test_their_headers_are_not_the_answers(self, raw):
        server = raw(
            interim(103, b"Location: /x\r\nContent-Length: 9\r\n") + b"HTTP/1.1 307 T\r\n\r\n"
        )
        assert "without a Location" in failure(server.url)

    @pytest.mark.parametrize("status", [100, 103])
    def test_there_is_an_end_to_them(self, raw, status):
        server = raw(interim(status), repeat=100_000)
        begun = time.monotonic()
        assert failure(server.url) == "more than 20 interim answers"
        assert time.monotonic() - begun < 15.0

    @pytest.mark.parametrize("status", [100, 103])
    def test_they_do_not_prolong_an_attempt(self, raw, status):
        server = raw(interim(status), pause_s=0.1, repeat=100)
        assert failure(server.url, attempt_timeout=0.5) == "no whole answer within 0.5 s"

    def test_nothing_after_them(self, raw):
        assert failure(raw(interim(103)).url) == "the connection broke (RemoteDisconnected)"

    def test_a_connection_is_kept_after_them(self, raw):
        transport = HttpTransport(configure())
        server = raw(interim(103) + OK, pause_s=1.0)
        transport.send(notification(server.url), 0)
        assert transport._poster._kept == 1

    def test_another_protocol_is_a_failure(self, raw):
        transport = HttpTransport(configure())
        server = raw(interim(101, b"Upgrade: x\r\n"), OK, pause_s=0.2)
        with pytest.raises(DeliveryFailed, match="HTTP 101") as caught:
            transport.send(notification(server.url), 0)
        assert not caught.value.final
        assert transport._poster._kept == 0


def test_a_connection_that_breaks(raw):
    assert "the connection broke" in failure(raw().url)


def test_no_answer(raw):
    assert failure(raw(b"", pause_s=5.0).url, read_timeout=0.2) == "no answer in time"


def test_a_kept_connection_that_was_closed_costs_nothing(raw):
    server = raw(HEAD + b"Content-Length: 0\r\n\r\n")
    transport = HttpTransport(configure())
    for _ in range(3):
        transport.send(notification(server.url), 0)
    assert len(server.requests) == 3


def test_connections_are_kept(hook):
    transport = HttpTransport(configure())
    for _ in range(3):
        transport.send(notification(hook.url), 0)
    assert len(hook.calls) == 3
    assert transport._poster._kept == 1


class TestTls:
    @pytest.fixture
    def certificate(self, tmp_path):
        """A certificate that nobody has signed, for another name."""
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other.example"
        subprocess.run(
            [*command.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
            check=True,
            capture_output=True,
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
        return context

    @pytest.fixture
    def server(self, raw, certificate):
        return raw(HEAD + b"Content-Length: 0\r\n\r\n", context=certificate)

    def test_a_certificate_that_does_not_verify(self, server):
        reason = failure(server.url.replace("http:", "https:"))
        assert reason == "TLS failed: the certificate is not valid: self-signed certificate"
        assert server.requests == []

    def test_a_certificate_for_another_name(self, server, tmp_path):
        reason = failure(server.url.replace("http:", "https:"), ca_file=str(tmp_path / "cert"))
        assert "certificate is not valid for '127.0.0.1'" in reason
        assert server.requests == []

    def test_it_may_be_left_unchecked(self, server):
        url = server.url.replace("http:", "https:") + "?aodh-alarm-ssl-verify=0"
        HttpTransport(configure()).send(notification(url), 0)
        assert len(server.requests) == 1

    @pytest.mark.parametrize("said", ["", "?aodh-alarm-ssl-verify=0"])
    @pytest.mark.parametrize("scheme", ["http", "https"])
    def test_only_of_the_server_that_the_alarm_names(self, raw, certificate, server, scheme, said):
        there = server.url.replace("http:", "https:") + said
        first = raw(
            b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: " + there.encode() + b"\r\n\r\n",
            context=certificate if scheme == "https" else None,
        )
        reason = failure(first.url.replace("http:", f"{scheme}:") + "?aodh-alarm-ssl-verify=0")
        assert reason == "TLS failed: the certificate is not valid: self-signed certificate"
        assert len(first.requests) == 1
        assert server.requests == []

    def test_redirects_to_that_server_leave_it_unchecked_too(self, raw, certificate):
        server = raw(
            b"HTTP/1.1 307 Moved\r\nContent-Length: 0\r\nLocation: /again\r\n\r\n",
            context=certificate,
        )
        url = server.url.replace("http:", "https:") + "?aodh-alarm-ssl-verify=0"
        assert "too many redirects" in failure(url, max_redirects=1)
        assert len(server.requests) == 2

    def test_a_target_without_tls(self, hook):
        assert "TLS failed" in failure(hook.url.replace("http:", "https:"))
