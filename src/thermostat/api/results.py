# SPDX-License-Identifier: Apache-2.0
"""`/v2/metrics`: how often each alarm was found in each state, if that is counted."""

import falcon
import msgspec
from oslo_config import cfg

from thermostat.alarms.model import State
from thermostat.api import policies
from thermostat.api.context import authorize, own_project
from thermostat.api.errors import bad_field
from thermostat.api.params import all_values, boolean, refuse_unknown
from thermostat.api.services import Services

OPTS = [
    cfg.BoolOpt(
        "enable_evaluation_results_metrics",
        default=False,
        help="Count of each alarm how often it was found in each state, and show the counts at "
        "/v2/metrics. Counted is what is written of an alarm's judgement: a change of state, and "
        "actions that are called again.",
    ),
]


class ResultsResource:
    """The counts."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Show those of the project's alarms, or of all."""
        refuse_unknown(req, "all_projects")
        given = all_values(req, "all_projects")
        try:
            everything = boolean(given[-1]) if given else False
        except ValueError as error:
            raise bad_field("all_projects", str(error)) from error
        if not self._services.alarms.counts_results:
            raise falcon.HTTPForbidden(description="metrics endpoint is disabled")
        rule = policies.GET_ALL_METRICS if everything else policies.GET_METRICS
        authorize(self._services.enforcer, req, rule)
        project_id = None if everything else own_project(req)
        counted = self._services.alarms.results(project_id)
        results = [
            {
                "alarm_id": alarm_id,
                "project_id": owner,
                "state_counters": {state: counts.get(state, 0) for state in State},
            }
            for (owner, alarm_id), counts in counted.items()
        ]
        resp.content_type = falcon.MEDIA_JSON
        resp.data = msgspec.json.encode({"evaluation_results": results})
