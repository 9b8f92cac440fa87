# SPDX-License-Identifier: Apache-2.0
"""Who may do what: the default rules, under Aodh's names where Aodh has one."""

from collections.abc import Sequence

from oslo_config.cfg import ConfigOpts
from oslo_policy.policy import DocumentedRuleDefault, RuleDefault

from thermostat.api.enforcing import QuickEnforcer

READER = "rule:project_reader_or_admin"
MEMBER = "rule:project_member_or_admin"
ADMIN = "rule:context_is_admin"
PUBLISHER = "rule:context_is_admin or role:service"

GET_ALARM = "telemetry:get_alarm"
GET_ALARMS = "telemetry:get_alarms"
GET_ALL_ALARMS = "telemetry:get_alarms:all_projects"
QUERY_ALARMS = "telemetry:query_alarm"
CREATE_ALARM = "telemetry:create_alarm"
PREVIEW_ALARM = "telemetry:preview_alarm"
CHANGE_ALARM = "telemetry:change_alarm"
DELETE_ALARM = "telemetry:delete_alarm"
GET_ALARM_STATE = "telemetry:get_alarm_state"
CHANGE_ALARM_STATE = "telemetry:change_alarm_state"
ALARM_HISTORY = "telemetry:alarm_history"
QUERY_HISTORY = "telemetry:query_alarm_history"
GET_QUOTAS = "telemetry:get_quotas"
UPDATE_QUOTAS = "telemetry:update_quotas"
DELETE_QUOTAS = "telemetry:delete_quotas"
SET_OWNER = "telemetry:set_alarm_owner"
GET_METRICS = "telemetry:get_metrics"
GET_ALL_METRICS = "telemetry:get_metrics:all_projects"
GET_CAPABILITIES = "telemetry:get_capabilities"
USE_ADMIN_ACTIONS = "telemetry:use_admin_actions"
GET_SILENCES = "telemetry:get_silences"
GET_ALL_SILENCES = "telemetry:get_silences:all_projects"
GET_SILENCE = "telemetry:get_silence"
CREATE_SILENCE = "telemetry:create_silence"
CHANGE_SILENCE = "telemetry:change_silence"
DELETE_SILENCE = "telemetry:delete_silence"
SILENCE_ALL_PROJECTS = "telemetry:silence_all_projects"
GET_NOTIFICATIONS = "telemetry:get_notifications"
GET_ALL_NOTIFICATIONS = "telemetry:get_notifications:all_projects"
CHANGE_NOTIFICATION = "telemetry:change_notification"
GET_WEBHOOK_SECRET = "telemetry:get_webhook_secret"  # noqa: S105 - a rule's name
REPLACE_WEBHOOK_SECRET = "telemetry:replace_webhook_secret"  # noqa: S105 - a rule's name
CREATE_SAMPLES = "telemetry:create_samples"
GET_STATISTICS = "telemetry:get_statistics"
GET_ALL_STATISTICS = "telemetry:get_statistics:all_projects"


def _rule(name: str, check: str, description: str, *operations: str) -> DocumentedRuleDefault:
    return DocumentedRuleDefault(
        name=name,
        check_str=check,
        description=description,
        operations=[
            {"method": method, "path": path}
            for method, path in (operation.split(" ") for operation in operations)
        ],
        scope_types=["project"],
    )


# Under Aodh's names, so that a policy file made for Aodh finds what it refers to.
_PERSONAS = (
    RuleDefault("context_is_admin", "role:admin", "An administrator, in whichever project."),
    RuleDefault(
        "project_reader",
        "role:reader and project_id:%(project_id)s",
        "Who may read what is the project's.",
    ),
    RuleDefault(
        "project_member",
        "role:member and project_id:%(project_id)s",
        "Who may create, change and delete what is the project's.",
    ),
    RuleDefault("project_reader_or_admin", "rule:project_reader or rule:context_is_admin"),
    RuleDefault("project_member_or_admin", "rule:project_member or rule:context_is_admin"),
    RuleDefault(
        "admin_or_owner",
        "rule:context_is_admin or project_id:%(project_id)s",
        "Aodh's old default, which asks for no role. No rule here uses it.",
    ),
)

