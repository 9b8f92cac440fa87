# SPDX-License-Identifier: Apache-2.0
"""kill -9 at 200 random instants: the same transitions as in a run that nobody disturbed.

THERMOSTAT_KILLS says how many kills, THERMOSTAT_SEED which instants and which input; a run prints
its seed. That what is acknowledged is on the disk, and not only in the kernel, is shown by
`test_synced.py` and `tests/service/unit/store/test_durability.py`.
"""

import logging
import os
import re
import time
from collections import Counter
from typing import Any

import pytest

from tests.service.crash.killer import SEED
from tests.service.crash.run import Outcome, Run
from tests.service.crash.scenario import ALARMS, Scenario

KILLS = int(os.environ.get("THERMOSTAT_KILLS", "200"))
S_PER_DAY = 86_400
INPUT = Scenario(SEED, begin_s=(int(time.time()) // S_PER_DAY - 2) * S_PER_DAY)


@pytest.fixture(scope="module")
def say(request: pytest.FixtureRequest) -> Any:
    """Print at once: the runs take minutes."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def say(text: str) -> None:
        with capture.global_and_fixture_disabled():
            print(f"    {text}", flush=True)

    return say


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, say: Any) -> tuple[Outcome, Outcome]:
    """What is left of a run with kills, and of one without."""
    logging.getLogger("thermostat.agent").setLevel(logging.ERROR)  # it warns of each kill
    directory = tmp_path_factory.mktemp("kills")
    say(f"\n    {KILLS} kills with THERMOSTAT_SEED={SEED}")
    killed = Run(directory / "killed", INPUT).killed(KILLS, SEED, say)
    say(f"now {killed.rounds} rounds undisturbed")
    return killed, Run(directory / "undisturbed", INPUT).undisturbed(killed.rounds)


def test_every_acknowledged_sample_is_stored_once(outcomes):
    killed, _ = outcomes
    sent = INPUT.stored(killed.rounds)
    assert set(killed.stored) == {(*key, volume) for key, volume in sent.items()}
    assert set(killed.stored.values()) == {1}


@pytest.mark.parametrize("name", ALARMS)
def test_no_transition_is_lost_or_doubled(outcomes, name):
    killed, undisturbed = (outcome.transitions[name] for outcome in outcomes)
    assert len(undisturbed) > outcomes[0].rounds / 60, "too few to show anything"
    assert [_gist(one) for one in killed] == [_gist(one) for one in undisturbed]
    assert [_detail(one) for one in killed] == [_detail(one) for one in undisturbed]


def test_every_transition_is_told_under_one_id(outcomes):
    killed, undisturbed = outcomes
    assert not killed.undelivered
    assert _told(killed) == _told(undisturbed)
    changes = Counter(what for what in _told(killed).elements() if what[1] != what[2])
    assert sum(changes.values()) == sum(
        "actions are withheld" not in one["transition_reason"]
        for transitions in killed.transitions.values()
        for one in transitions
    )


def _told(outcome: Outcome) -> Counter[tuple[str, ...]]:
    """Give under how many ids each notification came; it may have come several times under one."""
    told: Counter[tuple[str, ...]] = Counter()
    for bodies in outcome.notifications.values():
        body = bodies[0]
        assert all(one == body for one in bodies), "one id stands for two notifications"
        told[body["alarm_name"], body["previous"], body["current"], _reason(body["reason"])] += 1
    return told


def test_the_server_found_nothing_wrong(outcomes):
    killed, _ = outcomes
    assert " ERROR " not in killed.log
    assert "Traceback" not in killed.log


def _gist(transition: dict[str, Any]) -> tuple[float | None, str]:
    """Give the step of event time that decided, where it was a group's, and the new state."""
    datapoints = transition["reason_data"].get("datapoints")
    return datapoints[-1]["period_end"] if datapoints else None, transition["state"]


def _detail(transition: dict[str, Any]) -> dict[str, Any]:
    return {**transition, "transition_reason": _reason(transition["transition_reason"])}


def _reason(text: str) -> str:
    """Give a reason without what is said of members: who is live is as of when it was judged."""
    return re.sub(r"(?<=datapoints missing);[^(]*", " ", text)
