# SPDX-License-Identifier: Apache-2.0
"""Which targets may be called: in the URL, behind a name, and after a redirect."""

import socket

import pytest
from oslo_config import cfg

from tests.service.hooks import Answer
from tests.service.unit.notify.conftest import configure
from thermostat.db.outbox import Notification
from thermostat.notify.egress import Egress, TargetRefused
from thermostat.notify.loading import load_transports
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.transports.trust import TrustTransport

METADATA = [
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "①⑥⑨.254.169.254",
    "①⑥⑨。254。169。254",
    "169.254.169.254.",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::a9fe:a9fe",
    "fe80::1%eth0",
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fd00:100::100:200",
    "100.100.100.200",
    "::ffff:100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "::ffff:0:169.254.169.254",
    "::ffff:0:a9fe:a9fe",
    "64:ff9b::192.0.0.192",
    "64:ff9b:1::a9fe:a9fe",
    "64:ff9b:1:fffe::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "64:ff9b:1::8.8.8.8",
    "2001:0:1:2:3:4:5601:5601",
    "2001:0:a9fe:a9fe::1",
    "0.0.0.0",
    "0",
    "::",
    "224.0.0.1",
    "255.255.255.255",
    "ff02::1",
]


def notification(url):
    return Notification(
        notification_id="n1",
        alarm_id="a1",
        action=url,
        target="x",
        trust_id=None,
        request_id="req-1",
        body="{}",
        attempts=0,
        created_us=0,
    )


def send(url, **options):
    return HttpTransport(configure(**options)).send(notification(url), 0)


def refusal(url, **options):
    with pytest.raises(DeliveryFailed) as caught:
        send(url, **options)
    assert caught.value.final
    return str(caught.value)


