# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::ScalingPolicy: how a signal changes the size of one of Heat's own groups.

A signal that the group cannot follow at once waits in the thread that Heat handles it in: one per
policy, since one that comes meanwhile only renews it. It is taken up when the group is free, if its
alarm is still in the state that was signalled.
"""

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from heat.common import exception, grouputils
from heat.common.i18n import _
from heat.engine import attributes, constraints, properties, resource, support
from heat.engine import stack as stacks
from heat.engine.resources.openstack.heat import scaling_policy as heat_policy
from heat.scaling import scalingutil
from oslo_log import log as logging

from . import client, group_claims, scaling
from .validation import Finite, Validated, Wrong
from .waiting import Waiting

LOG = logging.getLogger(__name__)
_Schema = properties.Schema

POLL_S, LONGEST_POLL_S = 2.0, 15.0
"""A signal that waits looks at the group this often, in seconds: at first, and in the end."""
LONGEST_WAIT_S = 3600.0
"""After so many seconds a signal that waits is given up."""
MOST_ACTIVITIES = 20


@dataclasses.dataclass(frozen=True)
class _Outcome:
    """What became of a signal."""

    code: str
    """In one word."""
    reason: str
    """In a sentence."""


class ScalingPolicy(Validated, heat_policy.AutoScalingPolicy):
    """A policy that changes the size of a group when it is signalled.

    The group is an OS::Heat::AutoScalingGroup or an AWS::AutoScaling::AutoScalingGroup. A simple
    policy has one adjustment; one with steps picks the adjustment by how far the alarm's metric is
    past its threshold. Growing and shrinking cool down apart from each other. A signal that comes
    while the group is busy or cools down is not lost: it waits, and is taken up if it still holds.
    """

    PROPERTIES = (
        GROUP, ADJUSTMENT_TYPE, SCALING_ADJUSTMENT, STEP_ADJUSTMENTS, MIN_ADJUSTMENT_STEP,
        COOLDOWN, SCALE_OUT_COOLDOWN, SCALE_IN_COOLDOWN,
    ) = (
        "auto_scaling_group_id", "adjustment_type", "scaling_adjustment", "step_adjustments",
        "min_adjustment_step", "cooldown", "scale_out_cooldown", "scale_in_cooldown",
    )  # fmt: skip

    STEP_KEYS = (
        LOWER_BOUND, UPPER_BOUND, STEP_ADJUSTMENT,
    ) = (
        "lower_bound", "upper_bound", "scaling_adjustment",
    )  # fmt: skip

    ATTRIBUTES = (
        ALARM_URL, SIGNAL_URL, ACTIVITIES,
    ) = (
        "alarm_url", "signal_url", "activities",
    )  # fmt: skip

    properties_schema = {  # noqa: RUF012 - Heat's own form
        GROUP: _Schema(_Schema.STRING, _("The group: a reference to it."), required=True),
        ADJUSTMENT_TYPE: _Schema(
            _Schema.STRING,
            _("What an adjustment is: so many members more or less, a size, or a percentage."),
            required=True,
            constraints=[
                constraints.AllowedValues(
                    [
                        scalingutil.CHANGE_IN_CAPACITY,
                        scalingutil.EXACT_CAPACITY,
                        scalingutil.PERCENT_CHANGE_IN_CAPACITY,
                    ]
                )
            ],
            update_allowed=True,
        ),
        SCALING_ADJUSTMENT: _Schema(
            _Schema.NUMBER,
            _("The adjustment of a simple policy; a policy with steps has none."),
            constraints=[Finite()],
            update_allowed=True,
        ),
        STEP_ADJUSTMENTS: _Schema(
            _Schema.LIST,
            _("The adjustments by how far the metric is past the alarm's threshold."),
            schema=_Schema(
                _Schema.MAP,
                schema={
                    LOWER_BOUND: _Schema(
                        _Schema.NUMBER,
                        _("From this far past the threshold on; none: any."),
                        constraints=[Finite()],
                    ),
                    UPPER_BOUND: _Schema(
                        _Schema.NUMBER,
                        _("Up to, not including, this far past it; none: any."),
                        constraints=[Finite()],
                    ),
                    STEP_ADJUSTMENT: _Schema(
                        _Schema.NUMBER,
                        _("The adjustment of this step."),
                        required=True,
                        constraints=[Finite()],
                    ),
                },
            ),
            constraints=[constraints.Length(min=1, max=20)],
            update_allowed=True,
        ),
        MIN_ADJUSTMENT_STEP: _Schema(
            _Schema.INTEGER,
            _("How many members a percentage changes the size by at least."),
            constraints=[constraints.Range(min=0)],
            update_allowed=True,
        ),
        COOLDOWN: _Schema(
            _Schema.NUMBER,
            _("Seconds for which a group that has grown or shrunk does not do the same again."),
            constraints=[constraints.Range(min=0), Finite()],
            update_allowed=True,
        ),
        SCALE_OUT_COOLDOWN: _Schema(
            _Schema.NUMBER,
            _("The same for growing only; none: cooldown."),
            constraints=[constraints.Range(min=0), Finite()],
            update_allowed=True,
        ),
        SCALE_IN_COOLDOWN: _Schema(
            _Schema.NUMBER,
            _("The same for shrinking only; none: cooldown."),
            constraints=[constraints.Range(min=0), Finite()],
            update_allowed=True,
        ),
    }

    attributes_schema = {  # noqa: RUF012 - Heat's own form
        **heat_policy.AutoScalingPolicy.attributes_schema,
        ACTIVITIES: attributes.Schema(
            _("What the last signals came to, the newest first, each with its reason."),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.LIST,
        ),
    }

    support_status = support.SupportStatus(status=support.UNSUPPORTED)

    # Validation

    related = (ADJUSTMENT_TYPE, SCALING_ADJUSTMENT, STEP_ADJUSTMENTS, MIN_ADJUSTMENT_STEP)

    def validate(self) -> None:
        """Refuse also what is no group of this stack."""
        super().validate()
        if self.properties[self.GROUP] is not None:  # else it is not known yet
            try:
                self._group()
            except exception.NotFound as error:
                raise self.property_error([self.GROUP], str(error)) from error

    def disagreement(self, values: Any) -> Wrong | None:
        """Tell of a policy that is neither simple nor one with steps, or whose steps overlap."""
        kind, steps = values[self.ADJUSTMENT_TYPE], self._steps(values)
        given = {name for name in self.PROPERTIES if values.data.get(name) is not None}
        is_simple, has_steps = (
            name in given for name in (self.SCALING_ADJUSTMENT, self.STEP_ADJUSTMENTS)
        )
        if is_simple == has_steps:
            known = f"{self.SCALING_ADJUSTMENT} or {self.STEP_ADJUSTMENTS}"
            return [self.SCALING_ADJUSTMENT], f"needs either {known}, and not both"
        if self.MIN_ADJUSTMENT_STEP in given and kind != scalingutil.PERCENT_CHANGE_IN_CAPACITY:
            needed = f"{self.ADJUSTMENT_TYPE} {scalingutil.PERCENT_CHANGE_IN_CAPACITY}"
            return [self.MIN_ADJUSTMENT_STEP], f"is for {needed} only"
        adjustment = values[self.SCALING_ADJUSTMENT]
        wrong = None if adjustment is None else scaling.fraction(kind, adjustment)
        if wrong:
            return [self.SCALING_ADJUSTMENT], wrong
        for place, step in enumerate(steps):
            wrong = scaling.fraction(kind, step.adjustment)
            if wrong:
                return [self.STEP_ADJUSTMENTS, place, self.STEP_ADJUSTMENT], wrong
        overlapping = scaling.overlapping(steps)
        if overlapping is not None:
            place, reason = overlapping
            return [self.STEP_ADJUSTMENTS, place], reason
        return None

    def _validate_min_adjustment_step(self) -> None:
        """Leave it to `disagreement`: what Heat raises here is an internal error to its API."""

    # Signals

    def handle_signal(self, details: Any = None) -> str:
        """Follow a signal, let it wait, or decline it; give what became of it, for Heat's event.

        Raises NoActionRequired, which makes no event, where nothing new came of it.
        """
        try:
            outcome = self._follow(details)
        except exception.NotFound as error:
            outcome = _Outcome("no_group", str(error))
        except resource.NoActionRequired:
            raise
        except Exception as error:  # Heat would log it, and the tenant would see nothing
            LOG.exception("Policy %s: a signal failed", self.name)
            outcome = _Outcome("failed", f"the signal could not be followed: {error}")
        if outcome is None or not self._noted(outcome):
            raise resource.NoActionRequired(res_name=self.name, reason="it is no news")
        return outcome.reason

    def _follow(self, details: Any) -> _Outcome | None:
        """Give what became of a signal; None: another signal stands for it, or nobody asks."""
        decision, seen = self._decide(details)
        if decision.verdict is scaling.Verdict.SCALE:
            try:
                return self._scale(decision, seen)
            except resource.NoActionRequired:  # somebody else was quicker
                decision, _seen = self._decide(details, unready="another signal came first")
        if decision.verdict is scaling.Verdict.DECLINE:
            return _Outcome(decision.code, decision.reason)
        waiting = Waiting()
        if waiting.begin(self):
            self._noted(_Outcome("renewed", "a signal that waits already was renewed"))
        else:
            self._noted(_Outcome("waiting", decision.reason))
            self._add_event("SIGNAL", self.status, f"Signal waits: {decision.reason}")
        try:
            return self._wait(waiting, details, decision.wait_s)
        finally:
            waiting.end(self)

    def _wait(self, waiting: Waiting, details: Any, wait_s: float) -> _Outcome | None:
        """Look at the group until it is free, which may be in `wait_s`; give what came of it."""
        until, pause_s = time.time() + LONGEST_WAIT_S, POLL_S
        while time.time() < until:
            time.sleep(max(0.1, min(wait_s or pause_s, LONGEST_POLL_S)))
            pause_s = min(1.5 * pause_s, LONGEST_POLL_S)
            _stack, policy = self._reloaded()  # a resource lives only as long as its stack
            if policy is None or not waiting.goes_on(policy):
                return None
            try:
                decision, seen = policy._decide(details)
                wait_s = decision.wait_s
                if decision.verdict is not scaling.Verdict.WAIT:
                    return policy._take_up(waiting, details, decision, seen)
            except resource.NoActionRequired:
                pass  # somebody else was quicker: the group is busy again
            except exception.NotFound:
                raise
            except client.AlarmServiceError as error:
                LOG.warning("Policy %s: is the alarm as it was? %s", self.name, error)
            except Exception:  # the message bus or the database may be back soon
                LOG.exception("Policy %s: a signal that waits looks again later", self.name)
        return _Outcome("given_up", f"the group was not free within {LONGEST_WAIT_S:.0f} s")

    def _take_up(
        self, waiting: Waiting, details: Any, decision: scaling.Decision, seen: Mapping[str, Any]
    ) -> _Outcome | None:
        """Do what a signal that has waited asks for, if its alarm has not changed since."""
        state, now = _state_of(details), self._alarm_state(details)
        if now not in (None, state):
            return _Outcome("obsolete", f"the alarm was {state} and is {now}")
        if decision.verdict is scaling.Verdict.DECLINE:
            return _Outcome(decision.code, decision.reason)
        return self._scale(decision, seen, waiting)

    def _scale(
        self, decision: scaling.Decision, seen: Mapping[str, Any], waiting: Waiting | None = None
    ) -> _Outcome | None:
        """Change the size of the group. Raises NoActionRequired where it is not ours to change."""
        group = self._group()
        with group_claims.claimed(group, seen, decision.direction):
            # One that comes while the size changes waits for itself.
            if waiting is not None and not waiting.end(self):
                return None
            LOG.info("Policy %s: %s", self.name, decision.reason)
            try:
                with group.frozen_properties():
                    # Heat's one cooldown for both directions is not used: 0 leaves it over at once.
                    group.adjust(decision.adjustment, scalingutil.CHANGE_IN_CAPACITY, None, 0)
            except resource.NoActionRequired:
                if waiting is not None:
                    waiting.begin(self)
                raise
            except Exception as error:  # such as a quota: it is to be read in the activities
                LOG.exception("Policy %s: group %s failed", self.name, group.name)
                return _Outcome("failed", f"{decision.reason}, and failed: {error}")
        return _Outcome(decision.code, decision.reason)

    def _decide(
        self, details: Any, unready: str | None = None
    ) -> tuple[scaling.Decision, dict[str, Any]]:
        """Give what becomes of a signal, and the group's metadata that this follows from."""
        group = self._group()
        metadata = dict(group.metadata_get(refresh=True) or {})
        if unready is None and group.status != group.COMPLETE:
            unready = f"{group.action} {group.status}"
        if unready is None and group.action == group.SUSPEND:
            unready = "it is suspended"
        if unready is None and group_claims.is_busy(metadata, self.stack.timeout_secs()):
            unready = "it changes its size"
        seen = scaling.Group(
            name=group.name,
            size=grouputils.get_size(group),
            smallest=group.properties[group.MIN_SIZE],
            largest=group.properties[group.MAX_SIZE],
            unready=unready,
            scaled_at=group_claims.scaled_at(metadata),
            cooling_until=group_claims.cooling_until(metadata),
        )
        return scaling.decide(
            self._policy(), seen, scaling.breach_of(details), time.time()
        ), metadata

    def _policy(self) -> scaling.Policy:
        props = self.properties
        both = props[self.COOLDOWN] or 0.0
        cooldown_s = {
            direction: both if props[name] is None else props[name]
            for direction, name in (
                (scaling.OUT, self.SCALE_OUT_COOLDOWN),
                (scaling.IN, self.SCALE_IN_COOLDOWN),
            )
        }
        return scaling.Policy(
            adjustment_type=props[self.ADJUSTMENT_TYPE],
            adjustment=props[self.SCALING_ADJUSTMENT],
            steps=self._steps(props),
            min_step=props[self.MIN_ADJUSTMENT_STEP],
            cooldown_s=cooldown_s,
        )

    def _steps(self, props: Mapping[str, Any]) -> list[scaling.Step]:
        return [
            scaling.Step(step[self.LOWER_BOUND], step[self.UPPER_BOUND], step[self.STEP_ADJUSTMENT])
            for step in props[self.STEP_ADJUSTMENTS] or ()
        ]

    def _group(self) -> Any:
        """Give the group, also one that has failed, which Heat does not find by its reference."""
        wanted = self.properties[self.GROUP]
        for name in self.stack:
            found = self.stack[name]
            if wanted in (name, found.FnGetRefId()) and hasattr(found, "adjust"):
                return found
        raise exception.NotFound(f"there is no scaling group {wanted!r} in this stack")

    def _alarm_state(self, details: Any) -> str | None:
        """Give the state now of the alarm that sent a signal; None: no alarm did.

        Raises AlarmServiceError where it cannot be told.
        """
        alarm_id = details.get("alarm_id") if isinstance(details, Mapping) else None
        if not alarm_id:
            return None
        alarms = client.AlarmingClientPlugin(self.stack.context).client()
        try:
            return str(alarms.get(alarm_id)["state"])
        except client.AlarmNotFound:
            return "deleted"

    def _reloaded(self) -> "tuple[Any, ScalingPolicy | None]":
        """Give the stack and this policy as they are in the database now; None: it is gone.

        One of the same name that has replaced it was not signalled.
        """
        try:
            stack = stacks.Stack.load(
                self.stack.context, stack_id=self.stack.id, use_stored_context=True
            )
        except exception.NotFound:
            return None, None
        found = None if stack.action == stack.DELETE else stack.resource_get(self.name)
        is_there = found is not None and found.id == self.id and found.action != found.DELETE
        return stack, found if is_there else None

    # What became of signals

    def _noted(self, outcome: _Outcome) -> bool:
        """Keep what became of a signal; tell whether it is news: not what came of the last one."""
        LOG.info("Policy %s: %s: %s", self.name, outcome.code, outcome.reason)
        activity = {"at": round(time.time(), 3), **dataclasses.asdict(outcome)}
        is_news = True

        def merged(_: Any, current: Any) -> dict[str, Any]:
            nonlocal is_news
            known = (current or {}).get(self.ACTIVITIES, [])
            last = _Outcome(known[0]["code"], known[0]["reason"]) if known else None
            is_news = last != outcome
            kept = [activity, *(known if is_news else known[1:])]
            return {**(current or {}), self.ACTIVITIES: kept[:MOST_ACTIVITIES]}

        self.metadata_set({}, merged)
        return is_news

    def _resolve_attribute(self, name: str) -> Any:
        if name == self.ACTIVITIES:
            return self.metadata_get(refresh=True).get(self.ACTIVITIES, [])
        return super()._resolve_attribute(name)


def _state_of(details: Any) -> str:
    given = details if isinstance(details, Mapping) else {}
    return str(given.get("current", given.get("state", "alarm"))).lower()


def resource_mapping() -> dict[str, type[ScalingPolicy]]:
    """Tell Heat which types this module holds."""
    return {"OS::Metering::ScalingPolicy": ScalingPolicy}
