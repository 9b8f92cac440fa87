# SPDX-License-Identifier: Apache-2.0
"""`/v2/samples` and `/v2/meters/{meter}/statistics` from outside, over a real store on disk."""

from types import SimpleNamespace

import falcon
import msgspec
import pytest
from falcon import testing
from oslo_config import cfg
from prometheus_client import CollectorRegistry

from thermostat.api import errors, policies
from thermostat.api.context import ContextMiddleware
from thermostat.api.samples import Samples
from thermostat.api.statistics import Statistics
from thermostat.ingest import Ingest
from thermostat.samples.model import Sample, SampleType
from thermostat.samples.wire import COLUMNAR_TYPE, encode_columnar
from thermostat.store.base import StoreBusy, StoreFull
from thermostat.store.embedded import EmbeddedStore

S = 1_000_000
NOW_US = 1_800_000_000 * S  # 2027-01-15T08:00:00
BAD = "Invalid input for field/attribute "


def who(role: str, project: str) -> dict[str, str]:
    """Give the headers that keystonemiddleware sets."""
    return {
        "X-Identity-Status": "Confirmed",
        "X-Roles": role,
        "X-Project-Id": project,
        "X-User-Id": "u",
    }


SENDER = who("service", "service")
READER = who("reader", "p1")
ADMIN = who("admin", "cloud")


@pytest.fixture
def store(tmp_path):
    opened = EmbeddedStore(tmp_path, min_free_mb=0, clock=lambda: NOW_US)
    yield opened
    opened.close()


@pytest.fixture
def api(store):
    conf = cfg.ConfigOpts()
    conf([], project="thermostat", default_config_files=[])
    services = SimpleNamespace(
        store=store,
        ingest=Ingest(store, lambda _batch: None, max_body_mb=1, clock=lambda: NOW_US),
        enforcer=policies.load_enforcer(conf),
        overload=lambda: None,
        registry=CollectorRegistry(),
    )
    app = falcon.App(middleware=[ContextMiddleware()])
    errors.install(app)
    app.add_route("/v2/samples", Samples(services))
    app.add_route("/v2/meters/{meter}/statistics", Statistics(services))
    client = testing.TestClient(app)
    client.registry = services.registry
    return client


def wire(at_s: float = 10, volume: object = 50.0, **fields) -> dict:
    """Give a sample in the form of Ceilometer's HTTP publisher."""
    return {
        "name": "cpu_util",
        "type": "gauge",
        "unit": "%",
        "volume": volume,
        "user_id": "u1",
        "project_id": "p1",
        "resource_id": "vm-1",
        "timestamp": iso(at_s),
        "resource_metadata": {"user_metadata": {"server_group": "web"}},
        "source": "openstack",
        **fields,
    }


def iso(at_s: float) -> str:
    return f"2027-01-15T08:{int(at_s) // 60:02d}:{at_s % 60:09.6f}"


def post(api, *samples: dict, headers=SENDER, **options):
    return api.simulate_post("/v2/samples", json=list(samples), headers=headers, **options)


def get(api, headers=READER, meter="cpu_util", **params):
    return api.simulate_get(
        f"/v2/meters/{meter}/statistics", params=params, params_csv=False, headers=headers
    )


def q(*terms: tuple[str, str, str]) -> dict[str, list[str]]:
    fields, operators, values = zip(*terms, strict=True)
    return {"q.field": list(fields), "q.op": list(operators), "q.value": list(values)}


def fault(answer) -> str:
    message = answer.json["error_message"]
    assert message["debuginfo"] is None
    assert message["faultcode"] == ("Client" if answer.status_code < 500 else "Server")
    return message["faultstring"]


def nested(levels: int) -> dict:
    inner: dict = {}
    for _ in range(levels - 1):
        inner = {"a": inner}
    return inner


