# SPDX-License-Identifier: Apache-2.0
"""What is refused before anything is made, with the path of the property that is wrong."""

import math
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from croniter import CroniterError, croniter
from heat.common import exception
from heat.common.i18n import _
from heat.engine import constraints, function, properties

CRON_FIELDS = 5
SOME_TIME = datetime(2026, 1, 1, tzinfo=UTC)
"""Any time: an expression that comes before it comes before every later time."""
Wrong = tuple[list[Any], str]
"""The path of a property that is wrong, and why."""


class Finite(constraints.Constraint):
    """Refuses NaN and infinity, which Heat takes for numbers and no JSON can carry."""

    valid_types = (constraints.Schema.NUMBER_TYPE,)

    def _str(self) -> str:
        return str(_("The value must be a finite number."))

    def _err_msg(self, value: Any) -> str:
        return str(_("%s is not a finite number") % value)

    def _is_valid(self, value: Any, schema: Any, context: Any) -> bool:  # noqa: ARG002 - Heat's form
        number = constraints.Schema.str_to_num(value)
        return not isinstance(number, bool) and math.isfinite(number)

    def _constraint(self) -> bool:
        return True


class CronExpression(constraints.Constraint):
    """Refuses what the service does not take: seconds or years, and what never comes."""

    valid_types = (constraints.Schema.STRING_TYPE,)

    def _str(self) -> str:
        return str(_("The value must be a cron expression of %s fields.") % CRON_FIELDS)

    def _err_msg(self, value: Any) -> str:
        return str(
            _("%(value)r is not a cron expression of %(fields)s fields, or never comes")
            % {"value": value, "fields": CRON_FIELDS}
        )

    def _is_valid(self, value: Any, schema: Any, context: Any) -> bool:  # noqa: ARG002 - Heat's form
        if len(value.split()) not in {1, CRON_FIELDS}:
            return False
        try:
            croniter(value, SOME_TIME).get_prev(datetime)
        except CroniterError:
            return False
        return True

    def _constraint(self) -> bool:
        return True


class Validated:
    """A resource whose literal values are judged wherever Heat looks at a template.

    `openstack orchestration template validate` knows no parameters, so Heat skips all values there;
    those that are written in the template as they are can be judged all the same.
    """

    stack: Any
    context: Any
    name: str
    properties: Any
    properties_schema: Any

    related: Collection[str] = ()
    """The properties that `disagreement` looks at."""

    def disagreement(self, values: Any) -> Wrong | None:  # noqa: ARG002 - a hook
        """Give which property does not go with others, and why; None: they all agree."""
        return None

    def validate(self) -> Any:
        """Refuse wrong values, and properties that do not go together."""
        result = super().validate()  # type: ignore[misc]
        self.check_agreement(self.properties)
        return result

    def validate_template(self) -> Any:
        """Refuse wrong values, also where Heat looks at the template's structure only."""
        result = super().validate_template()  # type: ignore[misc]
        if not self.stack.strict_validate:
            self._validate_literals()
        return result

    def property_error(self, path: list[Any], message: str) -> Exception:
        """Give what to raise where the property at this path is wrong."""
        template = self.stack.t
        error: Exception = exception.StackValidationFailed(
            error="Property error",
            path=[template.RESOURCES, self.name, template.get_section_name("Properties"), *path],
            message=message,
        )
        return error

    def check_agreement(self, values: Mapping[str, Any]) -> None:
        """Raise the property error where properties do not go together."""
        wrong = self.disagreement(values)
        if wrong is not None:
            raise self.property_error(*wrong)

    def _validate_literals(self) -> None:
        data = self.properties.data
        schema = {
            name: known
            for name, known in self.properties_schema.items()
            if name not in data or is_literal(data[name])
        }
        literals = {name: value for name, value in data.items() if name in schema}
        known = properties.Properties(schema, literals, context=self.context)
        try:
            known.validate()
        except exception.StackValidationFailed as refused:
            raise self.property_error(refused.path, refused.error_message) from refused
        if schema.keys() >= set(self.related):
            self.check_agreement(known)


def is_literal(value: Any) -> bool:
    """Tell whether a value is written in the template as it is, without functions."""
    if isinstance(value, function.Function | function.Macro):
        return False
    if isinstance(value, Mapping):
        return all(is_literal(inner) for inner in value.values())
    return not isinstance(value, list) or all(is_literal(inner) for inner in value)
