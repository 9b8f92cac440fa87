# SPDX-License-Identifier: Apache-2.0
"""The HTTP publisher against a real HTTP server, and a Keystone made of the same kind of server."""

import json
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.service.receiver import Answer
from thermostat.agent.errors import BatchRefused, ConfigError, Unavailable
from thermostat.agent.publishers.http import HttpPublisher
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import encode_columnar

SAMPLES = [
    Sample(
        name="cpu_util",
        type=SampleType.GAUGE,
        unit="%",
        volume=42.0,
        resource_id="r",
        timestamp_us=1_795_314_544_000_000,
    )
]
BATCH = encode_columnar(SAMPLES)


@pytest.fixture
def publisher(make_conf, receiver):
    publisher = HttpPublisher(
        make_conf(
            f"[service_auth]\nauth_type = none\n"
            f"[metering]\nendpoint_override = {receiver.url}\nread_timeout = 1\n"
        )
    )
    yield publisher
    publisher.close()


def test_a_batch_arrives(publisher, receiver):
    publisher.publish(BATCH)
    assert receiver.batches == [SAMPLES]
    assert receiver.requests[0]["content-type"] == "application/vnd.thermostat.samples+msgpack"


@pytest.mark.parametrize("status", [400, 413, 415, 422])
def test_a_bad_batch_is_refused_with_the_servers_reason(publisher, receiver, status):
    receiver.answer = Answer(status, "sample 3: volume: Expected a finite number")
    with pytest.raises(BatchRefused, match=f"HTTP {status}.*sample 3: volume: Expected a finite"):
        publisher.publish(BATCH)


@pytest.mark.parametrize("status", [301, 401, 403, 404, 429, 500, 502, 503])
def test_any_other_answer_means_try_again_later(publisher, receiver, status):
    receiver.answer = Answer(status, headers={"Location": "http://127.0.0.1:1/"})
    with pytest.raises(Unavailable, match=f"HTTP {status}") as caught:
        publisher.publish(BATCH)
    assert caught.value.retry_after_s is None
    assert receiver.batches == []


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        (lambda: "7", 7, 7),
        (lambda: formatdate(time.time() + 100, usegmt=True), 90, 101),
        (lambda: formatdate(time.time() - 100, usegmt=True), 0, 0),
    ],
)
def test_retry_after_is_passed_on(publisher, receiver, header, least_s, most_s):
    for status in (429, 503):
        receiver.answer = Answer(status, headers={"Retry-After": header()})
        with pytest.raises(Unavailable) as caught:
            publisher.publish(BATCH)
        assert least_s <= caught.value.retry_after_s <= most_s


def test_a_nonsensical_retry_after_is_passed_over(publisher, receiver):
    receiver.answer = Answer(503, headers={"Retry-After": "soon"})
    with pytest.raises(Unavailable) as caught:
        publisher.publish(BATCH)
    assert caught.value.retry_after_s is None


def test_a_server_that_is_away(publisher, receiver):
    receiver.stop()
    with pytest.raises(Unavailable, match="Connect"):
        publisher.publish(BATCH)


def test_a_server_that_hangs(publisher, receiver):
    receiver.answer = Answer(201, delay_s=3)
    started = time.monotonic()
    with pytest.raises(Unavailable, match=r"[Tt]imed? ?out"):
        publisher.publish(BATCH)
    assert time.monotonic() - started < 2.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"\[service_auth\] auth_type: Missing"),
        ("[service_auth]\nauth_type = magic\n", r"\[service_auth\]: .*magic"),
        ("[service_auth]\nauth_type = password\n", r"\[service_auth\]: .*auth.url"),
    ],
)
def test_a_bad_configuration_is_named(make_conf, text, message):
    with pytest.raises(ConfigError, match=message):
        HttpPublisher(make_conf(text))


class Keystone:
    """Hands out tokens and a catalogue as Keystone's v3 API does; it checks no password."""

    def __init__(self, metering_url: str) -> None:
        self.tokens = 0
        keystone = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.reply(
                    300,
                    {
                        "versions": {
                            "values": [
                                {
                                    "id": "v3.14",
                                    "status": "stable",
                                    "links": [{"rel": "self", "href": keystone.url + "/v3/"}],
                                }
                            ]
                        }
                    },
                )

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                keystone.tokens += 1
                endpoint = {"interface": "internal", "region": "r", "region_id": "r"}
                token = {
                    "expires_at": "2099-01-01T00:00:00.000000Z",
                    "issued_at": "2026-01-01T00:00:00.000000Z",
                    "methods": ["password"],
                    "catalog": [
                        {
                            "type": "metering",
                            "name": "thermostat",
                            "id": "1",
                            "endpoints": [{**endpoint, "url": metering_url, "id": "2"}],
                        }
                    ],
                }
                self.reply(201, {"token": token}, {"X-Subject-Token": f"token-{keystone.tokens}"})

            def reply(self, status, body, headers=None) -> None:
                encoded = json.dumps(body).encode()
                self.send_response(status)
                for name, value in (headers or {}).items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(encoded)))
                self.end_headers()
                self.wfile.write(encoded)

            def log_message(self, *_) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def keystone(receiver):
    keystone = Keystone(receiver.url)
    yield keystone
    keystone.server.shutdown()
    keystone.server.server_close()


@pytest.fixture
def authenticated(make_conf, keystone):
    publisher = HttpPublisher(
        make_conf(
            "[service_auth]\nauth_type = password\n"
            f"auth_url = {keystone.url}\nusername = thermostat\npassword = secret\n"
            "project_name = service\nuser_domain_id = default\nproject_domain_id = default\n"
        )
    )
    yield publisher
    publisher.close()


def test_the_endpoint_is_found_in_the_catalogue_and_the_token_sent(authenticated, receiver):
    authenticated.publish(BATCH)
    authenticated.publish(BATCH)
    assert [request["x-auth-token"] for request in receiver.requests] == ["token-1", "token-1"]
    assert receiver.batches == [SAMPLES, SAMPLES]


def test_a_rejected_token_is_renewed_once(authenticated, receiver, keystone):
    authenticated.publish(BATCH)
    receiver.answers = [Answer(401)]
    authenticated.publish(BATCH)
    assert [request["x-auth-token"] for request in receiver.requests] == [
        "token-1",
        "token-1",
        "token-2",
    ]
    receiver.answer = Answer(401)
    with pytest.raises(Unavailable, match="HTTP 401"):
        authenticated.publish(BATCH)
    assert keystone.tokens == 3


def test_keystone_away_means_try_again_later(authenticated, keystone):
    keystone.server.shutdown()
    keystone.server.server_close()
    with pytest.raises(Unavailable) as caught:
        authenticated.publish(BATCH)
    assert "secret" not in str(caught.value)