class TestSamples:
    def test_an_array(self, api):
        answer = post(api, wire(10), wire(20))
        assert (answer.status_code, answer.json) == (201, {"accepted": 2})
        assert get(api).json[0]["count"] == 2
        labels = {"media_type": "application/json"}
        assert api.registry.get_sample_value("thermostat_samples_accepted_total", labels) == 2

    def test_a_single_object(self, api):
        answer = api.simulate_post("/v2/samples", json=wire(), headers=SENDER)
        assert (answer.status_code, answer.json) == (201, {"accepted": 1})

    def test_the_form_of_the_message_bus(self, api):
        sample = wire()
        for name in ("name", "type", "unit", "volume"):
            sample[f"counter_{name}"] = sample.pop(name)
        assert post(api, sample).json == {"accepted": 1}
        assert get(api).json[0]["avg"] == 50

    def test_the_columnar_form(self, api):
        samples = [
            Sample(
                name="cpu_util",
                type=SampleType.GAUGE,
                unit="%",
                volume=float(number),
                resource_id=f"vm-{number}",
                project_id="p1",
                timestamp_us=NOW_US,
            )
            for number in range(3)
        ]
        answer = api.simulate_post(
            "/v2/samples",
            body=encode_columnar(samples),
            headers={**SENDER, "Content-Type": COLUMNAR_TYPE},
        )
        assert (answer.status_code, answer.json) == (201, {"accepted": 3})
        assert get(api).json[0]["sum"] == 3

    def test_a_media_type_with_parameters(self, api):
        headers = {**SENDER, "Content-Type": "Application/JSON; charset=utf-8"}
        answer = api.simulate_post(
            "/v2/samples", body=msgspec.json.encode([wire()]), headers=headers
        )
        assert answer.status_code == 201

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"volume": "much"}, "volume"),
            ({"type": "sideways"}, "type"),
            ({"timestamp": "yesterday"}, "timestamp"),
            ({"timestamp": "2027-01-17T08:00:00"}, "timestamp"),
            ({"resource_id": "x" * 256}, "resource_id"),
            ({"resource_id": None}, "resource_id"),
            ({"resource_id": "x\0"}, "resource_id"),
            ({"resource_metadata": {"a": {"b\0": 1}}}, "resource_metadata"),
        ],
    )
    def test_one_malformed_sample_refuses_the_whole_batch(self, api, change, field):
        answer = post(api, wire(10), wire(20, **change), wire(30))
        assert answer.status_code == 400
        assert fault(answer).startswith(f"sample 1: {field}: ")
        assert get(api).json == []

    def test_a_nul_is_refused_beside_known_series_and_each_time(self, api):
        post(api, wire(10))
        for _ in range(2):
            answer = post(api, wire(20), wire(20, resource_metadata={"a": "\0"}))
            assert answer.status_code == 400
            assert fault(answer) == "sample 1: resource_metadata: Has a NUL character"
        assert get(api).json[0]["count"] == 1

    def test_a_body_that_is_not_json(self, api):
        answer = api.simulate_post("/v2/samples", body=b"[{", headers=SENDER)
        assert answer.status_code == 400
        assert fault(answer)

    def test_another_media_type(self, api):
        headers = {**SENDER, "Content-Type": "text/csv"}
        answer = api.simulate_post("/v2/samples", body=b"1,2", headers=headers)
        assert answer.status_code == 415
        assert "text/csv" in fault(answer)

    def test_a_body_that_is_too_long(self, api):
        answer = api.simulate_post("/v2/samples", body=b" " * 1_000_001, headers=SENDER)
        assert answer.status_code == 413
        assert "1000000 bytes" in fault(answer)

    @pytest.mark.parametrize(
        ("role", "status"), [("service", 201), ("admin", 201), ("member", 403), ("reader", 403)]
    )
    def test_who_may_send(self, api, role, status):
        assert post(api, wire(), headers=who(role, "p1")).status_code == status

    def test_a_full_store(self, api, store, monkeypatch):
        def full(_batch):
            raise StoreFull("no room on the disk")

        monkeypatch.setattr(store, "append", full)
        answer = post(api, wire())
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert "no room on the disk" in fault(answer)

    def test_too_many_samples_that_wait(self, api, store, monkeypatch):
        def busy(_batch):
            raise StoreBusy("2000000 samples wait to be written already")

        monkeypatch.setattr(store, "append", busy)
        answer = post(api, wire())
        assert answer.status_code == 429
        assert int(answer.headers["Retry-After"]) > 0
        assert "2000000 samples wait" in fault(answer)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"timestamp": "1969-12-31T23:59:59"}, "timestamp: Before 1970"),
            ({"timestamp": "2036-01-15T08:00:00"}, "timestamp: More than one day in the future"),
            ({"timestamp": ""}, "timestamp: Invalid RFC3339"),
            ({"timestamp": "nat"}, "timestamp: Invalid RFC3339"),
            ({"resource_id": "x" * 10_000}, "resource_id: Expected `str` of length <= 255"),
            ({"resource_metadata": nested(100)}, "resource_metadata: More than 20 levels"),
        ],
    )
    def test_bad_input_is_named_and_nothing_is_stored(self, api, change, reason):
        answer = post(api, wire(10), wire(20, **change))
        assert answer.status_code == 400
        assert fault(answer).startswith(f"sample 1: {reason}")
        assert get(api).json == []
        assert post(api, wire(10)).status_code == 201

    @pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
    def test_what_is_no_finite_number(self, api, number):
        body = msgspec.json.encode([wire()]).replace(b"50.0", number.encode())
        answer = api.simulate_post("/v2/samples", body=body, headers=SENDER)
        assert answer.status_code == 400
        assert get(api).json == []


