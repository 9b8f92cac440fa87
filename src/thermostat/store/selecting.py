# SPDX-License-Identifier: Apache-2.0
"""Which series a selection matches, and the groups they fall into: the same for every store."""

from collections.abc import Sequence

from thermostat.alarms.query import METADATA_PREFIXES, PLAIN_FIELDS, find_metadata
from thermostat.store.base import InvalidSelection, Selection, Series


def matches(series: Series, selection: Selection) -> bool:
    """Tell whether a series meets the selection's meter, project and conditions."""
    key = series.key
    if key.meter != selection.meter:
        return False
    if selection.project_id is not None and key.project_id != selection.project_id:
        return False
    return all(
        condition.matches(
            resource_id=key.resource_id,
            project_id=key.project_id,
            user_id=series.user_id,
            source=series.source,
            metadata=series.metadata,
        )
        for condition in selection.conditions
    )


def check_period(period_s: int | None) -> None:
    """Raise InvalidSelection for a period shorter than a second."""
    if period_s is not None and period_s < 1:
        raise InvalidSelection(f"period: must be at least 1 second, got {period_s}")


def check_group_by(fields: Sequence[str]) -> None:
    """Raise InvalidSelection for a field that series cannot be grouped by."""
    for field in fields:
        if field not in PLAIN_FIELDS and not field.startswith(METADATA_PREFIXES):
            known = ", ".join(PLAIN_FIELDS)
            raise InvalidSelection(
                f"groupby: {field!r} is unknown: use one of {known}, or metadata.<key>"
            )


def group_of(series: Series, fields: Sequence[str]) -> tuple[str | None, ...]:
    """Give the series' values of the group-by fields, as text; None where it has none."""
    return tuple(_value(series, field) for field in fields)


def group_order(group: tuple[str | None, ...]) -> list[tuple[bool, str]]:
    """Give the sort key of a group's values; None comes first."""
    return [(value is not None, value or "") for value in group]


def _value(series: Series, field: str) -> str | None:
    if field.startswith(METADATA_PREFIXES):
        found = find_metadata(series.metadata, field.split(".", 1)[1])
        return None if found is None else str(found)
    if field in {"resource_id", "project_id"}:
        return getattr(series.key, field)  # type: ignore[no-any-return]  # both are str | None
    return series.user_id if field == "user_id" else series.source
