# SPDX-License-Identifier: Apache-2.0
"""`/v2/capabilities`: what the API can do, in Aodh's flat form, and what is beyond Aodh.

A client that finds a name of an addition here may use it; one that Aodh has is not named beside it.
"""

from collections.abc import Iterator, Mapping

import falcon
import msgspec

from thermostat.alarms.rules import RULE_TYPES
from thermostat.api import policies
from thermostat.api.context import authorize
from thermostat.api.params import refuse_unknown
from thermostat.api.services import Services

_OF_AODH = (
    "alarms:history:query:complex",
    "alarms:history:query:simple",
    "alarms:query:complex",
    "alarms:query:simple",
)
_BEYOND_AODH = (
    "alarms:actions:group",
    "alarms:composite_rule:alarm",
    "alarms:composite_rule:not",
    "alarms:composite_rule:suppressor",
    "alarms:composite_rule:threshold",
    "alarms:notifications",
    "alarms:preview",
    "notifications:retry",
    "notifications:signatures",
    "openapi",
    "samples",
    "silences",
    "statistics",
)
AODH_FIELDS: Mapping[str, frozenset[str]] = {
    "threshold": frozenset(
        {
            "meter_name",
            "query",
            "period",
            "statistic",
            "comparison_operator",
            "threshold",
            "evaluation_periods",
            "exclude_outliers",
        }
    ),
    "prometheus": frozenset({"query", "threshold", "comparison_operator"}),
}
"""The fields that Aodh had of the rules that have more here."""


class CapabilitiesResource:
    """What can be done."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show it."""
        refuse_unknown(req)
        authorize(self._services.enforcer, req, policies.GET_CAPABILITIES)
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode(
            {
                "api": dict.fromkeys(sorted(_names()), True),
                "alarm_storage": {"storage:production_ready": True},
            }
        )


def _names() -> Iterator[str]:
    yield from _OF_AODH
    yield from _BEYOND_AODH
    for kind, rule in RULE_TYPES.items():
        yield f"alarms:type:{kind}"
        if kind in AODH_FIELDS:
            for name in _fields(rule) - AODH_FIELDS[kind]:
                yield f"alarms:{kind}_rule:{name}"


def _fields(rule: type[msgspec.Struct]) -> frozenset[str]:
    return frozenset(field.encode_name for field in msgspec.structs.fields(rule))
