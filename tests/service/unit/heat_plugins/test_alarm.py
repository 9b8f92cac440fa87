# SPDX-License-Identifier: Apache-2.0
import copy
import json
from pathlib import Path
from typing import Any

import pytest

POLICY = {
    "Type": "OS::Heat::ScalingPolicy",
    "Properties": {
        "auto_scaling_group_id": {"Ref": "Group"},
        "adjustment_type": "change_in_capacity",
        "scaling_adjustment": "1",
        "cooldown": "60",
    },
}
TEMPLATE: dict[str, Any] = {
    "AWSTemplateFormatVersion": "2010-09-09",
    "Parameters": {"High": {"Type": "Number", "Default": "50"}},
    "Resources": {
        # In a group's place: its stack of members needs an engine behind a message bus, and a
        # policy looks for its group only when it is signalled.
        "Group": {"Type": "OS::Heat::TestResource"},
        "ScaleUp": POLICY,
        "AlarmHigh": {
            "Type": "OS::Metering::Alarm",
            "Properties": {
                "description": "Scale up when the group is busy",
                "meter_name": "cpu_util",
                "statistic": "avg",
                "period": "60",
                "evaluation_periods": "1",
                "threshold": {"Ref": "High"},
                "comparison_operator": "gt",
                "alarm_actions": [{"Fn::GetAtt": ["ScaleUp", "alarm_url"]}],
                "matching_metadata": {
                    "metadata.user_metadata.server_group": {"Ref": "AWS::StackName"}
                },
            },
        },
    },
    "Outputs": {"Id": {"Value": {"Ref": "AlarmHigh"}}},
}


def with_properties(**changes: Any) -> dict[str, Any]:
    """Give the template with some of the alarm's properties changed; None takes one away."""
    template = copy.deepcopy(TEMPLATE)
    properties = template["Resources"]["AlarmHigh"]["Properties"]
    for name, value in changes.items():
        properties.pop(name, None)
        if value is not None:
            properties[name] = value
    return template


def succeeded(stack: Any) -> bool:
    assert stack.status == "COMPLETE", stack.status_reason
    return True


