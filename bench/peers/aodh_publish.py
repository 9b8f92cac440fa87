# SPDX-License-Identifier: Apache-2.0
"""Give Aodh's notifier what its evaluator would: one notification for each URL.

usage: aodh_publish.py CONFIGURATION < URLS

Prints the monotonic time before the first one, and the one after the last.
"""

import sys
import time
import uuid
from types import SimpleNamespace

from aodh import queue, service

conf = service.prepare_service(argv=["--config-file", sys.argv[1]], with_gmr=False)
notifier = queue.AlarmNotifier(conf)
urls = sys.stdin.read().split()
begun = time.monotonic()
for url in urls:
    alarm = SimpleNamespace(
        alarm_id=str(uuid.uuid4()),
        name="busy",
        severity="low",
        state="alarm",
        alarm_actions=[url],
    )
    notifier.notify(alarm, "ok", "cpu_util is above 70", {"type": "threshold", "most_recent": 90.0})
print(begun, time.monotonic())
