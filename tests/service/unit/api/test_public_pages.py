# SPDX-License-Identifier: Apache-2.0
import re

import pytest
from falcon.testing import TestClient

from tests.service.alarm_requests import ALARM, fault
from tests.service.alarm_support import make_transition
from thermostat.api.app import create_api
from thermostat.degraded import Degraded


class TestErrors:
    def test_unknown_path(self, api):
        answer = api("GET", "/v2/nothing")
        assert answer.status_code == 404
        fault(answer)

    def test_method(self, api):
        answer = api("PATCH", "/v2/alarms")
        assert answer.status_code == 405
        assert "GET" in answer.headers["allow"]
        fault(answer)

    def test_unexpected_ones_keep_their_secrets(self, api, monkeypatch, caplog):
        monkeypatch.setattr("thermostat.db.alarms.note", _fail)
        answer = api("POST", "/v2/alarms", ALARM)
        assert answer.status_code == 500
        assert "internal detail" not in answer.text
        assert "internal detail" in caplog.text
        assert "Traceback" in caplog.text
        fault(answer)

    def test_without_the_alarm_database(self, api, engine):
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE alarm RENAME TO gone")
        answer = api("GET", "/v2/alarms")
        assert answer.status_code == 503
        assert "database" in fault(answer)
        # aodhclient makes a TypeError of a 503 that has this header.
        assert "retry-after" not in answer.headers


def _fail(*_args, **_named):
    raise RuntimeError("internal detail")


class TestPublicPages:
    def test_discovery(self, api):
        (version,) = api("GET", "/").json["versions"]["values"]
        assert (version["id"], version["status"]) == ("v2", "stable")
        assert version["links"][0]["href"].endswith("/v2")
        assert [kind["base"] for kind in version["media-types"]] == [
            "application/json",
            "application/xml",
        ]

    def test_health(self, api):
        answer = api("GET", "/healthcheck")
        assert (answer.status_code, answer.json) == (200, {"status": "ok", "reasons": {}})

    def test_health_gives_reasons(self, services, engine):
        def broken():
            raise OSError("/secret/path")

        services = _replaced(services, checks={"store": broken, "evaluator": lambda: "stopped"})
        with engine.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE alarm RENAME TO gone")
        answer = TestClient(create_api(services)).simulate_get("/healthcheck")
        assert answer.status_code == 503
        assert answer.json == {
            "status": "failing",
            "reasons": {
                "database": "the alarm database cannot be used",
                "store": "failed (OSError)",
                "evaluator": "stopped",
            },
        }

    @pytest.mark.parametrize(
        ("store", "status", "word"), [(None, 200, "degraded"), ("gone", 503, "failing")]
    )
    def test_who_is_only_degraded_is_up(self, services, store, status, word):
        services = _replaced(
            services, checks={"store": lambda: store, "events": lambda: Degraded("no broker")}
        )
        answer = TestClient(create_api(services)).simulate_get("/healthcheck")
        assert (answer.status_code, answer.json["status"]) == (status, word)
        assert answer.json["reasons"]["events"] == "no broker"

    def test_metrics_have_no_tenant_data(self, api, services, alarm):
        services.alarms.record(make_transition(services.alarms.find(alarm["alarm_id"])))
        answer = api("GET", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        text = answer.text
        assert 'thermostat_alarms{state="alarm"} 1.0' in text
        assert 'thermostat_outbox_notifications{status="pending"} 1.0' in text
        for line in (
            'thermostat_notification_queue_length{scheme="https"} 1.0',
            'thermostat_notification_queue_length{scheme="http"} 0.0',
            'thermostat_notification_dead_letters{scheme="https"} 0.0',
            'thermostat_notification_drops{scheme="https"} 0.0',
        ):
            assert line in text
        (age,) = re.findall(r'queue_oldest_seconds{scheme="https"} (\S+)', text)
        assert float(age) >= 0
        assert (
            'thermostat_http_requests_total{method="POST",route="/v2/alarms",status="201"} 1.0'
            in text
        )
        for secret in (alarm["alarm_id"], "p1", "alice", "busy", "s3cret", "heat.example"):
            assert secret not in text


def _replaced(services, **changes):
    from dataclasses import replace

    from prometheus_client import CollectorRegistry

    return replace(services, registry=CollectorRegistry(), **changes)