class TestCreate:
    def test_the_form_of_2013_becomes_a_threshold_alarm(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        assert succeeded(stack)
        alarm = alarm_service.only
        assert alarm["type"] == "threshold"
        assert alarm["threshold_rule"] == {
            "meter_name": "cpu_util",
            "statistic": "avg",
            "comparison_operator": "gt",
            "threshold": 50,
            "period": 60,
            "evaluation_periods": 1,
            "query": [
                {"field": "metadata.user_metadata.server_group", "op": "eq", "value": cloud.name}
            ],
        }
        assert alarm["description"] == "Scale up when the group is busy"
        assert (alarm["enabled"], alarm["repeat_actions"], alarm["severity"]) == (True, True, "low")
        (url,) = alarm["alarm_actions"]
        assert url.startswith("http://127.0.0.1")
        assert "Signature=" in url
        assert alarm["ok_actions"] == alarm["insufficient_data_actions"] == []
        assert alarm["name"].startswith(f"{cloud.name}-AlarmHigh-")

    def test_the_users_token_and_the_reference_id(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        assert alarm_service.tokens == {"a-user's-token"}
        assert stack["AlarmHigh"].FnGetRefId() == alarm_service.only["alarm_id"]
        assert stack.outputs["Id"].get_value() == alarm_service.only["alarm_id"]

    def test_defaults_are_the_services_own(self, cloud, alarm_service):
        template = with_properties(
            statistic=None, period=None, evaluation_periods=None, comparison_operator=None,
            matching_metadata=None, alarm_actions=None, description=None, threshold="1.5",
        )  # fmt: skip
        cloud.create(template)
        assert alarm_service.only["threshold_rule"] == {
            "meter_name": "cpu_util",
            "statistic": "avg",
            "comparison_operator": "eq",
            "threshold": 1.5,
            "period": 60,
            "evaluation_periods": 1,
            "query": [],
        }

    def test_common_properties_and_query(self, cloud, alarm_service):
        template = with_properties(
            enabled="false",
            repeat_actions="False",
            severity="critical",
            query=[{"field": "resource_id", "op": "ne", "value": "x", "type": "string"}],
            time_constraints=[
                {"name": "day", "start": "0 8 * * *", "duration": "3600", "timezone": "Asia/Taipei"}
            ],
            ok_actions=["https://example.org/ok", ""],
            insufficient_data_actions=["trust+http://example.org/"],
        )
        assert succeeded(cloud.create(template))
        alarm = alarm_service.only
        assert (alarm["enabled"], alarm["repeat_actions"]) == (False, False)
        assert alarm["severity"] == "critical"
        assert alarm["threshold_rule"]["query"][0] == {
            "field": "resource_id", "op": "ne", "value": "x",
        }  # fmt: skip
        assert len(alarm["threshold_rule"]["query"]) == 2
        assert alarm["time_constraints"] == [
            {"name": "day", "start": "0 8 * * *", "duration": 3600, "timezone": "Asia/Taipei"}
        ]
        assert alarm["ok_actions"] == ["https://example.org/ok"]
        assert alarm["insufficient_data_actions"] == ["trust+http://example.org/"]


class TestActions:
    @pytest.mark.parametrize("action", ["ScaleUp", {"Ref": "ScaleUp"}])
    def test_a_policy_by_name_or_reference(self, cloud, alarm_service, action):
        stack = cloud.create(with_properties(alarm_actions=[action]))
        assert succeeded(stack)
        assert alarm_service.only["alarm_actions"] == [stack["ScaleUp"].FnGetAtt("alarm_url")]

    def test_an_aws_policy_by_name(self, cloud, alarm_service):
        template = with_properties(alarm_actions=["ScaleUp"])
        template["Resources"]["ScaleUp"] = {
            "Type": "AWS::AutoScaling::ScalingPolicy",
            "Properties": {
                "AutoScalingGroupName": {"Ref": "Group"},
                "AdjustmentType": "ChangeInCapacity",
                "ScalingAdjustment": "1",
            },
        }
        stack = cloud.create(template)
        assert succeeded(stack)
        assert alarm_service.only["alarm_actions"] == [stack["ScaleUp"].FnGetAtt("AlarmUrl")]

    def test_a_named_policy_exists_before_the_alarm(self, cloud):
        stack = cloud.parse(with_properties(alarm_actions=["ScaleUp"]))
        assert stack["ScaleUp"] in stack.dependencies.requires(stack["AlarmHigh"])

    def test_the_native_signal_with_a_trust(self, cloud):
        joined = {"Fn::Join": ["", ["trust+", {"Fn::GetAtt": ["ScaleUp", "signal_url"]}]]}
        stack = cloud.parse(with_properties(alarm_actions=[joined]))
        stack.validate()

    @pytest.mark.parametrize(
        ("action", "reason"),
        [
            ("ScaleUpp", '"ScaleUpp" is neither a URL nor the name of a resource in this stack'),
            ("Group", '"Group" (OS::Heat::TestResource) has neither attribute AlarmUrl'),
            ("AlarmHigh", '"AlarmHigh" (OS::Metering::Alarm) has neither attribute AlarmUrl'),
            ({"Ref": "Group"}, '"Group" (OS::Heat::TestResource) has neither attribute AlarmUrl'),
            ({"not": "a name"}, "must be a string"),
        ],
    )
    @pytest.mark.parametrize("name", ["alarm_actions", "ok_actions", "insufficient_data_actions"])
    def test_what_is_no_action_is_refused(self, cloud, name, action, reason):
        stack = cloud.parse(with_properties(**{name: [action]}))
        with pytest.raises(
            Exception, match=rf"Resources\.AlarmHigh\.Properties\.{name}"
        ) as refused:
            stack.validate()
        assert reason in str(refused.value)

    def test_a_name_from_a_parameter_is_refused_too(self, cloud):
        template = with_properties(alarm_actions=[{"Ref": "Action"}])
        template["Parameters"]["Action"] = {"Type": "String"}
        with pytest.raises(Exception, match=r"alarm_actions: .* neither a URL nor"):
            cloud.parse(template, {"Action": "nobody"}).validate()


class TestQueues:
    def test_they_are_actions_after_the_others(self, cloud, alarm_service):
        template = with_properties(
            alarm_queues=["scaled-up", "all"], ok_queues=["all"], insufficient_data_queues=["q_1.x"]
        )
        assert succeeded(cloud.create(template))
        alarm = alarm_service.only
        url, *queues = alarm["alarm_actions"]
        assert "Signature=" in url
        assert queues == [
            "trust+zaqar://?queue_name=scaled-up",
            "trust+zaqar://?queue_name=all",
        ]
        assert alarm["ok_actions"] == ["trust+zaqar://?queue_name=all"]
        assert alarm["insufficient_data_actions"] == ["trust+zaqar://?queue_name=q_1.x"]
        assert not [name for name in alarm if name.endswith("_queues")]

    def test_an_update_changes_them_in_place(self, cloud, alarm_service):
        stack = cloud.create(with_properties(ok_queues=["one"], insufficient_data_queues=["gone"]))
        before = alarm_service.only["alarm_id"]
        cloud.update(stack, with_properties(ok_queues=["two"]))
        assert succeeded(stack)
        assert alarm_service.only["alarm_id"] == before
        assert alarm_service.only["ok_actions"] == ["trust+zaqar://?queue_name=two"]
        assert alarm_service.only["insufficient_data_actions"] == []

    def test_what_others_changed_is_seen(self, cloud, alarm_service):
        stack = cloud.create(with_properties(ok_actions=["http://h/"], ok_queues=["one"]))
        alarm = stack["AlarmHigh"]
        assert alarm.get_live_state(alarm.properties) == {}
        alarm_service.only["ok_actions"] = ["http://other/", "trust+zaqar://?queue_name=two"]
        assert alarm.get_live_state(alarm.properties) == {
            "ok_actions": ["http://other/"], "ok_queues": ["two"],
        }  # fmt: skip


WRONG = [
    ("comparison_operator", ">", "not an allowed value"),
    ("threshold", "half", "is not a number|could not convert"),
    ("threshold", "nan", "not a finite number"),
    ("threshold", "inf", "not a finite number"),
    ("threshold", None, "threshold not assigned"),
    ("period", "0", "out of range"),
    ("period", "a minute", "not an integer|invalid literal|could not convert"),
    ("period", "0.5", "not an integer"),
    ("evaluation_periods", "0", "out of range"),
    ("evaluation_periods", "101", "out of range"),
    ("statistic", "mode", "not an allowed value"),
    ("meter_name", "", "out of range"),
    ("meter_name", None, "meter_name not assigned"),
    ("severity", "high", "not an allowed value"),
    ("enabled", "perhaps", "not a valid boolean"),
    ("repeat_actions", "2", "not a valid boolean"),
    ("matching_metadata", "server_group", "not a map"),
    ("alarm_actions", "ScaleUp", "not a list"),
    ("query", [{"field": "flavor", "op": "eq", "value": "x"}], "does not match pattern"),
    ("query", [{"field": "source", "op": "like", "value": "x"}], "not an allowed value"),
    ("time_constraints", [{"name": "x", "start": "noon", "duration": "1"}], "start"),
    ("time_constraints", [{"name": "x", "start": "0 0 0 * * *", "duration": "1"}], "5 fields"),
    ("time_constraints", [{"name": "x", "start": "0 0 30 2 *", "duration": "1"}], "never comes"),
    ("time_constraints", [{"name": "", "start": "0 0 * * *", "duration": "1"}], "out of range"),
    ("description", "x" * 10_001, "out of range"),
    ("query", [{"field": "source", "value": "x"}] * 101, "out of range"),
    ("alarm_actions", ["https:///hook"], "names no host"),
    ("alarm_queues", "queue", "not a list"),
    ("alarm_queues", [""], "out of range"),
    ("ok_queues", ["q" * 65], "out of range"),
    ("insufficient_data_queues", ["a queue"], "does not match pattern"),
    ("ok_queues", ["q&topic=x"], "does not match pattern"),
    ("counter_name", "cpu", "Unknown Property counter_name"),
]


class TestValidation:
    @pytest.mark.parametrize(("name", "value", "reason"), WRONG)
    @pytest.mark.parametrize("strict", [True, False], ids=["stack create", "template validate"])
    def test_names_the_property(self, cloud, name, value, reason, strict):
        stack = cloud.parse(with_properties(**{name: value}), strict_validate=strict)
        with pytest.raises(Exception, match=reason) as refused:
            stack.validate(validate_res_tmpl_only=not strict)
        assert type(refused.value).__name__ == "StackValidationFailed"
        assert "AlarmHigh" in str(refused.value)
        assert name in str(refused.value)
        assert cloud.alarm_service.calls == []

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("datapoints_to_alarm", "9", "9 is more than evaluation_periods"),
            ("clear_threshold", "1000", "must be at most the threshold"),
        ],
    )
    @pytest.mark.parametrize("strict", [True, False], ids=["stack create", "template validate"])
    def test_properties_that_do_not_go_together(self, cloud, name, value, reason, strict):
        literal = {"evaluation_periods": "3", "threshold": 50, "comparison_operator": "gt"}
        stack = cloud.parse(with_properties(**literal, **{name: value}), strict_validate=strict)
        with pytest.raises(Exception, match=f"{name}: {reason}|{name}.*{reason}"):
            stack.validate(validate_res_tmpl_only=not strict)

    def test_a_parameters_value_is_judged_when_it_is_known(self, cloud):
        template = copy.deepcopy(TEMPLATE)
        template["Parameters"]["High"] = {"Type": "String"}
        cloud.parse(template, strict_validate=False).validate(validate_res_tmpl_only=True)
        with pytest.raises(Exception, match="threshold"):
            cloud.parse(template, {"High": "half"}).validate()


