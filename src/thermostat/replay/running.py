# SPDX-License-Identifier: Apache-2.0
"""`thermostat-replay run`: from options to a printed replay."""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from thermostat.alarms.model import Alarm
from thermostat.replay import sources
from thermostat.replay.core import Replay, as_new
from thermostat.replay.definitions import documents_of, make_alarms
from thermostat.replay.documents import Document
from thermostat.replay.errors import BadLine, NotationError, RunError
from thermostat.replay.notation import duration_s
from thermostat.replay.past import PastStore, Recording
from thermostat.replay.progress import Progress
from thermostat.replay.reading import SampleReader
from thermostat.replay.recordings import (
    MemoryRecording,
    StoreRecording,
    is_wanted,
    meters_of,
    stored_span_us,
)
from thermostat.replay.report import JsonReport, Report, Summary, TextReport
from thermostat.replay.rules import threshold_rules, unrecorded
from thermostat.store.base import Selection

US_PER_S = 1_000_000
STORE_SPAN_US = 6 * 3600 * US_PER_S
"""How far back a store is replayed by default."""
LONGEST_RESOLUTION_S = 60
LONGEST_LAG_S = 86_400


@dataclass(frozen=True, slots=True)
class _Source:
    """Where the samples are, and what was read so far."""

    recording: Recording
    alarms: Sequence[Alarm]
    """Each with a project."""
    earliest_us: int
    """Where the replay begins by default."""
    newest_us: int
    reader: SampleReader | None


def run(options: argparse.Namespace, progress: Progress) -> int:
    """Print the replay that the options ask for; give the exit status. Raises RunError."""
    begun_s = time.monotonic()
    if not 1 <= options.resolution <= LONGEST_RESOLUTION_S:
        raise RunError(f"--resolution: must be from 1 to {LONGEST_RESOLUTION_S}")
    if not 0 <= options.allowed_lag <= LONGEST_LAG_S:
        raise RunError(f"--allowed-lag: must be from 0 to {LONGEST_LAG_S}")
    with _source(options, _alarms(options), progress) as source:
        end_us = _instant(options.end, "--end", source.newest_us, source.newest_us)
        start_us = _instant(options.start, "--start", end_us, min(source.earliest_us, end_us - 1))
        if start_us >= end_us:
            raise RunError("--start: must be before the end")
        replay = Replay(
            source.alarms,
            source.recording,
            start_us=start_us,
            end_us=end_us,
            allowed_lag_s=options.allowed_lag,
            resolution_s=options.resolution,
            linger=True,
            on_instant=lambda now_us: progress.share((now_us - start_us) / (end_us - start_us)),
        )
        report = (JsonReport if options.format == "json" else TextReport)(
            source.alarms, sys.stdout.write
        )
        transitions, repeated = _print(replay, report, progress, repeats=options.repeats)
        _warn(source, end_us, replay)
    reader = source.reader
    report.summary(
        Summary(
            samples_read=replay.samples if reader is None else reader.samples,
            samples=replay.samples,
            bad_lines=0 if reader is None else reader.bad_lines,
            steps=replay.instants,
            transitions=transitions,
            repeated=repeated,
            start_us=start_us,
            end_us=end_us,
            seconds=time.monotonic() - begun_s,
        )
    )
    return 0


def _print(replay: Replay, report: Report, progress: Progress, *, repeats: bool) -> tuple[int, int]:
    """Print the transitions; give how many changes and repetitions there were."""
    transitions = repeated = 0
    for one in replay:
        transitions += one.is_change
        if not one.is_change:
            if one.quiet:
                continue
            repeated += 1
        if one.is_change or repeats:
            progress.clear()
            report.transition(one)
    progress.clear()
    return transitions, repeated


def _warn(source: _Source, end_us: int, replay: Replay) -> None:
    """Say on standard error what makes the result worth less than it looks."""
    reader = source.reader
    if reader is not None and reader.bad_lines:
        _say(f"{reader.bad_lines} bad lines were skipped, the first: {reader.first_bad}")
    store = PastStore(source.recording, end_us)
    for alarm in source.alarms:
        for rule in threshold_rules(alarm.rule):
            if not store.series(Selection(rule.meter_name, alarm.project_id, rule.query)):
                _say(
                    f"alarm {alarm.name}: no series of {rule.meter_name} in project"
                    f" {alarm.project_id} matches its query"
                )
    if replay.failures:
        _say(f"{replay.failures} steps could not be judged, which is a fault of this program")


