# SPDX-License-Identifier: Apache-2.0
"""Targets that misbehave, seen from outside: each has its reason in the delivery status.

A whole server is asked over HTTP, its notifier calls real sockets. What is told of which answer to
the last detail is in `tests/service/unit/notify/test_bad_answers.py`.
"""

import contextlib
import ssl
import subprocess
import time

import pytest
import urllib3

from tests.service.hooks import Answer, HookServer
from tests.service.identity import PROJECT
from tests.service.served import Deployment, wait_until
from tests.service.unit.notify.test_bad_answers import HEAD, Raw

METADATA = "http://169.254.169.254/latest"
OPTIONS = "attempt_timeout = 2\nbackoff_base = 0.1\nbackoff_max = 0.2\n"
GIGABYTE = 1 << 30


@pytest.fixture(scope="module")
def deployment(tmp_path_factory):
    deployment = Deployment(tmp_path_factory.mktemp("targets"), OPTIONS)
    yield deployment
    deployment.stop()


@pytest.fixture
def guarded(tmp_path):
    """A server whose alarms may not call this machine."""
    deployment = Deployment(tmp_path, "denied_networks = 127.0.0.0/8,::1/128\n")
    yield deployment
    deployment.stop()


@pytest.fixture
def make_raw():
    with contextlib.ExitStack() as stack:

        def make(*pieces, **options):
            return stack.enter_context(contextlib.closing(Raw(*pieces, **options)))

        yield make


@pytest.fixture
def redirecting():
    """A target that sends whoever calls it to where clouds serve instance metadata."""
    hooks = HookServer(lambda _call: Answer(307, {"Location": METADATA})).start()
    yield hooks
    hooks.stop()


def fired(deployment, url):
    """Give the delivery status of a notification to this URL, once an attempt is over."""
    resource_id = f"r{time.monotonic_ns()}"
    rule = {
        "meter_name": "m",
        "period": 10,
        "threshold": 50.0,
        "comparison_operator": "gt",
        "query": [{"field": "resource_id", "value": resource_id}],
    }
    alarm_id = deployment.create("threshold", rule, alarm_actions=[url])
    sample = {
        "name": "m",
        "type": "gauge",
        "unit": "%",
        "volume": 99.0,
        "resource_id": resource_id,
        "project_id": PROJECT,
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() // 10 * 10)),
    }
    deployment.call("POST", "/v2/samples", [sample])

    def status():
        return deployment.call("GET", f"/v2/alarms/{alarm_id}/notifications")

    wait_until(lambda: status() and (status()[0]["attempts"] or status()[0]["last_error"]))
    (found,) = status()
    return found


def test_an_answer_of_a_gigabyte_is_cut_off(deployment, make_raw):
    head = HEAD + f"Content-Length: {GIGABYTE}\r\n\r\n".encode()
    target = make_raw(head, b"x" * 65536, repeat=GIGABYTE // 65536)
    told = fired(deployment, target.url)
    assert told["status"] == "delivered"
    assert told["last_error"] == f"an answer of {GIGABYTE} bytes was cut off"
    time.sleep(0.2)
    assert target.sent < GIGABYTE // 16, "it must be hung up on"


def test_an_answer_that_trickles_is_cut_off(deployment, make_raw):
    begun = time.monotonic()
    told = fired(deployment, make_raw(b"H", b"T", b"T", b"P", pause_s=0.1, repeat=100).url)
    assert time.monotonic() - begun < 20
    assert told["status"] == "pending"
    assert told["last_error"] == "no whole answer within 2 s"


def test_a_redirect_to_a_refused_address_is_not_followed(deployment, redirecting):
    told = fired(deployment, redirecting.url)
    assert told["status"] == "dead"
    assert "link-local address 169.254.169.254 is refused" in told["last_error"]
    assert len(redirecting.calls) == 1


def test_a_certificate_that_does_not_verify_is_refused(deployment, make_raw, tmp_path):
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=other.example"
    subprocess.run(
        [*command.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "cert"],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    target = make_raw(HEAD + b"Content-Length: 0\r\n\r\n", context=context)
    told = fired(deployment, target.url.replace("http:", "https:"))
    assert told["status"] == "pending", "it may be renewed"
    assert told["last_error"] == (
        "TLS failed: the certificate is not valid: self-signed certificate"
    )
    assert target.requests == [], "nothing is told to who cannot show who it is"


def test_a_name_that_leads_to_a_refused_address_only_at_delivery(guarded):
    told = fired(guarded, guarded.hooks.url.replace("127.0.0.1", "localhost"))
    assert told["status"] == "dead"
    assert "is refused" in told["last_error"]
    assert guarded.hooks.calls == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (METADATA, "169.254.169.254 is refused"),
        ("http://127.0.0.1:9/", "127.0.0.1 is refused"),
        ("gopher://target.example/", "scheme"),
    ],
)
def test_what_the_url_itself_shows_is_refused_at_once(guarded, url, reason):
    rule = {"meter_name": "m", "threshold": 50.0}
    answer = urllib3.PoolManager().request(
        "POST",
        f"http://{guarded.server.address}/v2/alarms",
        json={"name": "a", "type": "threshold", "threshold_rule": rule, "alarm_actions": [url]},
    )
    assert answer.status == 400
    assert reason in answer.json()["error_message"]["faultstring"]
