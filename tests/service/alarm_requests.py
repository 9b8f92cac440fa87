# SPDX-License-Identifier: Apache-2.0
"""Requests about alarms, and what is true of every refusal."""

RULE = {"meter_name": "cpu_util", "threshold": 70.0, "comparison_operator": "gt"}
ALARM = {"name": "busy", "type": "threshold", "threshold_rule": RULE}
HOOK = "https://heat.example/v1/signal/policy?Signature=s3cret"
TRUSTED = "trust+https://heat.example/v1/policies/up/signal"
ADMIN = {"roles": "admin", "project": "p-admin", "user": "root"}


def with_(**changes):
    return {**ALARM, **changes}


def with_rule(**changes):
    return with_(threshold_rule={**RULE, **changes})


def fault(answer):
    message = answer.json["error_message"]
    assert set(message) == {"debuginfo", "faultcode", "faultstring"}
    assert message["debuginfo"] is None
    assert message["faultcode"] == ("Client" if answer.status_code < 500 else "Server")
    return message["faultstring"]
