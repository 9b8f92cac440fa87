# SPDX-License-Identifier: Apache-2.0
"""What is sent, round by round: the same for every run with the same seed.

A round is ten seconds of event time. Volumes are multiples of a quarter, so that sums do not depend
on the order in which samples came. Whatever is not in the regular order (late, doubled, shuffled,
missing) is so within what the design promises to judge alike in every run: a group's step is judged
only when all its samples have come, because no sender is more than a round ahead of another.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.service.identity import PROJECT
from thermostat.samples.model import Sample, SampleType

ROUND_S = 10
LAG_S = 60.0
REGULAR_ROUNDS = 5
"""The first rounds, in which no sender is late."""
LATE_SHARE = 0.15
NS_PER_S = 1_000_000_000
JSON_SENDER = "ceilometer"
"""Sends cumulative `cpu` as JSON: the server derives `cpu_util` from it."""
NEWCOMER_EVERY = 20
"""Rounds after which the group `mixed` gets one more member, which stays for half as many."""


@dataclass(frozen=True)
class Member:
    """One resource: who measures it, in which group, and how its samples lie in a round."""

    name: str
    group: str
    sender: str
    early_s: float = 0.0
    """How long before the end of a round it is measured."""
    away: tuple[int, int] = (0, 1)
    """Rounds of silence, and in how many rounds they come once."""


MEMBERS = (
    *(Member(f"one-{number}", "one", "a") for number in range(3)),
    *(Member(f"mixed-{sender}", "mixed", sender) for sender in "abc"),
    *(Member(f"early-{sender}", "early", sender, 2.5) for sender in "ab"),
    # Who comes or comes back is not waited for: it comes in one batch with who is, or all do.
    *(Member(f"silent-{number}", "silent", "c", 0.0, (14, 40)) for number in range(2)),
    *(Member(f"moving-{sender}", "moving", sender) for sender in "ab"),
    Member("moving-away", "moving", "b", 1.0, (6, 15)),
    *(Member(f"cpu-{number}", "derived", JSON_SENDER) for number in range(2)),
)
SENDERS = sorted({member.sender for member in MEMBERS})


def _threshold(group: str, **more: Any) -> dict[str, Any]:
    """Give the part of an alarm's body that says what is judged."""
    return {"type": "threshold", "threshold_rule": _rule(group, **more)}


def _rule(group: str, **more: Any) -> dict[str, Any]:
    query = [{"field": "metadata.user_metadata.server_group", "op": "eq", "value": group}]
    rule = {"meter_name": "cpu_util", "query": query, "period": 10, "threshold": 50.0}
    return {**rule, "comparison_operator": "gt", **more}


def _leaf(group: str, **more: Any) -> dict[str, Any]:
    return {"type": "threshold", **_rule(group, **more)}


def _ref(alarm_id: str) -> dict[str, Any]:
    return {"type": "alarm", "alarm_id": alarm_id}


def _composite(rule: dict[str, Any]) -> dict[str, Any]:
    return {"type": "composite", "composite_rule": rule}


def _combination(operator: str, *alarm_ids: str) -> dict[str, Any]:
    rule = {"alarm_ids": list(alarm_ids), "operator": operator}
    return {"type": "combination", "combination_rule": rule}


_SPAN = {"name": "now and then", "start": "*/20 * * * *", "duration": 600}
_TWO_OF_THREE = {"evaluation_periods": 3, "datapoints_to_alarm": 2}
_COUNT = {"statistic": "count", "threshold": 3.5}
_ONE_OF_TWO = {"evaluation_periods": 2, "datapoints_to_alarm": 1}
ALARMS: dict[str, dict[str, Any]] = {
    "one": _threshold("one"),
    "one max 1 of 2": _threshold("one", statistic="max", period=20, **_ONE_OF_TWO),
    "one in spans": {**_threshold("one"), "time_constraints": [_SPAN]},
    "mixed": _threshold("mixed"),
    "mixed 2 of 3": _threshold("mixed", **_TWO_OF_THREE),
    "mixed count": _threshold("mixed", **_COUNT),
    "mixed percentile": _threshold("mixed", statistic="p90", period=30),
    "mixed clears late": _threshold("mixed", threshold=80.0, clear_threshold=20.0, period=20),
    "early": _threshold("early", statistic="min"),
    "early last": _threshold("early", statistic="last", period=20),
    "silent": _threshold("silent"),
    "silent breaches": _threshold("silent", treat_missing_data="breaching"),
    "silent ignored": _threshold("silent", treat_missing_data="ignore", evaluation_periods=2),
    "moving": _threshold("moving", statistic="sum", threshold=150.0),
    "moving without outliers": _threshold("moving", exclude_outliers=True),
    "derived": _threshold("derived", period=20),
    # Their parts are of one group, so that it is certain which of them are judged together.
    "mixed parts": _composite({"and": [_leaf("mixed"), _leaf("mixed", **_COUNT)]}),
    "mixed either": _combination("or", "@mixed", "@mixed count"),
    "mixed both but": _composite(
        {"and": [_ref("@mixed"), {"not": _ref("@mixed count")}], "suppressor": "@mixed 2 of 3"}
    ),
}
"""What is judged, by the alarm's name; `@name` stands for the id of an alarm made before."""


