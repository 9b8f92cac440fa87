# SPDX-License-Identifier: Apache-2.0
"""What the alarm types share: the common properties, and an alarm's life."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine import attributes, constraints, properties, resource, support

from . import actions, client
from .validation import CronExpression, Validated, is_literal

_Schema = properties.Schema
MOST = 100
"""How many actions, or spans of time, the service takes."""
MAX_DESCRIPTION = 10_000

COMMON_PROPERTIES = (
    ALARM_ACTIONS, OK_ACTIONS, INSUFFICIENT_DATA_ACTIONS,
    ALARM_QUEUES, OK_QUEUES, INSUFFICIENT_DATA_QUEUES,
    REPEAT_ACTIONS, SEVERITY, TIME_CONSTRAINTS, ENABLED, DESCRIPTION,
) = (
    "alarm_actions", "ok_actions", "insufficient_data_actions",
    "alarm_queues", "ok_queues", "insufficient_data_queues",
    "repeat_actions", "severity", "time_constraints", "enabled", "description",
)  # fmt: skip

ACTION_PROPERTIES = (ALARM_ACTIONS, OK_ACTIONS, INSUFFICIENT_DATA_ACTIONS)
QUEUES = {
    ALARM_ACTIONS: ALARM_QUEUES,
    OK_ACTIONS: OK_QUEUES,
    INSUFFICIENT_DATA_ACTIONS: INSUFFICIENT_DATA_QUEUES,
}
"""The property for queues beside each one for actions."""
QUEUE_URL = "trust+zaqar://?queue_name="
"""What the alarm service calls a queue, before its name."""
MAY_EXIST = "may_exist"
"""The resource's datum that says that the service was asked to create it, and never answered."""

TIME_CONSTRAINT_KEYS = (
    NAME, START, DURATION, TIMEZONE, TIME_CONSTRAINT_DESCRIPTION,
) = (
    "name", "start", "duration", "timezone", "description",
)  # fmt: skip


def _actions_schema(state: str) -> Any:
    return _Schema(
        _Schema.LIST,
        _(
            "What to call when the alarm enters the state %s: URLs (http, https, trust+http, "
            "trust+https), or names of scaling policies in this stack."
        )
        % state,
        schema=_Schema(_Schema.STRING),
        constraints=[constraints.Length(max=MOST)],
        default=[],
        update_allowed=True,
    )


def _queues_schema(state: str) -> Any:
    return _Schema(
        _Schema.LIST,
        _(
            "Queues of Zaqar's, in this project, that get a message when the alarm enters the "
            "state %s. Zaqar makes those that are not there."
        )
        % state,
        schema=_Schema(
            _Schema.STRING,
            constraints=[
                constraints.Length(min=1, max=64),
                constraints.AllowedPattern(r"[A-Za-z0-9_.-]*"),
            ],
        ),
        default=[],
        update_allowed=True,
    )


common_properties_schema = {
    ALARM_ACTIONS: _actions_schema("alarm"),
    OK_ACTIONS: _actions_schema("ok"),
    INSUFFICIENT_DATA_ACTIONS: _actions_schema("insufficient data"),
    ALARM_QUEUES: _queues_schema("alarm"),
    OK_QUEUES: _queues_schema("ok"),
    INSUFFICIENT_DATA_QUEUES: _queues_schema("insufficient data"),
    REPEAT_ACTIONS: _Schema(
        _Schema.BOOLEAN,
        _("Call the actions again at each evaluation in the same state, not only when it changes."),
        default=True,
        update_allowed=True,
    ),
    SEVERITY: _Schema(
        _Schema.STRING,
        _("How much the alarm matters."),
        constraints=[constraints.AllowedValues(["low", "moderate", "critical"])],
        default="low",
        update_allowed=True,
    ),
    TIME_CONSTRAINTS: _Schema(
        _Schema.LIST,
        _("Evaluate the alarm only within these recurring spans of time; none: always."),
        schema=_Schema(
            _Schema.MAP,
            schema={
                NAME: _Schema(
                    _Schema.STRING,
                    _("Name of the span."),
                    constraints=[constraints.Length(min=1, max=255)],
                    required=True,
                ),
                START: _Schema(
                    _Schema.STRING,
                    _("When the span begins, as a cron expression."),
                    constraints=[CronExpression()],
                    required=True,
                ),
                DURATION: _Schema(
                    _Schema.INTEGER,
                    _("How long the span lasts, in seconds; at most a year."),
                    constraints=[constraints.Range(min=0, max=31_536_000)],
                    required=True,
                ),
                TIMEZONE: _Schema(
                    _Schema.STRING,
                    _("Time zone of the cron expression, such as Europe/Madrid; none: UTC."),
                    constraints=[constraints.CustomConstraint("timezone")],
                ),
                TIME_CONSTRAINT_DESCRIPTION: _Schema(
                    _Schema.STRING,
                    _("Description of the span."),
                    constraints=[constraints.Length(max=MAX_DESCRIPTION)],
                ),
            },
        ),
        constraints=[constraints.Length(max=MOST)],
        default=[],
        update_allowed=True,
    ),
    ENABLED: _Schema(
        _Schema.BOOLEAN,
        _("Evaluate the alarm and call its actions."),
        default=True,
        update_allowed=True,
    ),
    DESCRIPTION: _Schema(
        _Schema.STRING,
        _("Description of the alarm."),
        constraints=[constraints.Length(max=MAX_DESCRIPTION)],
        update_allowed=True,
    ),
}


