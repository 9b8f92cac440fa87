# SPDX-License-Identifier: Apache-2.0
"""What event alarms listen to: the options of the group [event_listener]."""

from oslo_config import cfg

GROUP = cfg.OptGroup("event_listener", title="What event alarms listen to")
OPTS = [
    cfg.StrOpt(
        "transport_url",
        secret=True,
        help="The message broker that OpenStack's services send notifications to, as "
        "oslo.messaging has it: rabbit://user:password@host:5672/. Without it event alarms wait "
        "for nothing. The options of oslo.messaging's own groups, such as "
        "[oslo_messaging_rabbit], are taken from this file too.",
    ),
    cfg.StrOpt(
        "event_alarm_topic",
        default="alarm.all",
        help="The topic on which Ceilometer publishes events for alarms (notifier://?topic=... in "
        "its event pipeline), as in Aodh's [listener]. Who listens takes the messages from others "
        "who do: stop Aodh's listener first. Empty: none.",
    ),
    cfg.ListOpt(
        "notification_topics",
        default=["notifications"],
        help="Topics of the notifications that services send themselves; no Ceilometer is needed "
        "for them. Empty: none.",
    ),
    cfg.ListOpt(
        "notification_exchanges",
        default=[
            "openstack",
            "nova",
            "glance",
            "neutron",
            "cinder",
            "heat",
            "keystone",
            "trove",
            "zaqar",
            "swift",
            "magnum",
            "dns",
            "ironic",
            "octavia",
            "manila",
        ],
        help="The exchanges (control_exchange) that those services send to.",
    ),
    cfg.StrOpt(
        "pool",
        default="thermostat",
        help="The queue that collects those notifications. It is this server's own, so that "
        "others who listen to the same topics, such as Ceilometer, lose nothing. Servers with the "
        "same pool share the notifications.",
    ),
    cfg.ListOpt(
        "hidden_traits",
        default=[
            "*password*",
            "*passwd*",
            "*admin_pass*",
            "*adminpass*",
            "*secret*",
            "*token*",
            "*credential*",
            "*private_key*",
            "*user_data*",
        ],
        help="Patterns for the names of those parts of such notifications that no alarm may see, "
        "in any case of letters. Ceilometer's events are not changed: its operator chooses their "
        "traits.",
    ),
    cfg.IntOpt(
        "batch_size",
        default=100,
        min=1,
        help="How many messages are judged together at most.",
    ),
    cfg.FloatOpt(
        "batch_timeout",
        default=0.02,
        min=0.001,
        help="Seconds after the first message of a batch until which more are waited for.",
    ),
]
