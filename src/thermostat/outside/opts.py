# SPDX-License-Identifier: Apache-2.0
"""How often outside stores are asked: the options of the group [outside]."""

from oslo_config import cfg

from thermostat.evaluate.polls import Pace

GROUP = cfg.OptGroup("outside", title="When outside stores are asked for datapoints")
OPTS = [
    cfg.FloatOpt(
        "shortest_interval",
        default=10.0,
        min=1.0,
        help="Seconds between two questions for one gnocchi_* or prometheus rule, at least. A "
        "rule is asked for each time that its granularity has passed, counted from the epoch.",
    ),
    cfg.FloatOpt(
        "longest_interval",
        default=300.0,
        min=1.0,
        help="Seconds between two questions for one rule, at most, however long its granularity.",
    ),
    cfg.FloatOpt(
        "additional_ingestion_lag",
        default=0.0,
        min=0.0,
        help="Seconds that a store needs until it has what was measured: what is newer is not "
        "asked for.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=30.0,
        min=0.1,
        help="Seconds that a store may take to answer all that it is asked at once.",
    ),
]


def pace(conf: cfg.ConfigOpts) -> Pace:
    """Give how often questions are asked."""
    own = conf[GROUP.name]
    return Pace(
        shortest_s=own.shortest_interval,
        longest_s=max(own.longest_interval, own.shortest_interval),
        lag_s=own.additional_ingestion_lag,
        patience_s=2 * own.timeout,
    )