class TestUpdate:
    def test_every_property_changes_in_place(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        before = alarm_service.only["alarm_id"]
        alarm_service.only["state"] = "alarm"
        cloud.update(
            stack,
            with_properties(
                meter_name="memory.util",
                statistic="max",
                period="300",
                evaluation_periods="3",
                threshold="80",
                comparison_operator="ge",
                description="Other",
                severity="moderate",
                enabled="false",
                repeat_actions="false",
                ok_actions=["ScaleUp"],
                alarm_actions=None,
                matching_metadata={"tier": "web"},
                query=[{"field": "source", "value": "openstack"}],
                time_constraints=[{"name": "x", "start": "0 0 * * *", "duration": "60"}],
            ),
        )
        assert succeeded(stack)
        alarm = alarm_service.only
        assert alarm["alarm_id"] == before
        assert alarm["threshold_rule"] == {
            "meter_name": "memory.util",
            "statistic": "max",
            "comparison_operator": "ge",
            "threshold": 80,
            "period": 300,
            "evaluation_periods": 3,
            "query": [
                {"field": "source", "op": "eq", "value": "openstack"},
                {"field": "metadata.user_metadata.tier", "op": "eq", "value": "web"},
            ],
        }
        assert alarm["alarm_actions"] == []
        assert alarm["ok_actions"] == [stack["ScaleUp"].FnGetAtt("alarm_url")]
        assert (alarm["enabled"], alarm["repeat_actions"]) == (False, False)
        assert (alarm["description"], alarm["severity"]) == ("Other", "moderate")
        assert alarm["time_constraints"] == [{"name": "x", "start": "0 0 * * *", "duration": 60}]

    def test_an_unchanged_alarm_is_left_alone(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        alarm_service.calls.clear()
        cloud.update(stack, TEMPLATE)
        assert succeeded(stack)
        assert not [call for call in alarm_service.calls if call[0] != "GET"]

    def test_an_alarm_that_is_gone_is_made_anew(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        alarm_service.alarms.clear()
        cloud.update(stack, with_properties(threshold="70"))
        assert succeeded(stack)
        assert alarm_service.only["threshold_rule"]["threshold"] == 70

    def test_a_failed_update_is_put_right_in_place(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        before = alarm_service.only["alarm_id"]
        alarm_service.fault = (500, {"error_message": {"faultstring": "the disk is full"}})
        cloud.update(stack, with_properties(threshold="70"))
        assert stack.status == "FAILED"
        assert "the disk is full" in stack.status_reason
        cloud.update(stack, TEMPLATE)
        assert succeeded(stack)
        assert alarm_service.only["alarm_id"] == before
        assert alarm_service.only["threshold_rule"]["threshold"] == 50
        assert alarm_service.calls[-1][0] == "PUT"


class TestLife:
    def test_suspend_disables_and_resume_enables(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        rule = alarm_service.only["threshold_rule"]
        stack.suspend()
        assert succeeded(stack)
        assert alarm_service.only["enabled"] is False
        assert alarm_service.only["threshold_rule"] == rule
        stack.resume()
        assert succeeded(stack)
        assert alarm_service.only["enabled"] is True

    def test_resume_leaves_an_alarm_off_that_the_template_disables(self, cloud, alarm_service):
        stack = cloud.create(with_properties(enabled="false"))
        stack.suspend()
        stack.resume()
        assert succeeded(stack)
        assert alarm_service.only["enabled"] is False

    def test_check(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        alarm_id = alarm_service.only["alarm_id"]
        stack.check()
        assert succeeded(stack)
        alarm_service.alarms.clear()
        stack.check()
        assert stack.state == ("CHECK", "FAILED")
        assert f"Alarm {alarm_id} not found" in stack["AlarmHigh"].status_reason

    def test_delete(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        stack.delete()
        assert succeeded(stack)
        assert alarm_service.alarms == {}

    def test_delete_what_is_gone(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        alarm_service.alarms.clear()
        stack.delete()
        assert succeeded(stack)

    def test_attributes_are_live(self, cloud, alarm_service):
        stack = cloud.create(TEMPLATE)
        alarm = stack["AlarmHigh"]
        assert alarm.FnGetAtt("state") == "insufficient data"
        alarm_service.only.update(state="alarm", state_reason="60 > 50")
        assert alarm.FnGetAtt("state") == "alarm"
        assert alarm.FnGetAtt("state_reason") == "60 > 50"
        assert alarm.FnGetAtt("show") == alarm_service.only

    def test_live_state(self, cloud, alarm_service):
        stack = cloud.create(with_properties(alarm_actions=["ScaleUp"]))
        alarm = stack["AlarmHigh"]
        assert alarm.get_live_state(alarm.properties) == {}
        alarm_service.only.update(severity="critical")
        alarm_service.only["threshold_rule"].update(threshold=70, query=[])
        assert alarm.get_live_state(alarm.properties) == {
            "severity": "critical", "threshold": 70, "query": [], "matching_metadata": {},
        }  # fmt: skip


class TestFailures:
    def test_the_services_sentence_is_passed_on(self, cloud, alarm_service):
        alarm_service.fault = (400, {"error_message": {"faultstring": "period: too short"}})
        stack = cloud.create(TEMPLATE)
        assert stack.state == ("CREATE", "FAILED")
        assert "answered 400: period: too short" in stack.status_reason

    def test_a_service_that_is_down(self, cloud, alarm_service):
        alarm_service.stop()
        stack = cloud.create(TEMPLATE)
        assert stack.state == ("CREATE", "FAILED")
        assert "The alarm service cannot be reached" in stack.status_reason
        assert alarm_service.url in stack.status_reason

    def test_a_service_that_does_not_answer_is_asked_once(self, cloud, alarm_service):
        """It may have done what it was asked: what it made then goes with the resource."""
        alarm_service.is_silent = True
        stack = cloud.create(TEMPLATE)
        assert stack.state == ("CREATE", "FAILED")
        assert "The alarm service cannot be reached" in stack.status_reason
        assert len(alarm_service.alarms) == 1
        alarm_service.is_silent = False
        cloud.update(stack, TEMPLATE)
        assert stack.state == ("UPDATE", "COMPLETE"), stack.status_reason
        assert set(alarm_service.alarms) == {stack["AlarmHigh"].resource_id}
        stack.delete()
        assert alarm_service.alarms == {}

    def test_a_policys_signature_stays_out_of_the_reason(self, cloud, alarm_service):
        alarm_service.fault = (400, {})
        stack = cloud.create(TEMPLATE)
        assert "Signature" not in stack.status_reason

    @pytest.mark.parametrize("catalogue", [{"service_type": "compute"}, {"region": "Elsewhere"}])
    def test_a_service_that_the_catalogue_lacks(self, cloud, catalogue):
        context = cloud.context(**catalogue)
        with pytest.raises(Exception, match="no endpoint of service type alarming") as refused:
            cloud.parse(TEMPLATE, context=context).validate()
        assert "RegionOne" in str(refused.value)


@pytest.mark.usefixtures("heat")
def test_the_schema_can_be_shown():
    from heat.engine import resources

    known = resources.global_env().get_class("OS::Metering::Alarm")
    assert known.support_status.status == "UNSUPPORTED"
    assert all(schema.update_allowed for schema in known.properties_schema.values())
    shown = {name: dict(schema) for name, schema in known.properties_schema.items()}
    assert json.loads(json.dumps(shown["threshold"], default=dict))
    assert known.resource_to_template("OS::Metering::Alarm", "hot")


def test_the_plugins_need_no_package_of_ours():
    for path in Path(__file__).parents[4].glob("heat_plugins/**/*.py"):
        assert "import thermostat" not in path.read_text()
        assert "from thermostat" not in path.read_text()