class BaseAlarm(Validated, resource.Resource):
    """An alarm in the alarm service, whatever its rule.

    A type of alarm says its `alarm_type` and how its properties become the rule (`rule`).
    """

    alarm_type: str

    default_client_name = client.SERVICE_TYPE

    _alarming: client.AlarmingClientPlugin | None = None

    ATTRIBUTES = (
        STATE, STATE_REASON,
    ) = (
        "state", "state_reason",
    )  # fmt: skip

    attributes_schema = {  # noqa: RUF012 - Heat's own form
        STATE: attributes.Schema(
            _("The alarm's state now: ok, alarm, or insufficient data."),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.STRING,
        ),
        STATE_REASON: attributes.Schema(
            _("Why the alarm is in this state, in a sentence."),
            cache_mode=attributes.Schema.CACHE_NONE,
            type=attributes.Schema.STRING,
        ),
    }

    support_status = support.SupportStatus(status=support.UNSUPPORTED)

    def rule(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's rule for these properties."""
        raise NotImplementedError

    def definition(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's definition of the alarm with these properties."""
        definition = {
            "name": self.physical_resource_name(),
            "type": self.alarm_type,
            f"{self.alarm_type}_rule": self.rule(props),
            TIME_CONSTRAINTS: [
                {key: value for key, value in constraint.items() if value is not None}
                for constraint in props[TIME_CONSTRAINTS]
            ],
        }
        for name in ACTION_PROPERTIES:
            queues = (QUEUE_URL + queue for queue in props[QUEUES[name]])
            definition[name] = [*self._urls(props, name), *queues]
        for name in (REPEAT_ACTIONS, SEVERITY, ENABLED):
            definition[name] = props[name]
        if props[DESCRIPTION] is not None:
            definition[DESCRIPTION] = props[DESCRIPTION]
        return definition

    # Validation

    def validate_template(self) -> Any:
        """Refuse wrong values, and actions that cannot be."""
        result = super().validate_template()
        for name in ACTION_PROPERTIES:
            self._validate_actions(name)
        return result

    def _validate_actions(self, name: str) -> None:
        raw = self.properties.data.get(name)
        if not self.stack.strict_validate and not is_literal(raw):
            return
        items = raw if isinstance(raw, list) else ()
        targets = [actions.referenced(self.stack, item) for item in items]
        try:
            for action in actions.written(raw):
                actions.check(self.stack, action)
            for target in filter(None, targets):
                actions.url_attribute(target)
        except ValueError as error:
            raise self.property_error([name], str(error)) from error

    def add_dependencies(self, deps: Any) -> None:
        """Let an alarm follow the resources that its actions name: their URLs must exist first."""
        super().add_dependencies(deps)
        for name in ACTION_PROPERTIES:
            for action in actions.written(self.properties.data.get(name)):
                if action in self.stack and action != self.name:
                    deps += (self, self.stack[action])

    # The life of the alarm

    def handle_create(self) -> None:
        """Create the alarm."""
        try:
            alarm = self.client().create(self.definition(self.properties))
        except client.AlarmServiceSilent:
            self.data_set(MAY_EXIST, "yes")
            raise
        self.resource_id_set(alarm["alarm_id"])

    def handle_update(self, json_snippet: Any, tmpl_diff: Any, prop_diff: Any) -> None:  # noqa: ARG002
        """Replace the alarm's definition; create it anew where it is gone."""
        props = json_snippet.properties(self.properties_schema, self.context)
        try:
            self.client().replace(self.resource_id, self.definition(props))
        except client.AlarmNotFound as error:
            raise resource.UpdateReplace(self.name) from error

    def handle_suspend(self) -> None:
        """Disable the alarm."""
        self._set_enabled(enabled=False)

    def handle_resume(self) -> None:
        """Enable the alarm, unless its property `enabled` is false."""
        self._set_enabled(enabled=self.properties[ENABLED])

    def handle_check(self) -> None:
        """Fail where the alarm no longer exists."""
        self.client().get(self.resource_id)

    def handle_delete(self) -> None:
        """Delete the alarm; one that is gone already is fine."""
        ids = [] if self.resource_id is None else [self.resource_id]
        if MAY_EXIST in self.data():
            ids += self.client().ids_of(self.physical_resource_name())
        for alarm_id in ids:
            with self.client_plugin().ignore_not_found:
                self.client().delete(alarm_id)

    def needs_replace_failed(self) -> bool:
        """Keep an alarm whose last update failed: the next update puts it right in place."""
        if self.resource_id is None:
            return True
        with self.client_plugin().ignore_not_found:
            self.client().get(self.resource_id)
            return False
        return True

    def _needs_update(  # noqa: PLR0917 - Heat's signature
        self,
        after: Any,
        before: Any,
        after_props: Any,
        before_props: Any,
        prev_resource: Any,
        check_init_complete: bool = True,
    ) -> bool:
        """Tell whether to write the definition again.

        Also after a failure, which may have come before or after the service did what was asked,
        and where an action names a resource: its URL may be another one now.
        """
        needed = super()._needs_update(
            after, before, after_props, before_props, prev_resource, check_init_complete
        )
        return bool(needed) or self.status == self.FAILED or self._names_resources(after_props)

    def _names_resources(self, props: Mapping[str, Any]) -> bool:
        named = itertools.chain.from_iterable(props[name] for name in ACTION_PROPERTIES)
        return any(action and not actions.is_url(action) for action in named)

    def _set_enabled(self, *, enabled: bool) -> None:
        if self.resource_id is not None:
            alarm = self.client().get(self.resource_id)
            self.client().replace(self.resource_id, {**alarm, ENABLED: enabled})

    def _urls(self, props: Mapping[str, Any], name: str) -> Iterator[str]:
        """Give the URL of each action of one state; empty actions are left out."""
        for action in filter(None, props[name]):
            try:
                yield actions.url(self.stack, action)
            except ValueError as error:
                raise exception.Error(f"Property {name}: {error}") from error

    # What is there now

    def _show_resource(self) -> dict[str, Any]:
        alarm: dict[str, Any] = self.client().get(self.resource_id)
        return alarm

    def _resolve_attribute(self, name: str) -> Any:
        if self.resource_id is None:
            return None
        return self._show_resource().get(name)

    def parse_live_resource_data(
        self, resource_properties: Mapping[str, Any], resource_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give the properties whose live value is not the one that the template asks for."""
        wanted = self.definition(resource_properties)
        rule = f"{self.alarm_type}_rule"
        common = {name: wanted[name] for name in COMMON_PROPERTIES if name in wanted}
        return {
            **_differences(wanted[rule], resource_data[rule]),
            **dict(_with_queues(_differences(common, resource_data))),
        }

    # The client

    def client(self, name: str | None = None, version: str | None = None) -> Any:
        """Give the alarm service's client, or another service's by its name."""
        if name in (None, client.SERVICE_TYPE):
            return self.client_plugin().client()
        return super().client(name, version)

    def client_plugin(self, name: str | None = None) -> Any:
        """Give the alarm service's client plugin, or another service's by its name.

        Heat finds client plugins by entry point only, which a directory of plugins cannot have.
        """
        if name not in (None, client.SERVICE_TYPE):
            return super().client_plugin(name)
        if self._alarming is None:
            self._alarming = client.AlarmingClientPlugin(self.stack.context)
        return self._alarming

    @classmethod
    def is_service_available(cls, context: Any) -> tuple[bool, str | None]:
        """Tell whether the catalogue has an alarm service, and if not, why."""
        absence = client.AlarmingClientPlugin(context).absence()
        return absence is None, absence


def _differences(wanted: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    return {name: live.get(name) for name, value in wanted.items() if live.get(name) != value}


def _with_queues(live: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Give live values by property: queues are actions to the alarm service."""
    for name, value in live.items():
        if name in QUEUES:
            yield name, [url for url in value if not url.startswith(QUEUE_URL)]
            yield (
                QUEUES[name],
                [url.removeprefix(QUEUE_URL) for url in value if url.startswith(QUEUE_URL)],
            )
        else:
            yield name, value
