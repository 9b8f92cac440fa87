# SPDX-License-Identifier: Apache-2.0
"""The alarms that join others, the additions to the threshold rule, and the historic names."""

from typing import Any

import pytest

CPU = {"meter_name": "cpu_util", "threshold": "80", "comparison_operator": "gt"}
MEMORY = {"meter_name": "memory.util", "threshold": 90}


def template(**resources: Any) -> dict[str, Any]:
    return {"heat_template_version": "2018-08-31", "resources": resources}


def threshold(kind: str = "OS::Metering::Alarm", **properties: Any) -> dict[str, Any]:
    return {"type": kind, "properties": {**CPU, **properties}}


def composite(rule: Any, **properties: Any) -> dict[str, Any]:
    both = {
        "type": "OS::Metering::CompositeAlarm",
        "properties": {"composite_rule": rule, **properties},
    }
    return template(both=both)


def combination(kind: str = "OS::Metering::CombinationAlarm", **properties: Any) -> dict[str, Any]:
    ids = [{"get_resource": "high"}, {"get_resource": "low"}]
    return template(
        high=threshold(),
        low=threshold(comparison_operator="lt"),
        both={"type": kind, "properties": {"alarm_ids": ids, **properties}},
    )


def created(cloud: Any, wanted: dict[str, Any], kind: str) -> tuple[Any, dict[str, Any]]:
    stack = cloud.create(wanted)
    assert stack.status == "COMPLETE", stack.status_reason
    (alarm,) = (one for one in cloud.alarm_service.alarms.values() if one["type"] == kind)
    return stack, alarm


def refused(cloud: Any, wanted: dict[str, Any], **options: Any) -> Any:
    from heat.common import exception

    stack = cloud.parse(wanted, **options)
    with pytest.raises(exception.StackValidationFailed) as caught:
        stack.validate(validate_res_tmpl_only=not options.get("strict_validate", True))
    return caught.value


class TestCombination:
    @pytest.mark.parametrize(
        "kind", ["OS::Metering::CombinationAlarm", "OS::Ceilometer::CombinationAlarm"]
    )
    def test_it_names_the_stacks_alarms(self, cloud, kind):
        stack, alarm = created(cloud, combination(kind), "combination")
        ids = [stack["high"].resource_id, stack["low"].resource_id]
        assert alarm["combination_rule"] == {"alarm_ids": ids, "operator": "and"}

    def test_it_is_updated_in_place(self, cloud):
        stack, alarm = created(cloud, combination(), "combination")
        cloud.update(stack, combination(operator="or", severity="critical"))
        assert stack.status == "COMPLETE", stack.status_reason
        changed = cloud.alarm_service.alarms[alarm["alarm_id"]]
        assert changed["combination_rule"]["operator"] == "or"
        assert changed["severity"] == "critical"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("alarm_ids", []),
            ("alarm_ids", ["one"]),
            ("alarm_ids", "one"),
            ("alarm_ids", ["one", {"two": 2}]),
            ("alarm_ids", ["one", ""]),
            ("alarm_ids", ["one", "x" * 256]),
            ("operator", "xor"),
            ("operator", ["and"]),
            ("alarm_ids", [{"get_resource": "nobody"}, "two"]),
        ],
    )
    @pytest.mark.parametrize("strict", [True, False], ids=["stack create", "template validate"])
    def test_wrong_values_name_the_property(self, cloud, name, value, strict):
        if value and value[0] == {"get_resource": "nobody"}:
            from heat.common import exception

            with pytest.raises(exception.InvalidTemplateReference, match="nobody"):
                cloud.parse(combination(**{name: value}), strict_validate=strict).validate()
            return
        error = refused(cloud, combination(**{name: value}), strict_validate=strict)
        assert name in error.path or name in str(error)


