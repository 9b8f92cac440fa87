# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random instants: a thread that ends the server's lives and starts the next ones."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Sequence

from tests.service.crash.served import OPENED, STARTED, ServerProcess

SEED = int(os.environ.get("THERMOSTAT_SEED", str(random.SystemRandom().randrange(10_000))))
"""Which instants a run draws."""
STARTING_S = 0.4
"""What a start takes at most, about."""
LIFE_S = 0.6
"""The longest life of a server, about, in seconds."""
SOON_S = 0.008
"""What follows an event (judging, committing, telling) is over after about this."""
HOUSEKEEPING_S = 0.2
"""Seconds from the opening of the store to its first sealing."""
QUIET_S = 2.0
"""When nothing has come for so long, the next event is not waited for."""
KINDS = ("while starting", "under load", "after a 201", "at a web hook", "while sealing")
OF_NOTIFYING = ("while starting", "under load", "at a web hook")


class Killer:
    """Kills as often as it is told to; each instant is drawn near something that may go wrong."""

    def __init__(
        self, server: ServerProcess, kills: int, seed: int, kinds: Sequence[str] = KINDS
    ) -> None:
        self._server = server
        self._kills = kills
        self._kinds = kinds
        self._chance = random.Random(f"kills {seed}")
        self._acknowledged = threading.Semaphore(0)
        self._told = threading.Semaphore(0)
        self._stopped = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="killer")
        self.done = 0
        """How many kills are over."""
        self.kinds: Counter[str] = Counter()
        """How many kills there were of each kind."""

    def start(self) -> None:
        """Begin; the server runs."""
        self._thread.start()

    @property
    def is_over(self) -> bool:
        """Whether the last kill is over and the server runs for good."""
        return not self._thread.is_alive()

    def stop(self) -> None:
        """Kill no more; raises what went wrong."""
        self._stopped = True
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def acknowledged(self) -> None:
        """Take in that a batch was acknowledged."""
        self._acknowledged.release()

    def told(self) -> None:
        """Take in that a notification arrived."""
        self._told.release()

    def _run(self) -> None:
        try:
            while self.done < self._kills and not self._stopped:
                self._let_live()
                self._server.kill()
                self._server.fork()
                self.done += 1
            self._server.wait_for(STARTED)
        except BaseException as error:  # `stop` raises it
            self._failure = error

    def _let_live(self) -> None:
        """Wait until the instant of the next kill."""
        kind = self._chance.choice(self._kinds)
        self.kinds[kind] += 1
        match kind:
            case "while starting":
                time.sleep(self._chance.uniform(0, STARTING_S))
            case "while sealing":
                self._server.wait_for(OPENED)
                time.sleep(HOUSEKEEPING_S + self._chance.uniform(0, 10 * SOON_S))
            case "under load":
                self._server.wait_for(STARTED)
                time.sleep(self._chance.uniform(0, LIFE_S))
            case "after a 201":
                self._await(self._acknowledged)
            case _:
                self._await(self._told)

    def _await(self, event: threading.Semaphore) -> None:
        """Wait for one of the next events, and a little longer."""
        self._server.wait_for(STARTED)
        while event.acquire(blocking=False):
            pass
        for _ in range(self._chance.randint(1, 12)):
            if not event.acquire(timeout=QUIET_S):
                break
        time.sleep(self._chance.uniform(0, SOON_S))
