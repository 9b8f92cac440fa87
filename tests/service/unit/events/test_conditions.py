# SPDX-License-Identifier: Apache-2.0
"""Conditions on events: types, operators, and what is not there."""

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.service.event_support import condition, document, event
from thermostat.alarms.events import TraitType
from thermostat.alarms.query import Operator
from thermostat.events.conditions import Check, WrongTypeError
from thermostat.events.model import event_of


def holds(field, value, op="eq", kind="", **traits):
    return Check.of(condition(field, value, op, kind)).holds(event(**traits))


class TestTypes:
    @pytest.mark.parametrize(
        ("value", "op", "kind", "actual", "expected"),
        [
            ("error", "eq", "", "error", True),
            ("error", "eq", "string", "active", False),
            ("5", "eq", "string", 5, True),
            ("True", "eq", "string", True, True),
            ("b", "lt", "string", "abc", True),
            ("5", "eq", "integer", 5, True),
            ("5", "eq", "integer", "5", True),
            ("5", "eq", "integer", 5.5, False),
            ("5", "gt", "integer", 5.5, True),
            ("10", "gt", "integer", "9", False),
            ("0.5", "le", "float", "5e-1", True),
            ("true", "eq", "boolean", True, True),
            ("on", "eq", "boolean", "True", True),
            ("false", "eq", "boolean", 0, True),
            ("2026-11-25T03:00:00", "eq", "datetime", "2026-11-25T05:00:00+02:00", True),
            ("2026-11-25", "lt", "datetime", "2026-11-24 23:59:59.9", True),
        ],
    )
    def test_both_sides_are_of_the_conditions_type(self, value, op, kind, actual, expected):
        assert holds("traits.x", value, op, kind, x=actual) is expected

    @pytest.mark.parametrize("op", Operator)
    @pytest.mark.parametrize(
        ("kind", "value", "actual"),
        [
            ("integer", "5", "five"),
            ("integer", "5", math.nan),
            ("float", "5", ""),
            ("float", "5", [5]),
            ("boolean", "true", "perhaps"),
            ("datetime", "2026-11-25", "yesterday"),
            ("datetime", "2026-11-25", 5),
            ("string", "x", {"x": 1}),
        ],
    )
    def test_what_has_another_type_meets_no_condition(self, op, kind, value, actual):
        assert holds("traits.x", value, op, kind, x=actual) is False

    @pytest.mark.parametrize("op", Operator)
    @pytest.mark.parametrize("field", ["traits.y", "nothing", "event_type.x", "generated.x.y"])
    def test_what_is_absent_meets_only_ne(self, op, field):
        assert holds(field, "5", op, "", x=5) is (op is Operator.NE)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("integer", "5.5"),
            ("integer", "x"),
            ("float", "nan"),
            ("float", "inf"),
            ("boolean", "2"),
            ("datetime", "noon"),
            ("integer", "9" * 10_000),
        ],
    )
    def test_a_value_that_is_not_of_its_type_is_refused(self, kind, value):
        with pytest.raises(WrongTypeError, match="is not of type"):
            Check.of(
                condition("traits.x", "1", "eq", kind).__class__(
                    field="traits.x", value=value, type=TraitType(kind)
                )
            )


class TestFieldsOfTheEventItself:
    @pytest.mark.parametrize(
        ("field", "value", "op", "kind"),
        [
            ("event_type", "compute.instance.update", "eq", "string"),
            ("message_id", "m1", "eq", ""),
            ("message_id", "m2", "ne", ""),
            ("generated", "2026-11-25T03:00:00.123456Z", "eq", "datetime"),
            ("generated", "2026-11-25T03:00:01", "lt", "datetime"),
        ],
    )
    def test_can_be_asked_for(self, field, value, op, kind):
        assert holds(field, value, op, kind)

    @pytest.mark.parametrize("field", ["raw.ctxt.auth_token", "message_signature"])
    def test_what_is_not_for_tenants_is_not_there(self, field):
        told = document() | {"raw": {"ctxt": {"auth_token": "t0k3n"}}}
        for value in ("t0k3n", "0f" * 32):
            assert not Check.of(condition(field, value)).holds(event_of(told))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)
WANTED = {
    "": st.text(max_size=20),
    "string": st.text(max_size=20),
    "integer": st.integers().map(str),
    "float": st.floats(allow_nan=False, allow_infinity=False).map(str),
    "boolean": st.sampled_from(["true", "0", "Yes", "OFF"]),
    "datetime": st.datetimes(timezones=st.none() | st.just(UTC)).map(datetime.isoformat),
}


@given(data=st.data(), kind=st.sampled_from(sorted(WANTED)), op=st.sampled_from(Operator))
def test_no_value_is_an_error(data, kind, op):
    wanted, actual = data.draw(WANTED[kind]), data.draw(JSON)
    assert holds("traits.x", wanted, op, kind, x=actual) in (True, False)


@given(data=st.data(), kind=st.sampled_from(sorted(WANTED)))
def test_a_value_equals_itself(data, kind):
    wanted = data.draw(WANTED[kind])
    assert holds("traits.x", wanted, "eq", kind, x=wanted)
    assert not holds("traits.x", wanted, "ne", kind, x=wanted)
