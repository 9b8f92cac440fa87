# SPDX-License-Identifier: Apache-2.0
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from tests.service.alarm_support import open_database
from tests.service.unit.notify.conftest import configure
from thermostat.db.outbox import Notification
from thermostat.db.signing import WebhookSecrets
from thermostat.db.targets import target_of
from thermostat.notify.backoff import Backoff
from thermostat.notify.loading import load_transports
from thermostat.notify.transports import http
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.http import HttpTransport
from thermostat.notify.transports.trust import TrustTransport
from thermostat.trusts import TrustUnavailable

ROOT = Path(__file__).parents[4]
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

    @given(failures=st.integers(1, 10_000), seed=st.integers())
    def test_the_last_attempt_is_at_the_deadline(self, failures, seed):
        assert 3599.0 <= next_s(failures, now_s=3599.0, seed=seed) <= 3600.0

    @given(seed=st.integers())
    def test_nothing_is_given_up_before_its_deadline(self, seed):
        now_s, failures = 0.0, 0
        while (later_s := next_s(failures + 1, now_s=now_s, seed=seed + failures)) is not None:
            now_s, failures = later_s, failures + 1
        assert now_s == 3600.0

    def test_ends_at_the_deadline(self):
        assert next_s(9, now_s=3600.0) is None
        assert next_s(9, now_s=3700.0) is None


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "target"),
        [
            ("http://H.example:80/x?y", "h.example"),
            ("http://h.example:443/", "h.example:443"),
            ("https://h.example.:443/x", "h.example"),
            ("trust+https://h.example:443/x", "h.example"),
            ("trust+http://u@h.example/x", "h.example"),
            ("http://h.example:8000?x", "h.example:8000"),
            ("http://127.1:81/", "127.0.0.1:81"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://web1/", "web1"),
            ("http://[2001:DB8::1]:81/", "[2001:db8::1]:81"),
            ("http://[2001:db8::1]:80/", "[2001:db8::1]"),
            ("log://", "log"),
            ("trust+heat://", "trust+heat"),
            ("zaqar://?topic=x", "zaqar"),
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


class TestSignature:
    """By the Standard Webhooks scheme, as its own library judges."""

    @pytest.fixture
    def engine(self, tmp_path):
        engine = open_database(tmp_path / "secrets.sqlite")
        yield engine
        engine.dispose()

    @pytest.fixture
    def secrets(self, engine):
        return WebhookSecrets(engine)

    def sent(self, hook, keys):
        signed = msgspec.structs.replace(
            TestTrustTransport().notification(hook.url),
            action=hook.url,
            body='{"alarm_name":"b\u00fcsy"}',
            signing_keys=keys,
        )
        HttpTransport(configure()).send(signed, int(time.time() * 1e6))
        (call,) = hook.calls
        return call

    def test_the_projects_secret_verifies_it(self, hook, secrets):
        call = self.sent(hook, secrets.keys("p1"))
        assert Webhook(secrets.secret("p1")).verify(call.body, call.headers) == {
            "alarm_name": "b\u00fcsy"
        }
        with pytest.raises(WebhookVerificationError):
            Webhook(secrets.secret("p2")).verify(call.body, call.headers)
        with pytest.raises(WebhookVerificationError):
            Webhook(secrets.secret("p1")).verify(call.body + b" ", call.headers)

    def test_the_docs_receiver_verifies_it(self, hook, secrets):
        page = (ROOT / "docs" / "notifications.md").read_text()
        names = {}
        exec(page.partition("```python\n")[2].partition("```")[0], names)
        receiver = names["Receiver"](secrets.secret("p1"))
        call = self.sent(hook, secrets.keys("p1"))
        assert receiver.is_genuine(call.headers, call.body)
        assert not receiver.is_genuine(call.headers, call.body + b" ")
        assert not receiver.is_genuine({**call.headers, "webhook-timestamp": "1"}, call.body)
        assert not names["Receiver"](secrets.secret("p2")).is_genuine(call.headers, call.body)

    def test_both_secrets_verify_it_after_a_replacement(self, hook, secrets):
        before = secrets.secret("p1")
        after = secrets.replace("p1")
        assert before != after == secrets.secret("p1")
        call = self.sent(hook, secrets.keys("p1"))
        for secret in (before, after):
            Webhook(secret).verify(call.body, call.headers)

    def test_the_earlier_secret_ends_after_a_day(self, engine):
        secrets = WebhookSecrets(engine, clock=lambda: now_s)
        now_s = 1000.0
        secrets.secret("p1")
        secrets.replace("p1")
        assert len(secrets.keys("p1")) == 2
        secrets, now_s = WebhookSecrets(engine, clock=lambda: now_s), 1000.0 + 86_401
        assert len(secrets.keys("p1")) == 1

    def test_servers_that_make_it_at_once_agree(self, engine):
        with ThreadPoolExecutor(8) as threads:
            made = threads.map(lambda _: WebhookSecrets(engine).secret("p1"), range(16))
        assert len(set(made)) == 1

    def test_notifications_have_their_projects_keys(self, notifier, hook):
        notifier.start()
        notifier.fire(hook.url)
        notifier.wait()
        secret = WebhookSecrets(notifier.engine).secret("p1")
        Webhook(secret).verify(hook.calls[0].body, hook.calls[0].headers)