class TestReferences:
    """What they name is looked at before anything is made."""

    @pytest.mark.parametrize(
        ("ids", "said"),
        [
            ([{"get_resource": "high"}], "alarm_ids: must name at least 2 alarms"),
            (
                [{"get_resource": "high"}, {"get_resource": "high"}],
                "alarm_ids[1]: names the same alarm again",
            ),
            (["one", "one"], "alarm_ids[1]: names the same alarm again"),
        ],
    )
    @pytest.mark.parametrize("strict", [True, False], ids=["stack create", "template validate"])
    def test_too_few(self, cloud, ids, said, strict):
        assert said in str(refused(cloud, combination(alarm_ids=ids), strict_validate=strict))

    def test_a_resource_that_is_no_alarm(self, cloud):
        wanted = combination(alarm_ids=[{"get_resource": "high"}, {"get_resource": "random"}])
        wanted["resources"]["random"] = {"type": "OS::Heat::RandomString"}
        said = str(refused(cloud, wanted))
        assert "alarm_ids[1]: random (OS::Heat::RandomString) is no alarm" in said

    def test_an_alarm_that_there_is_not(self, cloud):
        cloud.alarm_service.alarms["there"] = {"type": "x"}
        said = str(refused(cloud, combination(alarm_ids=["there", "gone"])))
        assert "alarm_ids[1]: Alarm gone not found" in said
        rule = {"or": [CPU, {"not": {"alarm_id": "gone"}}]}
        said = str(refused(cloud, composite(rule)))
        assert "composite_rule.or[1].not.alarm_id: Alarm gone not found" in said
        said = str(refused(cloud, composite({"or": [CPU, CPU]}, suppressor="gone")))
        assert "suppressor: Alarm gone not found" in said

    def test_while_the_service_is_down_nothing_is_looked_up(self, cloud):
        cloud.alarm_service.stop()
        cloud.parse(combination(alarm_ids=["one", "two"])).validate()


class TestComposite:
    def test_rules_nest(self, cloud):
        cloud.alarm_service.alarms |= {"another": {"type": "x"}, "quiet": {"type": "x"}}
        rule = {
            "or": [
                {"and": [CPU, {"not": {"type": "threshold", **MEMORY}}]},
                {"alarm_id": "another"},
                {"type": "prometheus", "query": "up", "threshold": "1", "for": "60"},
            ]
        }
        _, alarm = created(cloud, composite(rule, suppressor="quiet"), "composite")
        got = alarm["composite_rule"]
        assert got.pop("suppressor") == "quiet"
        conjunction, reference, prometheus = got.pop("or")
        assert not got
        cpu, negated = conjunction["and"]
        assert (cpu["type"], cpu["threshold"], cpu["statistic"]) == ("threshold", 80, "avg")
        assert negated["not"]["meter_name"] == "memory.util"
        assert reference == {"type": "alarm", "alarm_id": "another"}
        assert prometheus == {
            "type": "prometheus",
            "query": "up",
            "threshold": 1,
            "comparison_operator": "eq",
            "evaluation_periods": 1,
            "granularity": 60,
            "for": 60,
        }

    def test_metadata_selects_the_group_as_in_an_alarm(self, cloud):
        leaf = {**CPU, "matching_metadata": {"server_group": {"get_param": "OS::stack_name"}}}
        _, alarm = created(cloud, composite({"or": [leaf, leaf]}), "composite")
        (condition,) = alarm["composite_rule"]["or"][0]["query"]
        assert (
            condition["field"] == "metadata.user_metadata.server_group"
            or condition["field"] == "metadata.metering.server_group"
        )
        assert condition["value"] == cloud.name

    def test_the_form_of_heats_own_type(self, cloud):
        _, alarm = created(
            cloud, composite({"operator": "and", "rules": [CPU, MEMORY]}), "composite"
        )
        assert [one["meter_name"] for one in alarm["composite_rule"]["and"]] == [
            "cpu_util",
            "memory.util",
        ]

    def test_references_to_alarms_of_the_stack(self, cloud):
        wanted = composite({"or": [{"alarm_id": {"get_resource": "high"}}, CPU]})
        wanted["resources"]["high"] = threshold()
        wanted["resources"]["both"]["properties"]["suppressor"] = {"get_resource": "high"}
        stack, alarm = created(cloud, wanted, "composite")
        rule = alarm["composite_rule"]
        assert rule["or"][0]["alarm_id"] == stack["high"].resource_id == rule["suppressor"]

    @pytest.mark.parametrize(
        ("rule", "part"),
        [
            ("text", "composite_rule"),
            ({}, "composite_rule"),
            ({"and": []}, "composite_rule.and"),
            ({"and": CPU}, "composite_rule.and"),
            ({"or": [CPU, "x"]}, "composite_rule.or[1]"),
            ({"or": [CPU, {**CPU, "threshold": "high"}]}, "composite_rule.or[1].threshold"),
            ({"or": [CPU, {"meter_name": "m"}]}, "composite_rule.or[1]"),
            ({"or": [CPU, {**CPU, "colour": 1}]}, "composite_rule.or[1]"),
            ({"or": [CPU, {**CPU, "period": 0}]}, "composite_rule.or[1].period"),
            ({"or": [CPU, {**CPU, "clear_threshold": 90}]}, "composite_rule.or[1].clear_threshold"),
            ({"or": [CPU, {"alarm_id": 5}]}, "composite_rule.or[1].alarm_id"),
            ({"or": [CPU, {"alarm_id": "a", "state": "ok"}]}, "composite_rule.or[1].state"),
            ({"or": [CPU, {"type": "event"}]}, "composite_rule.or[1].type"),
            ({"or": [CPU, {"type": "prometheus", "query": "up"}]}, "composite_rule.or[1]"),
            ({"or": [CPU, CPU], "and": [CPU, CPU]}, "composite_rule"),
            ({"operator": "xor", "rules": [CPU, CPU]}, "composite_rule.operator"),
            ({"not": {"not": {"and": [CPU, {"type": 5}]}}}, "composite_rule.not.not.and[1].type"),
        ],
    )
    @pytest.mark.parametrize("strict", [True, False], ids=["stack create", "template validate"])
    def test_wrong_rules_name_the_part(self, cloud, rule, part, strict):
        error = refused(cloud, composite(rule), strict_validate=strict)
        assert part in str(error).replace("'", "")


