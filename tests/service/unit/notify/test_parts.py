# SPDX-License-Identifier: Apache-2.0
import random
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.unit.notify.conftest import configure
from thermostat.db.outbox import Notification, target_of
from thermostat.notify.backoff import Backoff
from thermostat.notify.loading import load_transports
from thermostat.notify.transports import http
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.trust import TrustTransport
from thermostat.trusts import TrustUnavailable

BACKOFF = Backoff(base_s=1.0, most_s=60.0, deadline_s=3600.0)


def next_s(failures, *, now_s=0.0, retry_after_s=0.0, seed=0):
    next_us = BACKOFF.next_attempt_us(
        int(now_s * 1e6),
        created_us=0,
        failures=failures,
        retry_after_s=retry_after_s,
        rng=random.Random(seed),
    )
    return None if next_us is None else next_us / 1e6


class TestBackoff:
    @given(failures=st.integers(1, 10_000), seed=st.integers())
    def test_is_drawn_from_a_doubling_span(self, failures, seed):
        assert 0 <= next_s(failures, seed=seed) <= min(60.0, 2.0 ** min(failures - 1, 60))

    def test_uses_the_whole_span(self):
        drawn = [next_s(5, seed=seed) for seed in range(200)]
        assert min(drawn) < 2.0
        assert max(drawn) > 14.0

    def test_retry_after_is_the_least(self):
        assert next_s(1, retry_after_s=30.0) == 30.0

    def test_retry_after_beyond_the_deadline_means_the_deadline(self):
        assert next_s(1, retry_after_s=1e9) == 3600.0

    def test_ends_at_the_deadline(self):
        assert next_s(9, now_s=3700.0) is None


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("http://H.example:80/x?y", "h.example:80"),
            ("trust+http://u@h.example/x", "h.example"),
            ("log://", "log"),
        ],
    )
    def test_target(self, url, target):
        assert target_of(url) == target


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("value", "seconds"), [(None, 0), ("", 0), ("17", 17), (" 3 ", 3), ("soon", 0), ("-5", 0)]
    )
    def test_number(self, value, seconds):
        assert http.retry_after_s(value) == seconds

    def test_date(self):
        value = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
        assert 90 < http.retry_after_s(value) <= 100
        assert http.retry_after_s("Mon, 01 Jan 2001 00:00:00 GMT") == 0


class _Socket:
    """Stands in for a connection to an address that this machine cannot have."""

    def __init__(self, address):
        self._address = address
        self.closed = False

    def getpeername(self):
        return (self._address, 80)

    @property
    def sock(self):
        return self

    def close(self):
        self.closed = True


class TestGuard:
    @pytest.mark.parametrize(
        "address",
        ["169.254.169.254", "fe80::1%eth0", "::ffff:169.254.169.254", "fd00:ec2::254"],
    )
    def test_hangs_up_on_metadata_addresses(self, address):
        connection = _Socket(address)
        with pytest.raises(DeliveryFailed, match="link-local") as failure:
            http._Guarded().refuse_forbidden(connection)
        assert failure.value.final
        assert connection.closed

    @pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.1", "2001:db8::1", "::1"])
    def test_lets_others_pass(self, address):
        connection = _Socket(address)
        http._Guarded().refuse_forbidden(connection)
        assert not connection.closed


class _Trusts:
    """Stands in for Keystone; the real one is asked in the lab."""

    def __init__(self, *tokens):
        self._tokens = list(tokens)
        self.renewed = 0

    def token(self, _trust_id):
        if not self._tokens:
            raise TrustUnavailable("Keystone cannot be used: ConnectFailure")
        return self._tokens[0]

    def renew(self, _trust_id):
        self.renewed += 1
        del self._tokens[0]


class TestTrustTransport:
    def notification(self, url, trust_id="t1"):
        return Notification(
            notification_id="n1",
            alarm_id="a1",
            action=f"trust+{url}/signal",
            target="x",
            trust_id=trust_id,
            request_id="req-1",
            body="{}",
            attempts=0,
            created_us=0,
        )

    def test_sends_the_trusts_token(self, hook):
        TrustTransport(configure(), _Trusts("token-1")).send(self.notification(hook.url), 0)
        assert hook.calls[0].headers["x-auth-token"] == "token-1"

    def test_a_refused_token_is_renewed_once(self, make_hook):
        from tests.service.hooks import Answer

        hook = make_hook(
            lambda call: Answer(200 if call.headers["x-auth-token"] == "fresh" else 401)
        )
        trusts = _Trusts("stale", "fresh")
        TrustTransport(configure(), trusts).send(self.notification(hook.url), 0)
        assert [call.headers["x-auth-token"] for call in hook.calls] == ["stale", "fresh"]
        with pytest.raises(DeliveryFailed, match="HTTP 401"):
            TrustTransport(configure(), _Trusts("a", "b", "c")).send(self.notification(hook.url), 0)
        assert len(hook.calls) == 4

    def test_without_keystone_it_is_tried_again(self, hook):
        with pytest.raises(DeliveryFailed, match="ConnectFailure") as failure:
            TrustTransport(configure(), _Trusts()).send(self.notification(hook.url), 0)
        assert not failure.value.final
        assert hook.calls == []

    def test_without_a_trust(self, hook):
        with pytest.raises(DeliveryFailed, match="no trust") as failure:
            TrustTransport(configure(), _Trusts("x")).send(self.notification(hook.url, None), 0)
        assert failure.value.final


def test_every_installed_transport_loads():
    transports = load_transports(configure())
    assert set(transports) >= {"http", "https", "trust+http", "trust+https", "log"}
    assert transports["http"] is transports["https"]
