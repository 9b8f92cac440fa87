# SPDX-License-Identifier: Apache-2.0
"""The notifier's configuration options."""

from oslo_config import cfg

GROUP = "notifier"
OPTS = [
    cfg.IntOpt(
        "workers",
        default=100,
        min=2,
        help="How many notifications may be under way at once. At most half of them go to targets "
        "whose last attempt failed.",
    ),
    cfg.IntOpt(
        "per_target_limit",
        default=10,
        min=1,
        help="How many notifications may be under way to one host and port.",
    ),
    cfg.FloatOpt(
        "connect_timeout", default=5.0, min=0.01, help="Seconds to wait for a connection."
    ),
    cfg.FloatOpt(
        "read_timeout",
        default=30.0,
        min=0.01,
        help="Seconds to wait for an answer. Heat's signals answer within a few seconds.",
    ),
    cfg.IntOpt(
        "deadline",
        default=3600,
        min=0,
        help="Seconds after the transition until which a notification is retried; then it is dead "
        "and kept for its owner to see. A signal to scale that comes hours late does harm.",
    ),
    cfg.FloatOpt(
        "backoff_base",
        default=1.0,
        min=0.001,
        help="The first retry comes after up to this many seconds, each later one after up to "
        "twice as many; the time is drawn at random.",
    ),
    cfg.FloatOpt(
        "backoff_max", default=300.0, min=0.001, help="The longest time between two attempts (s)."
    ),
    cfg.FloatOpt(
        "poll_interval",
        default=1.0,
        min=0.01,
        help="Seconds between two looks for retries that have become due. New notifications do not "
        "wait for it.",
    ),
    cfg.StrOpt("ca_file", help="Certificate authorities to trust; by default the system's."),
    cfg.BoolOpt(
        "allow_link_local",
        default=False,
        help="Let alarms call link-local addresses, where clouds serve instance metadata.",
    ),
]