class TestStatistics:
    @pytest.fixture(autouse=True)
    def samples(self, api):
        answer = post(
            api,
            wire(10, 10),
            wire(20.5, 20),
            wire(60, 60),
            wire(70, 70),
            wire(
                30,
                90,
                resource_id="vm-2",
                resource_metadata={"user_metadata": {"server_group": "db"}},
            ),
            wire(30, 1000, resource_id="vm-9", project_id="p2"),
        )
        assert answer.status_code == 201

    def test_the_shape(self, api):
        first, second = get(api, period=60).json
        assert first == {
            "count": 4,
            "min": 10,
            "max": 90,
            "avg": 45,
            "sum": 180,
            "unit": "%",
            "period": 60,
            "period_start": "2027-01-15T08:00:00",
            "period_end": "2027-01-15T08:01:00",
            "duration": 50,
            "duration_start": "2027-01-15T08:00:10",
            "duration_end": "2027-01-15T08:01:00",
            "groupby": None,
        }
        assert second["period_start"] == "2027-01-15T08:01:00"

    def test_fractions_of_seconds(self, api):
        [one] = get(api, **q(("timestamp", "gt", iso(10)), ("timestamp", "lt", iso(30)))).json
        assert one["duration_start"] == "2027-01-15T08:00:20.500000"
        assert one["duration"] == 0

    @pytest.mark.parametrize("period", [{}, {"period": "0"}])
    def test_without_a_period(self, api, period):
        [one] = get(api, **period).json
        assert (one["period"], one["count"], one["duration"]) == (0, 5, 60)

    def test_conditions(self, api):
        group = "metadata.user_metadata.server_group"
        [one] = get(api, **q((group, "eq", "web"), ("resource_id", "ne", "vm-7"))).json
        assert one["count"] == 4
        [one] = get(api, **q(("metadata.metering.server_group", "eq", "db"))).json
        assert one["avg"] == 90

    def test_an_operator_that_is_left_out_is_eq(self, api):
        [one] = get(api, **{"q.field": "resource_id", "q.value": "vm-2"}).json
        assert one["count"] == 1

    @pytest.mark.parametrize(
        ("op", "start", "counted"), [("gt", 10, 4), ("ge", 10, 5), ("gt", 9.999999, 5)]
    )
    def test_the_start(self, api, op, start, counted):
        [one] = get(api, **q(("timestamp", op, iso(start)))).json
        assert one["count"] == counted

    @pytest.mark.parametrize(("op", "counted"), [("lt", 3), ("le", 4)])
    def test_the_end(self, api, op, counted):
        [one] = get(api, **q(("timestamp", op, iso(60)))).json
        assert one["count"] == counted

    def test_the_narrowest_span_counts(self, api):
        span = q(*[("timestamp", "gt", iso(at)) for at in (0, 20.5, 10)])
        assert get(api, **span).json[0]["count"] == 3

    @pytest.mark.parametrize("zone", ["Z", "+00:00"])
    def test_an_offset_in_a_timestamp(self, api, zone):
        assert get(api, **q(("timestamp", "gt", iso(60) + zone))).json[0]["count"] == 1
        shifted = "2027-01-15T10:01:00+02:00"
        assert get(api, **q(("timestamp", "gt", shifted))).json[0]["count"] == 1

    def test_groups(self, api):
        found = get(api, groupby=["resource_id", "user_id"]).json
        assert [(one["groupby"], one["count"]) for one in found] == [
            ({"resource_id": "vm-1", "user_id": "u1"}, 4),
            ({"resource_id": "vm-2", "user_id": "u1"}, 1),
        ]

    def test_chosen_functions(self, api):
        chosen = {"aggregate.func": ["stddev", "last"]}
        [one] = get(api, **chosen, **q(("timestamp", "gt", iso(30)))).json
        assert one["aggregate"] == {"stddev": 5, "last": 70}
        assert (one["stddev"], one["last"]) == (5, 70)
        assert "avg" not in one

    def test_a_limit_gives_the_oldest(self, api):
        [one] = get(api, period=60, limit=1).json
        assert one["period_start"] == "2027-01-15T08:00:00"

    def test_an_unknown_meter_has_none(self, api):
        answer = get(api, meter="no.such")
        assert (answer.status_code, answer.json) == (200, [])

    @pytest.mark.parametrize(
        ("params", "message"),
        [
            ({"period": "-1"}, "period: must be a whole number"),
            ({"period": "x"}, "period: must be a whole number"),
            ({"limit": "0"}, "limit: must be a whole number"),
            ({"groupby": "colour"}, "groupby: 'colour' is unknown"),
            ({"aggregate.func": "median"}, "aggregate.func: 'median' is not one of count"),
            ({"aggregate.func": "avg", "aggregate.param": "x"}, "aggregate.param: no function"),
            (q(("timestamp", "gt", "noon")), "timestamp: 'noon' is not a date"),
            (q(("timestamp", "eq", iso(10))), "timestamp: cannot be compared with eq"),
            (q(("colour", "eq", "red")), "q.field: query field 'colour' is unknown"),
            (q(("resource_id", "like", "x")), "q.op: 'like' is not one of"),
            ({"q.field": "resource_id"}, "q: q.field, q.op and q.value"),
            (q(("project_id", "ne", "p1")), "project_id: cannot be compared with ne"),
            (q(("all_projects", "eq", "maybe")), "all_projects: 'maybe' is neither"),
            (
                q(("project_id", "eq", "p1"), ("project_id", "eq", "p2")),
                "project_id: may be given only once",
            ),
        ],
    )
    def test_bad_parameters(self, api, params, message):
        answer = get(api, **params)
        assert answer.status_code == 400
        assert fault(answer).startswith(BAD + message)


