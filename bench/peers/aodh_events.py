# SPDX-License-Identifier: Apache-2.0
"""Aodh's event evaluator, unchanged, over alarms in memory: seconds that it takes for events.

usage: aodh_events.py < INPUT

Reads {"alarms": [{alarm_id, project_id, rule}], "batches": [[event]]} as JSON and prints the
seconds of processor time that all batches but the first took; that one fills Aodh's cache. The
alarms come from memory and none fires, so that no database and no broker is counted.
"""

import json
import sys
import time
import warnings
from types import SimpleNamespace

warnings.simplefilter("ignore")

from aodh.evaluator import event  # noqa: E402 - after the warnings of its imports
from oslo_config import cfg  # noqa: E402


class Storage:
    """Gives the alarms of a project, as Aodh's storage does."""

    def __init__(self, alarms):
        self._alarms = {}
        for alarm in alarms:
            one = SimpleNamespace(state="ok", repeat_actions=False, **alarm)
            self._alarms.setdefault(one.project_id, []).append(one)

    def get_alarms(self, project_id, **_):
        """Give those of one project."""
        return self._alarms.get(project_id, [])


def main():
    """Evaluate the batches."""
    given = json.load(sys.stdin)
    conf = cfg.ConfigOpts()
    conf([], project="aodh", default_config_files=[])
    conf.register_opts(event.OPTS)
    evaluator = event.EventAlarmEvaluator.__new__(event.EventAlarmEvaluator)  # without a transport
    evaluator.conf, evaluator.caches, evaluator.storage_conn = conf, {}, Storage(given["alarms"])
    first, *rest = given["batches"]
    evaluator.evaluate_events(first)
    begun = time.process_time()
    for batch in rest:
        evaluator.evaluate_events(batch)
    print(time.process_time() - begun)


if __name__ == "__main__":
    main()
