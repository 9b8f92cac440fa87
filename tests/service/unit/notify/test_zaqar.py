# SPDX-License-Identifier: Apache-2.0
"""`zaqar` and `trust+zaqar`: what their URLs say, what they ask of Zaqar, and what they give up."""

import json

import pytest
from keystoneauth1.session import Session
from keystoneauth1.token_endpoint import Token
from oslo_config import cfg

from tests.service.zaqar_stand_in import ZaqarStandIn
from thermostat.db.outbox import Notification
from thermostat.endpoints import client
from thermostat.notify import queue_urls
from thermostat.notify.opts import GROUP as NOTIFIER
from thermostat.notify.opts import OPTS as NOTIFIER_OPTS
from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.zaqar import TrustZaqarTransport, ZaqarTransport
from thermostat.trusts import Trusts, TrustUnavailable

ALARM_ID = "5d1f7c7e-3a0e-4c8f-9a57-1f3f5f3f9d01"
TOPIC = "zaqar://?topic=cpu&subscriber=http://one/&subscriber=http://two/%3Fa=b%26c=d&ttl=600"


class TestUrls:
    def test_a_topic(self):
        read = queue_urls.topic(TOPIC)
        assert read == queue_urls.Topic("cpu", ("http://one/", "http://two/?a=b&c=d"), 600)
        assert read.queue_of(ALARM_ID) == f"{ALARM_ID}-cpu"

    def test_the_least_and_the_most_of_a_topic(self):
        assert queue_urls.topic("zaqar://?topic=c") == queue_urls.Topic("c", (), 3600)
        most = "a" * queue_urls.MAX_TOPIC
        assert len(queue_urls.topic(f"zaqar://?topic={most}").queue_of(ALARM_ID)) == 64

    def test_the_form_that_heat_writes(self):
        assert queue_urls.queue_name("trust+zaqar://?queue_name=my_queue-1.2") == "my_queue-1.2"

    @pytest.mark.parametrize(
        ("url", "reason"),
        [
            ("zaqar://", "topic is missing"),
            ("zaqar://?topic=", "topic is missing"),
            ("zaqar://?topic=a&topic=b", "topic is there twice"),
            ("zaqar://?topic=" + "a" * 28, "topic must be 1 to 27"),
            ("zaqar://?topic=a%2Fb", "topic must be"),
            ("zaqar://?topic=%C3%A9", "topic must be"),
            ("zaqar://?topic=a&ttl=59", "ttl must be 60 to 31536000 seconds"),
            ("zaqar://?topic=a&ttl=31536001", "ttl must be"),
            ("zaqar://?topic=a&ttl=1e3", "ttl must be"),
            ("zaqar://?topic=a&ttl=", "ttl must be"),
            ("zaqar://?topic=a&ttl=-60", "ttl must be"),
            ("zaqar://?topic=a&ttl=" + "9" * 3000, "ttl must be"),
            ("zaqar://?topic=a&ttl=%D9%A6%D9%A0", "ttl must be"),
            ("zaqar://?topic=a&subscribers=http://h/", "unknown parameter 'subscribers': use "),
            ("zaqar://?topic=a&subscriber=http://h/?a=b&c=d", "unknown parameter 'c'"),
            ("zaqar://?topic=a&subscriber=http://h/#x", "only a query"),
            ("zaqar://host/?topic=a", "only a query"),
            (
                "zaqar://?topic=a" + "".join(f"&subscriber=http://h{n}/" for n in range(11)),
                "more than 10 subscribers",
            ),
        ],
    )
    def test_what_is_wrong_with_a_topic(self, url, reason):
        with pytest.raises(ValueError, match=reason):
            queue_urls.topic(url)

    @pytest.mark.parametrize(
        ("query", "reason"),
        [
            ("", "queue_name is missing"),
            ("?queue_name=", "queue_name is missing"),
            ("?queue_name=a%20b", "queue_name must be 1 to 64"),
            ("?queue_name=../x", "queue_name must be"),
            ("?queue_name=a&topic=b", "unknown parameter 'topic'"),
            ("?queue_name=" + "a" * 65, "queue_name must be"),
            ("?queue_name=a%0A", "queue_name must be"),
        ],
    )
    def test_what_is_wrong_with_a_queue(self, query, reason):
        with pytest.raises(ValueError, match=reason):
            queue_urls.queue_name(f"trust+zaqar://{query}")


class StandInForKeystone:
    def __init__(self, conf, url):
        self._conf = conf
        self._url = url
        self.away = False

    def token(self, trust_id):
        return f"token of {trust_id}"

    def client(self, trust_id, group):
        return client(self._conf, group, Session(), Token(self._url, self.token(trust_id)))

    def own_client(self, group):
        if self.away:
            raise TrustUnavailable("this server has no user of its own: [service_auth] is not set")
        return client(self._conf, group, Session(), Token(self._url, "our own"))


@pytest.fixture
def zaqar():
    zaqar = ZaqarStandIn().start()
    yield zaqar
    zaqar.stop()


@pytest.fixture
def conf():
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    return conf


@pytest.fixture
def send(zaqar, conf):
    return sender(zaqar, conf)


