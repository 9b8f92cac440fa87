# SPDX-License-Identifier: Apache-2.0
"""Nova's own notifications, sent by Nova's Python: one of each of its two forms.

usage: nova_publishes.py URL TOPIC VERSIONED_TOPIC < PAYLOAD

It sends the payload, in Nova's old form, as `compute.instance.update`; and `flavor.create` as a
versioned object. Both go through Nova's notifier with Nova's context, token and all.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from nova import config, context, objects, rpc  # noqa: E402 - after the warnings of its imports
from nova.notifications.objects import base  # noqa: E402
from nova.notifications.objects.flavor import FlavorNotification, FlavorPayload  # noqa: E402
from nova.objects import fields  # noqa: E402


def main() -> None:
    """Send both."""
    url, topic, versioned_topic = sys.argv[1:]
    config.parse_args(["nova-compute"], default_config_files=[], configure_db=False)
    conf = config.CONF
    rpc.messaging.get_notification_transport(conf, url)  # which registers the options
    conf.set_override("transport_url", url)
    for name, value in (("driver", ["messagingv2"]), ("topics", [topic])):
        conf.set_override(name, value, "oslo_messaging_notifications")
    conf.set_override("notification_format", "both", "notifications")
    conf.set_override("versioned_notifications_topics", [versioned_topic], "notifications")
    objects.register_all()
    rpc.set_defaults("nova")
    rpc.init(conf)
    asking = context.RequestContext(user_id="u1", project_id="p1", auth_token="t0k3n")
    notifier = rpc.get_notifier("compute", host="host1")
    notifier.info(asking, "compute.instance.update", json.load(sys.stdin))
    flavor = objects.Flavor(
        flavorid="f1", name="small", memory_mb=512, vcpus=2, root_gb=1, ephemeral_gb=0, swap=0,
        rxtx_factor=1.0, vcpu_weight=0, disabled=False, is_public=True, extra_specs={},
        projects=[], description=None,
    )  # fmt: skip
    FlavorNotification(
        publisher=base.NotificationPublisher(host="host1", source=fields.NotificationSource.API),
        event_type=base.EventType(object="flavor", action=fields.NotificationAction.CREATE),
        priority=fields.NotificationPriority.INFO,
        payload=FlavorPayload(flavor=flavor),
    ).emit(asking)
    rpc.cleanup()


if __name__ == "__main__":
    main()
