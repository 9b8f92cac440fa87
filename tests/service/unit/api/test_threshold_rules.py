# SPDX-License-Identifier: Apache-2.0
"""What a threshold rule may say beyond Ceilometer's."""

import pytest

from tests.service.alarm_requests import fault, with_rule

PERCENTILES = ["p50", "p75", "p90", "p95", "p98", "p99", "p99.5", "p99.9"]


def refused(api, **fields):
    answer = api("POST", "/v2/alarms", with_rule(**fields))
    assert answer.status_code == 400, answer.text
    return fault(answer)


class TestAccepted:
    @pytest.mark.parametrize("statistic", PERCENTILES)
    def test_percentiles(self, api, statistic):
        answer = api("POST", "/v2/alarms", with_rule(statistic=statistic))
        assert answer.json["threshold_rule"]["statistic"] == statistic

    def test_everything_comes_back(self, api):
        fields = {"clear_threshold": 50.5, "min_reporting_ratio": 0.75, "warm_up": 300}
        answer = api("POST", "/v2/alarms", with_rule(**fields))
        assert answer.json["threshold_rule"].items() >= fields.items()

    def test_as_text(self, api):
        fields = {"clear_threshold": "50.5", "min_reporting_ratio": "0.75", "warm_up": "300"}
        rule = api("POST", "/v2/alarms", with_rule(**fields)).json["threshold_rule"]
        assert (rule["clear_threshold"], rule["min_reporting_ratio"]) == (50.5, 0.75)
        assert rule["warm_up"] == 300

    @pytest.mark.parametrize(
        ("operator", "clear_threshold"),
        [("gt", 69), ("gt", 70), ("ge", 69), ("lt", 71), ("lt", 70), ("le", 71)],
    )
    def test_clears_on_the_other_side(self, api, operator, clear_threshold):
        body = with_rule(comparison_operator=operator, clear_threshold=clear_threshold)
        assert api("POST", "/v2/alarms", body).status_code == 201

    def test_a_window_longer_than_samples_are_kept(self, api):
        body = with_rule(period=31_536_000, evaluation_periods=100, exclude_outliers=True)
        assert api("POST", "/v2/alarms", body).status_code == 201


class TestRefused:
    @pytest.mark.parametrize(
        ("operator", "clear_threshold", "sign"),
        [("gt", 71, "≤"), ("ge", 70.5, "≤"), ("lt", 69, "≥"), ("le", 0, "≥")],
    )
    def test_clearing_where_it_breaches(self, api, operator, clear_threshold, sign):
        said = refused(api, comparison_operator=operator, clear_threshold=clear_threshold)
        assert said == (
            "Invalid input for field/attribute threshold_rule.clear_threshold: with "
            f"comparison_operator {operator} it must be {sign} threshold, 70, but it is "
            f"{clear_threshold:g}"
        )

    @pytest.mark.parametrize("operator", ["eq", "ne"])
    def test_clearing_an_equality(self, api, operator):
        said = refused(api, comparison_operator=operator, clear_threshold=70)
        assert "threshold_rule.clear_threshold: makes no sense" in said
        assert operator in said

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("clear_threshold", "low"),
            ("clear_threshold", "nan"),
            ("clear_threshold", "-inf"),
            ("clear_threshold", [1]),
            ("min_reporting_ratio", -0.1),
            ("min_reporting_ratio", 1.1),
            ("min_reporting_ratio", "nan"),
            ("min_reporting_ratio", "half"),
            ("warm_up", -1),
            ("warm_up", 86_401),
            ("warm_up", 1.5),
            ("warm_up", {}),
            ("statistic", "p42"),
            ("statistic", "P95"),
            ("statistic", 95),
        ],
    )
    def test_wrong_types_and_ranges(self, api, field, value):
        said = refused(api, **{field: value})
        assert said.startswith(f"Invalid input for field/attribute threshold_rule.{field}: ")


class TestTexts:
    """A NUL cannot be written to PostgreSQL, and what is too long serves nobody."""

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"meter_name": "cpu\0util"}, "threshold_rule.meter_name"),
            ({"meter_name": "m" * 256}, "threshold_rule.meter_name"),
            (
                {"query": [{"field": "metadata.a\0b", "value": "x"}]},
                "threshold_rule.query[0].field",
            ),
            (
                {"query": [{"field": "resource_id", "value": "a\0b"}]},
                "threshold_rule.query[0].value",
            ),
            (
                {"query": [{"field": "resource_id", "value": "v" * 1001}]},
                "threshold_rule.query[0].value",
            ),
            (
                {"query": [{"field": "metadata." + "k" * 300, "value": "x"}]},
                "threshold_rule.query[0].field",
            ),
            ({"query": [{"field": "resource_id", "value": "x"}] * 101}, "threshold_rule.query"),
        ],
    )
    def test_of_a_rule(self, api, fields, field):
        assert refused(api, **fields).startswith(f"Invalid input for field/attribute {field}: ")

    def test_of_a_part_of_a_composite(self, api):
        leaf = {"type": "threshold", "meter_name": "q\0q", "threshold": 1}
        body = {"name": "n", "type": "composite", "composite_rule": {"or": [leaf]}}
        answer = api("POST", "/v2/alarms", body)
        assert answer.status_code == 400
        assert "composite_rule.or[0].meter_name" in fault(answer)

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"name": "a\0b"}, "name"),
            ({"description": "a\0b"}, "description"),
            ({"description": "d" * 10_001}, "description"),
            ({"timezone": "UTC\0"}, "timezone"),
        ],
    )
    def test_of_a_time_constraint(self, api, changes, field):
        span = {"name": "day", "start": "0 8 * * *", "duration": 1, **changes}
        answer = api("POST", "/v2/alarms", {**with_rule(), "time_constraints": [span]})
        assert answer.status_code == 400
        assert f"time_constraints[0].{field}" in fault(answer)