def resolve_to(monkeypatch, *addresses):
    """Have every name lead to these."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in addresses]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_named: found)


class TestRules:
    @pytest.mark.parametrize("host", METADATA)
    def test_what_is_always_refused(self, host):
        with pytest.raises(TargetRefused, match=r"address .* is refused"):
            Egress().check_url("http", host, None)

    @pytest.mark.parametrize(
        "host",
        [
            "127.0.0.1",
            "10.0.0.1",
            "100.100.100.100",
            "192.0.0.193",
            "2001:db8::1",
            "fd20:ce::1",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:2::1",
            "a.example",
            "1e100.example",
        ],
    )
    def test_what_is_not(self, host):
        Egress().check_url("http", host, None)

    def test_networks(self):
        rules = Egress.of(
            configure(denied_networks=["10.0.0.0/8", "::1"], allowed_networks=["10.1.0.0/16"])
        )
        rules.check_url("http", "10.1.2.3", None)
        within = ("::ffff:10.2.0.1", "::ffff:0:10.2.0.1", "64:ff9b::10.2.0.1", "2002:a02:1::1")
        for host in ("10.2.0.1", *within, "::1", "169.254.169.254"):
            with pytest.raises(TargetRefused):
                rules.check_url("http", host, None)

    def test_what_is_always_refused_may_be_allowed(self):
        Egress.of(configure(allowed_networks=["169.254.0.0/16"])).check_address("169.254.1.1")
        local = Egress.of(configure(allowed_networks=["64:ff9b:1::/96"]))
        local.check_address("64:ff9b:1::8.8.8.8")
        with pytest.raises(TargetRefused):
            local.check_address("64:ff9b:1:1::8.8.8.8")

    def test_ports(self):
        rules = Egress.of(configure(allowed_ports=["443", "8000-8004"]))
        rules.check_url("https", "a.example", None)
        rules.check_url("http", "a.example", 8004)
        for scheme, port in (("http", None), ("https", 8005), ("http", 0)):
            with pytest.raises(TargetRefused, match="port"):
                rules.check_url(scheme, "a.example", port)

    @pytest.mark.parametrize(
        "wrong",
        [
            {"allowed_ports": ["http"]},
            {"allowed_ports": ["0"]},
            {"allowed_ports": ["1-70000"]},
            {"denied_networks": ["10.0.0.1/8"]},
            {"allowed_networks": ["example.org"]},
        ],
    )
    def test_wrong_options_are_named(self, wrong):
        with pytest.raises(cfg.Error, match=next(iter(wrong))):
            Egress.of(configure(**wrong))

    def test_schemes(self):
        allowed = load_transports(configure(allowed_schemes=["https", "trust+https"]))
        assert set(allowed) == {"https", "trust+https"}


class TestAtDelivery:
    @pytest.mark.parametrize(
        "host", ["169.254.169.254", "2852039166", "[::ffff:169.254.169.254]", "0.0.0.0"]
    )
    def test_an_address_is_refused_unconnected(self, monkeypatch, host):
        monkeypatch.setattr(socket.socket, "connect", None)
        assert "is refused" in refusal(f"http://{host}/")

    def test_a_name_that_only_now_leads_there(self, monkeypatch):
        resolve_to(monkeypatch, "169.254.169.254")
        monkeypatch.setattr(socket.socket, "connect", None)
        assert refusal("http://innocent.example/") == (
            "link-local address 169.254.169.254 is refused"
        )

    def test_a_name_with_another_address_too_leads_to_that(self, hook, monkeypatch):
        resolve_to(monkeypatch, "169.254.169.254", "127.0.0.1")
        send(f"http://both.example:{hook.port}/")
        assert len(hook.calls) == 1

    @pytest.mark.parametrize(
        "addresses",
        [["127.0.0.1", "169.254.169.254"], ["169.254.169.254", "127.0.0.1"]],
        ids=["before", "after"],
    )
    def test_beside_a_refused_address_one_may_be_down_for_a_while(
        self, hook, monkeypatch, addresses
    ):
        resolve_to(monkeypatch, *addresses)
        hook.stop()
        with pytest.raises(DeliveryFailed, match="no connection") as caught:
            send(f"http://both.example:{hook.port}/")
        assert not caught.value.final
        hook.start()
        send(f"http://both.example:{hook.port}/")
        assert len(hook.calls) == 1

    def test_where_all_addresses_are_refused(self, monkeypatch):
        resolve_to(monkeypatch, "10.0.0.1", "169.254.169.254")
        monkeypatch.setattr(socket.socket, "connect", None)
        assert "is refused" in refusal("http://both.example/", denied_networks=["10.0.0.0/8"])

    def test_networks_and_ports_of_the_options(self, hook):
        assert "127.0.0.1" in refusal(hook.url, denied_networks=["127.0.0.0/8"])
        assert f"port {hook.port}" in refusal(hook.url, allowed_ports=["443"])
        assert hook.calls == []


class TestRedirects:
    @pytest.mark.parametrize("status", [307, 308])
    def test_are_followed_with_the_same_request(self, hook, make_hook, status):
        first = make_hook(
            lambda _call: Answer(status, {"Location": f"{hook.url}/there?Signature=x"})
        )
        send(first.url)
        (before,), (after,) = first.calls, hook.calls
        assert after.path == "/there?Signature=x"
        assert after.body == before.body
        assert after.headers["webhook-id"] == before.headers["webhook-id"]

    def test_relative_ones(self, make_hook):
        hook = make_hook(
            lambda call: Answer() if call.path == "/b" else Answer(307, {"Location": "/b"})
        )
        send(f"{hook.url}/a")
        assert [call.path for call in hook.calls] == ["/a", "/b"]

    @pytest.mark.parametrize(
        ("location", "reason"),
        [
            ("http://169.254.169.254/latest", "link-local"),
            ("http://2852039166/latest", "link-local"),
            ("http://[::ffff:169.254.169.254]/", "link-local"),
            ("file:///etc/passwd", "from http to file"),
            ("gopher://127.0.0.1/", "from http to gopher"),
            ("http://u:p@127.0.0.1/", "user name"),
            ("http://[x", "invalid URL"),
        ],
    )
    def test_to_a_refused_target(self, make_hook, location, reason):
        hook = make_hook(lambda _call: Answer(307, {"Location": location}))
        assert reason in refusal(hook.url)

    def test_to_a_refused_port(self, hook, make_hook):
        first = make_hook(lambda _call: Answer(307, {"Location": hook.url}))
        assert f"port {hook.port}" in refusal(first.url, allowed_ports=[str(first.port)])
        assert hook.calls == []

    def test_to_a_scheme_that_is_not_allowed(self, hook, make_hook):
        there = hook.url.replace("http:", "https:")
        first = make_hook(lambda _call: Answer(307, {"Location": there}))
        assert "the scheme https is not allowed" in refusal(first.url, allowed_schemes=["http"])
        with pytest.raises(DeliveryFailed, match="TLS failed"):  # it was followed
            send(first.url, allowed_schemes=["http", "https"])

    def test_of_the_only_allowed_scheme(self, hook, make_hook):
        first = make_hook(lambda _call: Answer(307, {"Location": hook.url}))
        send(first.url, allowed_schemes=["http"])
        assert len(hook.calls) == 1

    def test_in_a_circle(self, make_hook):
        hook = make_hook(lambda _call: Answer(308, {"Location": "/"}))
        with pytest.raises(DeliveryFailed, match="too many redirects"):
            send(hook.url, max_redirects=2)
        assert len(hook.calls) == 3

    def test_a_token_is_not_taken_to_another_host(self, hook, make_hook):
        class Trusts:
            def token(self, _trust_id):
                return "t0ken"

        first = make_hook(lambda _call: Answer(307, {"Location": f"{hook.url}/x"}))
        lent = Notification(
            **{
                **{
                    name: getattr(notification(""), name) for name in Notification.__struct_fields__
                },
                "action": f"trust+{first.url}/",
                "trust_id": "t1",
            }
        )
        with pytest.raises(DeliveryFailed, match="another host"):
            TrustTransport(configure(), Trusts()).send(lent, 0)
        assert hook.calls == []