def sender(zaqar, conf):
    keystone = StandInForKeystone(conf, zaqar.url)
    kinds = {"zaqar": ZaqarTransport, "trust+zaqar": TrustZaqarTransport}
    transports = {scheme: kind(conf, keystone) for scheme, kind in kinds.items()}

    def send(action, trust_id="trust-1d"):
        scheme = action.partition(":")[0]
        transports[scheme].send(
            Notification(
                notification_id="n1",
                alarm_id=ALARM_ID,
                action=action,
                target=scheme,
                trust_id=trust_id,
                request_id="req-1",
                body=json.dumps({"alarm_id": ALARM_ID, "current": "alarm"}),
                attempts=0,
                created_us=0,
            ),
            1,
        )

    return send


MESSAGE = {"body": {"alarm_id": ALARM_ID, "current": "alarm", "notification_id": "n1"}}


def test_subscribers_come_before_the_message(send, zaqar):
    send(TOPIC)
    queue = f"{ALARM_ID}-cpu"
    assert zaqar.requests == ["subscriptions", "subscriptions", "messages"]
    assert zaqar.subscriptions == {queue: {"http://one/": 600, "http://two/?a=b&c=d": 600}}
    assert zaqar.messages == {queue: [MESSAGE]}
    assert zaqar.tokens == {"our own"}


def test_who_is_subscribed_already_stays_so(send, zaqar):
    send(TOPIC)
    send(TOPIC)
    assert zaqar.messages == {f"{ALARM_ID}-cpu": [MESSAGE, MESSAGE]}


def test_the_owners_queue_takes_the_owners_token(send, zaqar):
    send("trust+zaqar://?queue_name=q")
    assert zaqar.messages == {"q": [MESSAGE]}
    assert zaqar.requests == ["messages"]
    assert zaqar.tokens == {"token of trust-1d"}


@pytest.mark.parametrize("action", [TOPIC, "trust+zaqar://?queue_name=q"])
@pytest.mark.parametrize(
    ("status", "final"), [(400, True), (403, True), (413, True), (404, False), (429, False)]
)
def test_what_zaqar_refuses(send, zaqar, action, status, final):
    zaqar.status, zaqar.retry_after = status, "7"
    with pytest.raises(DeliveryFailed, match=f"^Zaqar answered {status}$") as caught:
        send(action)
    assert (caught.value.final, caught.value.retry_after_s) == (final, 7.0)
    assert len(zaqar.requests) == 1


def test_a_message_is_not_posted_unless_all_are_subscribed(send, zaqar):
    zaqar.status = 503
    with pytest.raises(DeliveryFailed):
        send(TOPIC)
    zaqar.status = None
    assert zaqar.messages == {}
    send(TOPIC)
    assert zaqar.messages == {f"{ALARM_ID}-cpu": [MESSAGE]}


def test_without_a_trust_there_is_no_use_in_trying_again(send):
    with pytest.raises(DeliveryFailed, match="no trust") as caught:
        send("trust+zaqar://?queue_name=q", trust_id=None)
    assert caught.value.final


@pytest.mark.parametrize("action", ["zaqar://?topic=a%2Fb", "trust+zaqar://?queue_name=.%2F.."])
def test_a_url_that_the_database_should_not_have_is_given_up(send, zaqar, action):
    with pytest.raises(DeliveryFailed, match="invalid URL") as caught:
        send(action)
    assert caught.value.final
    assert zaqar.requests == []


def test_a_server_without_a_user_says_so_and_tries_again(conf):
    transport = ZaqarTransport(conf, Trusts(conf))
    notification = Notification(
        notification_id="n1", alarm_id=ALARM_ID, action="zaqar://?topic=t", target="zaqar",
        trust_id=None, request_id="req-1", body="{}", attempts=0, created_us=0,
    )  # fmt: skip
    with pytest.raises(DeliveryFailed, match=r"\[service_auth\] is not set") as caught:
        transport.send(notification, 1)
    assert not caught.value.final


@pytest.mark.parametrize(
    ("option", "value", "subscriber", "reason"),
    [
        ("denied_networks", ["10.0.0.0/8"], "http://10.1.2.3/", "address 10.1.2.3 is refused"),
        ("denied_networks", [], "http://169.254.169.254/latest", "link-local address"),
        ("allowed_ports", ["443"], "http://h:8000/", "port 8000 is refused"),
        ("allowed_schemes", ["zaqar", "https"], "http://h/", "scheme of a subscriber is refused"),
        ("denied_networks", [], "trust%2Bhttp://h/", "scheme of a subscriber is refused"),
    ],
)
def test_a_subscriber_obeys_the_rules_for_targets_of_now(  # noqa: PLR0917 - fixtures and cases
    zaqar, conf, option, value, subscriber, reason
):
    conf.register_opts(NOTIFIER_OPTS, group=NOTIFIER)
    conf.set_override(option, value, group=NOTIFIER)
    with pytest.raises(DeliveryFailed, match=reason) as caught:
        sender(zaqar, conf)(f"zaqar://?topic=t&subscriber={subscriber}")
    assert caught.value.final
    assert zaqar.requests == []


def test_an_attempt_ends_though_each_answer_comes_in_time(zaqar, conf):
    conf.register_opts(NOTIFIER_OPTS, group=NOTIFIER)
    conf.set_override("attempt_timeout", 0.5, group=NOTIFIER)
    zaqar.delay_s = 0.2
    subscribers = "".join(f"&subscriber=http://h{n}/" for n in range(10))
    with pytest.raises(DeliveryFailed, match=r"in time|too slow|cannot be reached") as caught:
        sender(zaqar, conf)(f"zaqar://?topic=t{subscribers}")
    assert not caught.value.final
    assert 0 < len(zaqar.requests) < 5
    assert zaqar.messages == {}