class TestThreshold:
    def test_the_additions(self, cloud):
        additions = {
            "datapoints_to_alarm": "2",
            "evaluation_periods": 3,
            "treat_missing_data": "breaching",
            "exclude_outliers": "true",
            "clear_threshold": 60,
            "min_reporting_ratio": "0.5",
            "warm_up": 120,
            "statistic": "p99.9",
        }
        _, alarm = created(cloud, template(one=threshold(**additions)), "threshold")
        rule = alarm["threshold_rule"]
        assert {name: rule[name] for name in additions} == {
            "datapoints_to_alarm": 2,
            "evaluation_periods": 3,
            "treat_missing_data": "breaching",
            "exclude_outliers": True,
            "clear_threshold": 60,
            "min_reporting_ratio": 0.5,
            "warm_up": 120,
            "statistic": "p99.9",
        }

    @pytest.mark.parametrize(
        ("properties", "name"),
        [
            ({"datapoints_to_alarm": 0}, "datapoints_to_alarm"),
            ({"datapoints_to_alarm": 2}, "datapoints_to_alarm"),
            ({"treat_missing_data": "guess"}, "treat_missing_data"),
            ({"exclude_outliers": "some"}, "exclude_outliers"),
            ({"clear_threshold": "nan"}, "clear_threshold"),
            ({"clear_threshold": 81}, "clear_threshold"),
            ({"clear_threshold": 79, "comparison_operator": "lt"}, "clear_threshold"),
            ({"clear_threshold": 79, "comparison_operator": "eq"}, "clear_threshold"),
            ({"min_reporting_ratio": 1.5}, "min_reporting_ratio"),
            ({"min_reporting_ratio": -1}, "min_reporting_ratio"),
            ({"warm_up": -1}, "warm_up"),
            ({"warm_up": 86_401}, "warm_up"),
            ({"statistic": "p42"}, "statistic"),
        ],
    )
    def test_wrong_values_name_the_property(self, cloud, properties, name):
        error = refused(cloud, template(one=threshold(**properties)))
        assert name in error.path or name in str(error)

    def test_its_name_of_2013(self, cloud):
        created(cloud, template(one=threshold("OS::Ceilometer::Alarm")), "threshold")

    def test_time_constraints_are_updated_in_place(self, cloud):
        span = {"name": "day", "start": "0 8 * * *", "duration": 3600}
        stack, alarm = created(cloud, template(one=threshold(time_constraints=[span])), "threshold")
        longer = {**span, "duration": 7200}
        cloud.update(stack, template(one=threshold(time_constraints=[longer])))
        assert stack.status == "COMPLETE", stack.status_reason
        changed = cloud.alarm_service.alarms[alarm["alarm_id"]]
        assert changed["time_constraints"] == [longer]
