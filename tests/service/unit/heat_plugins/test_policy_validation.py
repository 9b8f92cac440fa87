# SPDX-License-Identifier: Apache-2.0
"""What OS::Metering::ScalingPolicy refuses before anything is made, and which property it names."""

import pytest
from policies import template


class TestValidation:
    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"auto_scaling_group_id": None}, "auto_scaling_group_id"),
            ({"adjustment_type": None}, "adjustment_type"),
            ({"adjustment_type": "double"}, "adjustment_type"),
            ({"scaling_adjustment": "some"}, "scaling_adjustment"),
            ({"scaling_adjustment": "nan"}, "scaling_adjustment"),
            ({"scaling_adjustment": 0.5}, "scaling_adjustment: 0.5 is no whole number"),
            (
                {"scaling_adjustment": None, "step_adjustments": [{"scaling_adjustment": 1.5}]},
                "step_adjustments[0].scaling_adjustment: 1.5 is no whole number",
            ),
            ({"cooldown": "inf"}, "cooldown"),
            ({"scale_in_cooldown": "nan"}, "scale_in_cooldown"),
            ({"scaling_adjustment": None}, "scaling_adjustment or step_adjustments"),
            ({"step_adjustments": [{"scaling_adjustment": 1}]}, "and not both"),
            ({"scaling_adjustment": None, "step_adjustments": []}, "step_adjustments"),
            ({"scaling_adjustment": None, "step_adjustments": [{}]}, "scaling_adjustment"),
            ({"scaling_adjustment": None, "step_adjustments": "x"}, "step_adjustments"),
            (
                {
                    "scaling_adjustment": None,
                    "step_adjustments": [
                        {"lower_bound": 0, "scaling_adjustment": 1},
                        {"lower_bound": 5, "scaling_adjustment": 2},
                    ],
                },
                "step_adjustments[1]: overlaps",
            ),
            ({"cooldown": -1}, "cooldown"),
            ({"scale_out_cooldown": "long"}, "scale_out_cooldown"),
            ({"scale_in_cooldown": -5}, "scale_in_cooldown"),
            ({"min_adjustment_step": 1}, "min_adjustment_step"),
            ({"min_adjustment_step": -1}, "min_adjustment_step"),
            ({"colour": "red"}, "colour"),
        ],
    )
    def test_wrong_values_name_the_property(self, cloud, changes, said):
        from heat.common import exception

        for strict in (True, False):
            stack = cloud.parse(template(**changes))
            stack.strict_validate = strict
            with pytest.raises(exception.StackValidationFailed) as caught:
                stack.validate(validate_res_tmpl_only=not strict)
            assert said in str(caught.value)

    @pytest.mark.parametrize("wanted", [{"get_resource": "group"}, "nothing", "", 5])
    def test_what_is_no_group_of_the_stack(self, cloud, wanted):
        from heat.common import exception

        stack = cloud.parse(template(auto_scaling_group_id=wanted))
        with pytest.raises(exception.StackValidationFailed) as caught:
            stack.validate()
        assert "auto_scaling_group_id: there is no scaling group" in str(caught.value)