_RULES = (
    *_PERSONAS,
    _rule(GET_ALARM, READER, "Read an alarm.", "GET /v2/alarms/{alarm_id}"),
    _rule(GET_ALARMS, READER, "List a project's alarms.", "GET /v2/alarms"),
    _rule(GET_ALL_ALARMS, ADMIN, "List the alarms of every project.", "GET /v2/alarms"),
    _rule(QUERY_ALARMS, READER, "Search a project's alarms.", "POST /v2/query/alarms"),
    _rule(CREATE_ALARM, MEMBER, "Create an alarm.", "POST /v2/alarms"),
    _rule(
        PREVIEW_ALARM,
        MEMBER,
        "Learn what an alarm would have done, without creating it.",
        "POST /v2/alarms/preview",
    ),
    _rule(CHANGE_ALARM, MEMBER, "Replace an alarm's definition.", "PUT /v2/alarms/{alarm_id}"),
    _rule(DELETE_ALARM, MEMBER, "Delete an alarm.", "DELETE /v2/alarms/{alarm_id}"),
    _rule(GET_ALARM_STATE, READER, "Read an alarm's state.", "GET /v2/alarms/{alarm_id}/state"),
    _rule(CHANGE_ALARM_STATE, MEMBER, "Set an alarm's state.", "PUT /v2/alarms/{alarm_id}/state"),
    _rule(ALARM_HISTORY, READER, "Read an alarm's history.", "GET /v2/alarms/{alarm_id}/history"),
    _rule(
        QUERY_HISTORY,
        READER,
        "Search the history of a project's alarms.",
        "POST /v2/query/alarms/history",
    ),
    _rule(
        GET_QUOTAS,
        READER,
        "Read how many alarms a project may have.",
        "GET /v2/quotas",
        "GET /v2/quotas/{project_id}",
    ),
    _rule(UPDATE_QUOTAS, ADMIN, "Set how many alarms a project may have.", "POST /v2/quotas"),
    _rule(
        DELETE_QUOTAS,
        ADMIN,
        "Let a project have as many alarms as is configured.",
        "DELETE /v2/quotas/{project_id}",
    ),
    _rule(
        SET_OWNER,
        ADMIN,
        "Create an alarm for another user or project, or give one away.",
        "POST /v2/alarms",
        "PUT /v2/alarms/{alarm_id}",
    ),
    _rule(
        GET_METRICS,
        READER,
        "Read how often a project's alarms were found in each state.",
        "GET /v2/metrics",
    ),
    _rule(
        GET_ALL_METRICS,
        ADMIN,
        "Read how often the alarms of every project were found in each state.",
        "GET /v2/metrics",
    ),
    _rule(GET_CAPABILITIES, "@", "Learn what the API can do.", "GET /v2/capabilities"),
    _rule(
        USE_ADMIN_ACTIONS,
        ADMIN,
        "Give an alarm actions with the schemes log: and test:, which write to the server's log.",
        "POST /v2/alarms",
        "PUT /v2/alarms/{alarm_id}",
    ),
    _rule(
        GET_SILENCES,
        READER,
        "List a project's silences, and those for all projects.",
        "GET /v2/silences",
    ),
    _rule(GET_ALL_SILENCES, ADMIN, "List the silences of every project.", "GET /v2/silences"),
    _rule(
        GET_SILENCE,
        READER,
        "Read a silence; one for all projects, too.",
        "GET /v2/silences/{silence_id}",
    ),
    _rule(CREATE_SILENCE, MEMBER, "Silence a project's alarms.", "POST /v2/silences"),
    _rule(CHANGE_SILENCE, MEMBER, "Edit a silence.", "PUT /v2/silences/{silence_id}"),
    _rule(DELETE_SILENCE, MEMBER, "Let a silence end.", "DELETE /v2/silences/{silence_id}"),
    _rule(
        SILENCE_ALL_PROJECTS,
        ADMIN,
        "Silence the alarms of all projects, and edit or end such a silence.",
        "POST /v2/silences",
        "PUT /v2/silences/{silence_id}",
        "DELETE /v2/silences/{silence_id}",
    ),
    _rule(
        GET_NOTIFICATIONS,
        READER,
        "Read what became of a project's notifications.",
        "GET /v2/alarms/{alarm_id}/notifications",
        "GET /v2/notifications",
        "GET /v2/notifications/{notification_id}",
    ),
    _rule(
        GET_ALL_NOTIFICATIONS,
        ADMIN,
        "Read what became of the notifications of every project.",
        "GET /v2/notifications",
    ),
    _rule(
        CHANGE_NOTIFICATION,
        MEMBER,
        "Send a notification again, or give it up.",
        "POST /v2/notifications/{notification_id}/retry",
        "DELETE /v2/notifications/{notification_id}",
    ),
    _rule(
        GET_WEBHOOK_SECRET,
        MEMBER,
        "Read the secret that the project's notifications are signed with.",
        "GET /v2/webhook-secret",
    ),
    _rule(
        REPLACE_WEBHOOK_SECRET,
        MEMBER,
        "Make a new secret for the project's notifications.",
        "POST /v2/webhook-secret",
    ),
    _rule(
        CREATE_SAMPLES,
        PUBLISHER,
        "Send samples, of any project. Users of [ingest] basic_auth_user_file have the role service"
        " here.",
        "POST /v1/samples",
        "POST /v2/samples",
    ),
    _rule(
        GET_STATISTICS,
        READER,
        "Read statistics of a project's samples.",
        "GET /v2/meters/{meter}/statistics",
    ),
    _rule(
        GET_ALL_STATISTICS,
        ADMIN,
        "Read statistics of another project's samples, or of all projects'.",
        "GET /v2/meters/{meter}/statistics",
    ),
)


def list_rules() -> Sequence[RuleDefault]:
    """Give every rule with its default, for oslo.policy's generators."""
    return _RULES


def load_enforcer(conf: ConfigOpts) -> QuickEnforcer:
    """Give an enforcer with the default rules and, if any, the operator's policy file."""
    enforcer = QuickEnforcer(conf)
    enforcer.register_defaults(list_rules())
    return enforcer