def _say(text: str) -> None:
    print(f"thermostat-replay: {text}", file=sys.stderr)


# -- alarms ---------------------------------------------------------------------------------------


def _alarms(options: argparse.Namespace) -> list[Alarm]:
    """Give the alarms that the options name, as new; one without a project has an empty one."""
    now_us = int(time.time() * US_PER_S)
    documents: list[Document] = []
    for path in options.alarm:
        try:
            documents += documents_of(path)
        except OSError as error:
            raise RunError(f"--alarm: {path}: {error.strerror}") from error
    alarms = make_alarms(documents, project_id=options.project or "", now_us=now_us)
    if options.alarm_id:
        stored = sources.stored_alarms(options.alarm_id, options.config_file)
        for alarm in stored:
            for field, reason in unrecorded(alarm.rule):
                raise RunError(f"--alarm-id: alarm {alarm.alarm_id}: {field}: {reason}")
        alarms += stored
    if not alarms:
        raise RunError("there are no alarms: give --alarm FILE or --alarm-id ID")
    if len({alarm.alarm_id for alarm in alarms}) < len(alarms):
        raise RunError("one alarm is given by --alarm and by --alarm-id: leave one out")
    return [as_new(alarm) for alarm in alarms]


def _with_project(alarms: Sequence[Alarm], projects: set[str]) -> list[Alarm]:
    """Give the alarms with a project each: the only one there is, where they name none."""
    if all(alarm.project_id for alarm in alarms):
        return list(alarms)
    if len(projects) > 1:
        known = ", ".join(sorted(projects)[:10])
        raise RunError(f"alarms name no project, and there are several: give --project ({known})")
    only = next(iter(projects), "none")
    return [
        alarm if alarm.project_id else msgspec.structs.replace(alarm, project_id=only)
        for alarm in alarms
    ]


# -- samples --------------------------------------------------------------------------------------


@contextmanager
def _source(
    options: argparse.Namespace, alarms: Sequence[Alarm], progress: Progress
) -> Iterator[_Source]:
    if options.store is None:
        yield _files(options, alarms, progress)
        return
    with sources.opened_store(options.store) as store:
        alarms = _with_project(alarms, sources.projects(store, alarms))
        span_us = stored_span_us(store, alarms)
        if span_us is None:
            raise RunError(f"--store: no sample in {options.store} {_wanted(alarms)}")
        oldest_us, newest_us = span_us
        recording = StoreRecording(store, alarms, earliest_us=oldest_us - 1)
        yield _Source(recording, alarms, newest_us - STORE_SPAN_US, newest_us, None)


def _files(options: argparse.Namespace, alarms: Sequence[Alarm], progress: Progress) -> _Source:
    reader = SampleReader(
        is_wanted(alarms), skip_bad_lines=options.skip_bad_lines, on_lines=progress.lines
    )
    try:
        recording = MemoryRecording(reader.read(options.samples), meters_of(alarms))
    except BadLine as error:
        raise RunError(f"{error} (--skip-bad-lines goes on)") from error
    except OSError as error:
        where = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        raise RunError(f"--samples: {where}") from error
    progress.clear()
    span_us = recording.span_us
    if span_us is None:
        bad = f" ({reader.bad_lines} bad lines: {reader.first_bad})" if reader.bad_lines else ""
        raise RunError(f"--samples: none of {reader.samples} samples {_wanted(alarms)}{bad}")
    alarms = _with_project(alarms, recording.projects)
    return _Source(recording, alarms, span_us[0] - 1, span_us[1], reader)


def _wanted(alarms: Sequence[Alarm]) -> str:
    return f"is of a meter of the alarms: {', '.join(sorted(meters_of(alarms)))}"


def _instant(text: str | None, option: str, end_us: int, default_us: int) -> int:
    """Give the event time that an option names: an instant, or a span of time before the end."""
    if text is None:
        return default_us
    try:
        if text.startswith("-"):
            return end_us - int(duration_s(text[1:]) * US_PER_S)
        instant = datetime.fromisoformat(text)
    except NotationError as error:
        raise RunError(f"{option}: {error}") from error
    except ValueError:
        raise RunError(
            f"{option}: {text!r} is neither a date and time in ISO 8601 nor a span such as -6h"
        ) from None
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return int(instant.timestamp() * US_PER_S)
