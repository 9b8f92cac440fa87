# SPDX-License-Identifier: Apache-2.0
"""Publishing as OpenStack's services and Ceilometer do: through oslo.messaging's notifier."""

from typing import Any

from oslo_config import cfg
from oslo_context.context import RequestContext


class Publisher:
    """Sends notifications to one exchange."""

    def __init__(self, url: str, exchange: str) -> None:
        import oslo_messaging as messaging

        conf = cfg.ConfigOpts()
        conf([], project="nova", default_config_files=[])
        messaging.get_notification_transport(conf, url).cleanup()  # which registers the options
        conf.set_override("control_exchange", exchange)
        self._transport = messaging.get_notification_transport(conf, url)
        self._messaging = messaging

    def send(
        self,
        topic: str,
        event_type: str,
        payload: Any,
        *,
        priority: str = "info",
        project_id: str | None = "p1",
    ) -> None:
        """Send what a service sends, with the context of a request in this project."""
        notifier = self._messaging.Notifier(
            self._transport,
            publisher_id="compute.host1",
            driver="messagingv2",
            topics=[topic],
        )
        context = RequestContext(
            auth_token="t0k3n", user_id="u1", project_id=project_id, request_id="req-1"
        )
        getattr(notifier, priority)(context, event_type, payload)

    def send_events(self, topic: str, events: Any) -> None:
        """Send what Ceilometer's publisher sends to `notifier://?topic=`."""
        notifier = self._messaging.Notifier(
            self._transport,
            publisher_id="telemetry.publisher.host1",
            driver="messagingv2",
            topics=[topic],
        )
        notifier.sample({}, event_type="event", payload=events)

    def send_raw(self, topic: str, body: bytes) -> None:
        """Send what no oslo.messaging would."""
        with self._transport._driver._get_connection() as connection:
            channel = connection.connection.channel
            channel.basic_publish(_message(body), routing_key=topic)

    def close(self) -> None:
        self._transport.cleanup()


def _message(body: bytes) -> Any:
    from amqp.basic_message import Message

    return Message(body, content_type="application/json", content_encoding="utf-8")
