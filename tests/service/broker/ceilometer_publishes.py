# SPDX-License-Identifier: Apache-2.0
"""Ceilometer's own event pipeline, run by Ceilometer's Python: a notification in, an event out.

usage: ceilometer_publishes.py PUBLISHER < NOTIFICATION

It makes the event by Ceilometer's own definitions, and publishes it as an agent whose
event_pipeline.yaml has this publisher: `notifier://[user:password@broker]?topic=alarm.all`.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from ceilometer import service  # noqa: E402 - after the warnings of its imports
from ceilometer.event import converter  # noqa: E402
from ceilometer.publisher.messaging import EventNotifierPublisher  # noqa: E402
from oslo_utils import netutils  # noqa: E402
from stevedore import extension  # noqa: E402


def main() -> None:
    """Convert the notification and publish its event."""
    conf = service.prepare_service(argv=["agent"], config_files=[])
    plugins = extension.ExtensionManager("ceilometer.event.trait_plugin")
    event = converter.setup_events(conf, plugins).to_event("info", json.load(sys.stdin))
    publisher = EventNotifierPublisher(conf, netutils.urlsplit(sys.argv[1]))
    publisher.publish_events([event])


if __name__ == "__main__":
    main()