class TestProjects:
    @pytest.fixture(autouse=True)
    def samples(self, api):
        post(api, wire(10, 1), wire(10, 2, resource_id="vm-9", project_id="p2"))

    def sums(self, answer) -> list[float]:
        assert answer.status_code == 200, answer.text
        return [one["sum"] for one in answer.json]

    def test_a_reader_sees_its_own_project(self, api):
        assert self.sums(get(api)) == [1]
        assert self.sums(get(api, **q(("project_id", "eq", "p1")))) == [1]
        assert self.sums(get(api, **q(("all_projects", "eq", "false")))) == [1]

    @pytest.mark.parametrize("scope", [("project_id", "eq", "p2"), ("all_projects", "eq", "true")])
    def test_a_reader_cannot_name_another_project(self, api, scope):
        answer = get(api, **q(scope))
        assert answer.status_code == 403
        assert "telemetry:get_statistics:all_projects" in fault(answer)

    def test_another_project_is_not_even_seen_by_its_resource(self, api):
        assert self.sums(get(api, **q(("resource_id", "eq", "vm-9")))) == []

    def test_an_administrator_names_a_project_or_asks_for_all(self, api):
        assert self.sums(get(api, ADMIN)) == []
        assert self.sums(get(api, ADMIN, **q(("project_id", "eq", "p2")))) == [2]
        assert self.sums(get(api, ADMIN, **q(("all_projects", "eq", "true")))) == [3]
        both = q(("all_projects", "eq", "true"), ("project_id", "eq", "p1"))
        assert self.sums(get(api, ADMIN, **both)) == [1]

    def test_a_caller_without_a_project_is_refused(self, api):
        headers = who("reader", "p1")
        del headers["X-Project-Id"]
        assert get(api, headers).status_code == 403
