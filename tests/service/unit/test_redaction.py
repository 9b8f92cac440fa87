# SPDX-License-Identifier: Apache-2.0
import io
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.redaction import (
    hidden,
    is_hidden,
    restored,
    scrub_logs,
    scrubbed,
    short,
)

EC2 = (
    "http://heat.example:8000/v1/signal/arn%3Aopenstack%3Aheat%3A%3Ap%3Astacks/s/policy"
    "?Timestamp=2026-11-25T00%3A00%3A00Z&SignatureMethod=HmacSHA256&AWSAccessKeyId=1a2b"
    "&SignatureVersion=2&Signature=q%2Bs3cret%3D"
)
SWIFT = "https://swift.example/v1/AUTH_p/c/o?temp_url_sig=deadbeef&temp_url_expires=1764000000"


class TestHidden:
    @pytest.mark.parametrize(
        ("url", "seen"),
        [
            (
                EC2,
                "http://heat.example:8000/v1/signal/arn%3Aopenstack%3Aheat%3A%3Ap%3Astacks/s/policy"
                "?Timestamp=2026-11-25T00%3A00%3A00Z&SignatureMethod=HmacSHA256&AWSAccessKeyId=***"
                "&SignatureVersion=2&Signature=***",
            ),
            (
                SWIFT,
                "https://swift.example/v1/AUTH_p/c/o?temp_url_sig=***&temp_url_expires=1764000000",
            ),
            ("http://h/?x-auth-TOKEN=t&c2VjcmV0==", "http://h/?x-auth-TOKEN=***&***"),
            ("https://h/hook?anything=at-all", "https://h/hook?anything=***"),
            ("https://h/hook?bare", "https://h/hook?***"),
            ("https://user:pass@h:1/a", "https://***@h:1/a"),
            ("https://a@b@h/", "https://***@h/"),
            ("https://h/#token", "https://h/#***"),
            ("https://h?a=b?c=d&e=f=g", "https://h?a=***&e=***"),
            ("trust+https://heat/v1/signal", "trust+https://heat/v1/signal"),
            ("zaqar://?topic=t&ttl=60&subscriber=http://x/?s=1", None),
            ("https://h/a?aodh-alarm-ssl-verify=0", "https://h/a?aodh-alarm-ssl-verify=0"),
            ("log://", "log://"),
        ],
    )
    def test_keeps_what_opens_nothing(self, url, seen):
        seen = seen or "zaqar://?topic=t&ttl=60&subscriber=***"
        assert hidden(url) == seen
        assert is_hidden(seen) is (seen != url)
        assert hidden(seen) == seen

    @given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
    def test_of_any_text(self, url):
        seen = hidden(url)
        assert hidden(seen) == seen
        assert seen == url or is_hidden(seen)

    @given(
        st.text("abc&?#@/:%", max_size=8),
        st.sampled_from(["?k=", "?a=b&k=", "?k=;", "?", "?ttl=1&", "#"]),
    )
    def test_a_secret_is_never_there(self, around, before):
        assert "s3cret" not in hidden(f"https://h/p{before}s3cret{around}")


class TestRestored:
    def test_in_their_order(self):
        one, two = "https://h/?Signature=1", "https://h/?Signature=2"
        seen = hidden(one)
        assert restored([seen, "https://new/", seen], [two, one], []) == (two, "https://new/", one)

    def test_a_url_that_is_there_is_not_given_twice(self):
        one, two = "https://h/?Signature=1", "https://h/?Signature=2"
        assert restored([one, hidden(one)], [one, two], []) == (one, two)

    def test_from_another_state(self):
        assert restored([hidden(EC2)], [SWIFT], [SWIFT, EC2]) == (EC2,)

    @pytest.mark.parametrize("changed", ["heat.example", "policy", "AWSAccessKeyId"])
    def test_only_where_all_else_is_the_same(self, changed):
        """Else a secret could be sent to somebody else's host."""
        with pytest.raises(ValueError, match="Signature"):
            restored([hidden(EC2).replace(changed, "evil")], [EC2], [EC2])


class TestLogs:
    @pytest.mark.parametrize(
        ("url", "seen"),
        [
            (EC2, "http://heat.example:8000"),
            ("https://u:p@h/services/T0/B0/s3cret", "https://h"),
            ("trust+https://heat/v1/signal?a=b", "trust+https://heat/v1/signal"),
            ("https://[::1", "an invalid URL"),
        ],
    )
    def test_short(self, url, seen):
        assert short(url) == seen

    @pytest.mark.parametrize(
        ("text", "seen"),
        [
            (f"GET '{EC2}' failed", f"GET '{EC2.partition('?')[0]}?***' failed"),
            (
                "Max retries with url: /v1/a?sig=x (Caused",
                "Max retries with url: /v1/a?*** (Caused",
            ),
            ("amqp://user:pass@h:5672// is away", "amqp://***@h:5672// is away"),
            (f"DELETE /v3/OS-TRUST/trusts/{'a' * 32}", "DELETE /v3/OS-TRUST/trusts/***"),
            (f"{{'trust_id': '{'a' * 32}'}}", "{'trust_id': '***'}"),
            ("is it? yes = no; a@b", "is it? yes = no; a@b"),
        ],
    )
    def test_scrubbed(self, text, seen):
        assert scrubbed(text) == seen

    def test_handlers_scrub_messages_and_tracebacks(self):
        written = io.StringIO()
        logger = logging.getLogger("test-of-scrubbing")
        logger.propagate = False
        handler = logging.StreamHandler(written)
        handler.setFormatter(logging.Formatter("at: %(message)s"))
        logger.addHandler(handler)
        scrub_logs(logger)
        scrub_logs(logger)
        logger.error("%s", EC2, exc_info=OSError(f"no route to {SWIFT}"))
        text = written.getvalue()
        assert text.startswith("at: http://heat.example:8000")
        assert "OSError: no route to https://swift.example" in text
        assert text.count("?***") == 2
        for secret in ("s3cret", "deadbeef"):
            assert secret not in text
