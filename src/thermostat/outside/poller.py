# SPDX-License-Identifier: Apache-2.0
"""The threads that ask outside stores: one for each, so that none waits for another."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from thermostat.evaluate.polls import Poll
from thermostat.outside.base import Answer, OutsideStore, OutsideUnavailable, Question

LOG = logging.getLogger(__name__)
STOP_S = 5.0
"""How long an ending server waits for what a store is being asked, in seconds."""
FAULT = "the rule cannot be asked for: a fault of the server"

Answered = Callable[[Poll, Sequence[Answer] | str], None]
"""Takes a poll with its answers, or with the reason why there are none."""


class Poller:
    """Asks the stores; an answer goes to whoever listens, in the store's own thread."""

    def __init__(
        self,
        stores: Mapping[str, OutsideStore],
        answered: Answered,
        registry: CollectorRegistry | None = None,
    ) -> None:
        """Ask these stores, by their names."""
        self._answered = answered
        registry = registry or CollectorRegistry()
        self._polls = Counter(
            "thermostat_outside_polls_total",
            "Times that an outside store was asked",
            ["store"],
            registry=registry,
        )
        self._failures = Counter(
            "thermostat_outside_failures_total",
            "Times that an outside store could not be asked",
            ["store"],
            registry=registry,
        )
        self._seconds = Histogram(
            "thermostat_outside_seconds",
            "How long an outside store took to answer all that it was asked at once",
            ["store"],
            registry=registry,
        )
        self._queues: dict[str, queue.SimpleQueue[Poll | None]] = {
            name: queue.SimpleQueue() for name in stores
        }
        self._threads = [
            threading.Thread(
                target=self._run, args=(name, store), name=f"outside-{name}", daemon=True
            )
            for name, store in stores.items()
        ]
        for name in stores:
            for counter in (self._polls, self._failures, self._seconds):
                counter.labels(name)

    def start(self) -> None:
        """Begin."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End after what is under way, but wait for no store that hangs."""
        for waiting in self._queues.values():
            waiting.put(None)
        deadline = time.monotonic() + STOP_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def ask(self, poll: Poll) -> None:
        """Ask soon."""
        self._queues[poll.store].put(poll)

    def _run(self, name: str, store: OutsideStore) -> None:
        waiting = self._queues[name]
        while (poll := waiting.get()) is not None:
            self._polls.labels(name).inc()
            answers: Sequence[Answer] | str
            try:
                with self._seconds.labels(name).time():
                    answers = _ask(store, poll.questions, poll.time_us)
            except OutsideUnavailable as error:
                LOG.warning("%s cannot be asked: %s", name, error)
                self._failures.labels(name).inc()
                answers = str(error)
            except Exception as error:  # one bad poll must not end all polling
                LOG.exception("%s cannot be asked", name)
                self._failures.labels(name).inc()
                answers = f"{name} cannot be asked: {type(error).__name__}"
            self._answered(poll, answers)


def _ask(store: OutsideStore, questions: Sequence[Question], time_us: int) -> Sequence[Answer]:
    """Ask a store; a question that its driver stumbles over costs the others nothing.

    Raises OutsideUnavailable.
    """
    try:
        answers = store.ask(questions, time_us)
        if len(answers) == len(questions):
            return answers
        LOG.error("%d answers to %d questions", len(answers), len(questions))
    except OutsideUnavailable:
        raise
    except Exception:
        if len(questions) == 1:
            LOG.exception("A rule of project %s cannot be asked for", questions[0].project_id)
    if len(questions) == 1:
        return [Answer((None,) * questions[0].rule.points, FAULT)]
    half = len(questions) // 2
    return [*_ask(store, questions[:half], time_us), *_ask(store, questions[half:], time_us)]
