# SPDX-License-Identifier: Apache-2.0
"""The notifier's configuration options."""

from oslo_config import cfg

GROUP = "notifier"
OPTS = [
    cfg.IntOpt(
        "workers",
        default=100,
        min=2,
        help="How many notifications may be under way at once, not counting those that have been "
        "for a second. One project gets at most four fifths of them, and at most a third where its "
        "last attempt at the URL failed.",
    ),
    cfg.IntOpt(
        "slow_workers",
        default=400,
        min=0,
        help="How many notifications may be under way that have been for a second, beside the "
        "others. Of both together one project gets at most half, the next one half of what that "
        "leaves: so many of its targets may hang at once and delay no other project.",
    ),
    cfg.IntOpt(
        "per_target_limit",
        default=10,
        min=1,
        help="How many notifications may be under way to one host and port, not counting those "
        "that have been for a second; with those four times as many, and twice as many of one "
        "project. A URL that has taken nothing yet gets one at a time.",
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
    cfg.FloatOpt(
        "attempt_timeout",
        default=40.0,
        min=0.01,
        help="Seconds that one attempt may take from the connection to the status of the answer, "
        "however steadily the answer trickles.",
    ),
    cfg.IntOpt(
        "max_redirects",
        default=3,
        min=0,
        help="How many redirects (307, 308) are followed, one after the other. Each is checked as "
        "the URL itself is.",
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
    cfg.ListOpt(
        "allowed_schemes",
        default=[],
        help="Schemes of the URLs that alarms may call, e.g. https, trust+https; empty: all that "
        "are installed.",
    ),
    cfg.ListOpt(
        "allowed_ports",
        default=[],
        help="Ports, and ranges like 8000-8999, that http and https URLs may have; empty: all.",
    ),
    cfg.ListOpt(
        "denied_networks",
        default=[],
        help="Networks that alarms may not call with http and https URLs, e.g. 127.0.0.0/8, ::1. "
        "Link-local and multicast addresses, 0.0.0.0/8, those where clouds serve instance "
        "metadata, local NAT64 (64:ff9b:1::/48) and Teredo are denied in any case.",
    ),
    cfg.ListOpt(
        "allowed_networks",
        default=[],
        help="Networks that alarms may call although they are denied.",
    ),
]
