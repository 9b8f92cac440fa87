# SPDX-License-Identifier: Apache-2.0
"""Steps that run side by side as soon as those they build on are done."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TextIO

Progress = Callable[[str], None]
SILENCE_S = 5.0


@dataclass(frozen=True)
class Step:
    """One thing to do: `action` returns the sentence to print, or None for nothing."""

    name: str
    action: Callable[[], str | None]
    after: tuple[str, ...] = ()


def run(steps: Sequence[Step], progress: Progress) -> None:
    """Run all steps, each after those it names; what takes long is mentioned every 5 s.

    The first failure is raised once the steps that already run have ended; no other is begun.
    """
    waiting = {step.name: step for step in steps}
    done: set[str] = set()
    running: dict[Future[str | None], str] = {}
    failure: BaseException | None = None
    with ThreadPoolExecutor(max_workers=len(steps), thread_name_prefix="lab") as pool:
        last_line = time.monotonic()
        while running or (waiting and failure is None):
            if failure is None:
                for name in [n for n, s in waiting.items() if done.issuperset(s.after)]:
                    running[pool.submit(waiting.pop(name).action)] = name
            finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                done.add(running.pop(future))
                error = future.exception()
                if error is not None:
                    failure = failure or error
                elif sentence := future.result():
                    progress(sentence)
                    last_line = time.monotonic()
            if running and time.monotonic() - last_line > SILENCE_S:
                progress("... still at work: " + ", ".join(sorted(running.values())))
                last_line = time.monotonic()
    if failure is not None:
        raise failure


class Clock:
    """Prints progress lines with the seconds since it was made; safe to use from all threads."""

    def __init__(self, stream: TextIO | None = None) -> None:
        """Print to this stream, or to standard output."""
        self._stream = stream
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def __call__(self, line: str) -> None:
        """Print one line."""
        with self._lock:
            elapsed_s = time.monotonic() - self._start
            print(f"[{elapsed_s:5.1f} s] {line}", file=self._stream, flush=True)
