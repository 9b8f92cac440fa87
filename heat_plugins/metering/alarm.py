# SPDX-License-Identifier: Apache-2.0
"""OS::Metering::Alarm: a statistic of a group, period by period, against a threshold."""

from collections.abc import Mapping
from typing import Any

from . import alarm_base, threshold
from .validation import Wrong


class MeteringAlarm(alarm_base.BaseAlarm):
    """An alarm on a meter of a group of resources.

    Each period gives one datapoint: the statistic over the samples of all resources that match.
    When the datapoints of all evaluation periods breach the threshold, the alarm is in the state
    `alarm` and its actions are called, such as a scaling policy of the same stack. The type is
    the one of 2013; numbers and booleans may be written as strings, as templates did then.
    """

    alarm_type = "threshold"

    PROPERTIES = threshold.PROPERTIES

    properties_schema = {  # noqa: RUF012 - Heat's own form
        **threshold.properties_schema,
        **alarm_base.common_properties_schema,
    }

    def rule(self, props: Mapping[str, Any]) -> dict[str, Any]:
        """Give the API's threshold rule for these properties."""
        return threshold.rule(props)

    related = threshold.RELATED

    def disagreement(self, values: Any) -> Wrong | None:
        """Give which property does not go with others, and why."""
        wrong = threshold.check(values)
        return None if wrong is None else ([wrong[0]], wrong[1])

    def parse_live_resource_data(
        self, resource_properties: Mapping[str, Any], resource_data: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Give the properties whose live value is not the one that the template asks for."""
        live = super().parse_live_resource_data(resource_properties, resource_data)
        if threshold.QUERY in live:
            # The service keeps one query; what of it came from matching_metadata is not known.
            live[threshold.MATCHING_METADATA] = {}
        return live


def resource_mapping() -> dict[str, type[MeteringAlarm]]:
    """Tell Heat which types this module holds; OS::Ceilometer::Alarm is what it was called then."""
    return {"OS::Metering::Alarm": MeteringAlarm, "OS::Ceilometer::Alarm": MeteringAlarm}