class Scenario:
    """The input of one run, from its first instant of event time on."""

    def __init__(self, seed: int, begin_s: int) -> None:
        self._seed = seed
        self._begin_s = begin_s
        self._counted: dict[tuple[str, int], int] = {}

    def now_s(self, round_: int) -> float:
        """Give the time at which the samples of a round are sent."""
        return self._begin_s + ROUND_S * round_ + 1.0

    def phases(self, round_: int) -> Iterator[dict[str, list[Sample]]]:
        """Give what each sender sends in a round; one phase is taken before the next begins.

        Who was late sends two rounds at once, before the others go on.
        """
        late = self._late(round_ - 1)
        if late is not None:
            yield {late: [*self._samples(late, round_), *self._samples(late, round_ - 1)]}
        skipped = {late, self._late(round_)}
        yield {sender: self._usual(sender, round_) for sender in SENDERS if sender not in skipped}

    def stored(self, rounds: int) -> dict[tuple[str, str, int], float]:
        """Give every volume that must be stored, by meter, resource and event time."""
        stored = {}
        for round_ in range(rounds):
            unsent = self._late(round_) if round_ == rounds - 1 else None
            for sender in [name for name in SENDERS if name != unsent]:
                for sample in self._samples(sender, round_):
                    stored[sample.name, sample.resource_id, sample.timestamp_us] = sample.volume
            if round_:  # the first reading of a counter has no rate
                for member in MEMBERS:
                    if member.sender == JSON_SENDER:
                        at_us = (self._begin_s + ROUND_S * round_) * 1_000_000
                        percent = float(int(self._level(member, round_)))
                        stored["cpu_util", member.name, at_us] = percent
        return stored

    def _late(self, round_: int) -> str | None:
        """Give the sender that sends nothing in this round, and all of it in the next."""
        chance = self._chance("late", round_)
        # Who skipped the round before is busy with that, and the first rounds are regular.
        if (
            round_ < 5
            or chance.random() > 0.15
            or self._chance("late", round_ - 1).random() <= 0.15
        ):
            return None
        return chance.choice("abc")

    def _usual(self, sender: str, round_: int) -> list[Sample]:
        """Give a round in any order, some of it twice, now and then with the round before again."""
        chance = self._chance(sender, round_)
        samples = self._samples(sender, round_)
        if samples and chance.random() < 0.2:
            samples.append(chance.choice(samples))
        if round_ and chance.random() < 0.2:
            samples += self._samples(sender, round_ - 1)
        if sender != JSON_SENDER:  # a counter is derived from in the order in which it comes
            chance.shuffle(samples)
        return samples

    def _samples(self, sender: str, round_: int) -> list[Sample]:
        members = [one for one in MEMBERS if one.sender == sender]
        newcomer, since = divmod(round_, NEWCOMER_EVERY)
        if sender == "b" and since < NEWCOMER_EVERY // 2:
            members.append(Member(f"newcomer-{newcomer}", "mixed", "b"))
        return [self._sample(one, round_) for one in members if not _is_away(one, round_)]

    def _sample(self, member: Member, round_: int) -> Sample:
        counts = member.sender == JSON_SENDER
        end_s = self._begin_s + ROUND_S * round_
        return Sample(
            name="cpu" if counts else "cpu_util",
            type=SampleType.CUMULATIVE if counts else SampleType.GAUGE,
            unit="ns" if counts else "%",
            volume=float(self._busy_ns(member, round_) if counts else self._level(member, round_)),
            resource_id=member.name,
            project_id=PROJECT,
            timestamp_us=int((end_s - member.early_s) * 1_000_000),
            metadata={"vcpus": 1, "user_metadata": {"server_group": member.group}},
        )

    def _level(self, member: Member, round_: int) -> float:
        """Give the percentage of a round: its group is low or high for a few rounds each."""
        span = 3 + len(member.group) % 4
        base = 85.0 if self._chance(member.group, round_ // span).random() < 0.5 else 10.0
        return base + self._chance(member.name, round_).randrange(40) / 4

    def _busy_ns(self, member: Member, round_: int) -> int:
        """Give the counter: whole percents of each round so far."""
        if round_ < 0:
            return 0
        known = self._counted.get((member.name, round_))
        if known is None:
            percent = int(self._level(member, round_))
            known = self._busy_ns(member, round_ - 1) + percent * ROUND_S * NS_PER_S // 100
            self._counted[member.name, round_] = known
        return known

    def _chance(self, *what: object) -> random.Random:
        return random.Random(f"{self._seed} {what}")


def _is_away(member: Member, round_: int) -> bool:
    rounds, once_in = member.away
    return round_ % once_in >= once_in - rounds
