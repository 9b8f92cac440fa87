# SPDX-License-Identifier: Apache-2.0
"""The Prometheus driver against a real Prometheus, and its scoping against one that has no more.

`both` has the series of two projects, `alone` has those of one: a query that is kept to the project
must get from `both` what it gets from `alone` as it was written.
"""

import json
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator

import bcrypt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oslo_config import cfg

from tests.service import prometheus
from tests.service.broken import broken
from thermostat.alarms.outside import PrometheusRule
from thermostat.outside.base import Answer, InvalidOutsideRule, OutsideUnavailable, Question
from thermostat.outside.drivers.prometheus import GROUP, OPTS, PrometheusStore
from thermostat.outside.promql import PromQLError, scoped

NOW_S = int(time.time()) // 60 * 60
NOW_US = NOW_S * 1_000_000
STEPS = 20
REFUSED = (400, 422)


def points(first: float, slope: float) -> list[prometheus.Point]:
    """A line that ends now."""
    return [(NOW_S - 60 * k, first + slope * (STEPS - k)) for k in range(STEPS, -1, -1)]


def series(project: str, first: float) -> dict[str, list[prometheus.Point]]:
    return {
        f'{name}{{project="{project}",host="{host}"}}': points(first + 10 * number, slope)
        for name, slope in (("load", 1), ("sum", 0), ("by", 2), ("a:b", 3))
        for number, host in enumerate(("x", "y"))
    }


MINE = series("mine", 0)
OTHERS = {
    **series("other", 1_000),
    'load{host="y"}': points(5_000, 0),
    'secret{project="other"}': points(7, 0),
}


@pytest.fixture(scope="module")
def both() -> Iterator[str]:
    with prometheus.serving({**MINE, **OTHERS}) as url:
        yield url


@pytest.fixture(scope="module")
def alone() -> Iterator[str]:
    with prometheus.serving(MINE) as url:
        yield url


def store(endpoint: str | None, **options: object) -> PrometheusStore:
    conf = cfg.ConfigOpts()
    conf.register_opts(OPTS, group=GROUP.name)
    conf([], default_config_files=[], default_config_dirs=[])
    for name, value in {"endpoint": endpoint, **options}.items():
        conf.set_override(name, value, group=GROUP.name)
    return PrometheusStore(conf)


def rule(query: str, operator: str = "gt", periods: int = 1, threshold: float = 15, **more: int):
    return PrometheusRule(
        query=query,
        comparison_operator=operator,
        threshold=threshold,
        evaluation_periods=periods,
        **more,
    )


def answers(client: PrometheusStore, *rules: PrometheusRule, project: str = "mine") -> list[Answer]:
    return list(client.ask([Question(one, project) for one in rules], NOW_US))


class TestAnswers:
    def test_one_per_period_oldest_first(self, both):
        client = store(both)
        assert answers(client, rule("load", periods=3)) == [Answer((28.0, 29.0, 30.0))]
        assert answers(client, rule("load", periods=2, granularity=300)) == [Answer((25.0, 30.0))]

    def test_the_series_that_breaches_most_decides(self, both):
        client = store(both)
        assert answers(
            client, rule("load"), rule("load", "lt"), rule("load", "eq", threshold=21)
        ) == [
            Answer((30.0,)),
            Answer((20.0,)),
            Answer((20.0,)),
        ]

    def test_each_project_sees_its_own(self, both):
        client = store(both)
        [others] = answers(client, rule("load"), project="other")
        assert others.values == (1_030.0,)
        assert answers(client, rule("secret"), rule('load{project="other"}')) == [
            Answer((None,)),
            Answer((None,)),
        ]

    def test_without_scoping_all_is_seen(self, both):
        [answer] = answers(store(both, scope_to_project=False), rule("load"))
        assert answer.values == (5_000.0,)

    def test_scalars_not_a_number_and_infinity(self, both):
        client = store(both)
        scalar, nan, infinite = answers(client, rule("2 * 3"), rule("0 / 0"), rule("1 / 0"))
        assert (scalar.values, nan.values, infinite.values) == ((6.0,), (None,), (float("inf"),))

    def test_what_is_missing_in_the_middle(self, both):
        gone = rule("load and on () (minute() % 2 == 0)", periods=4)
        [answer] = answers(store(both), gone)
        assert [value is None for value in answer.values].count(True) == 2

    def test_a_bad_query_costs_its_own_rule_only(self, both):
        good, many, parse, text = answers(
            store(both),
            rule("sum(load)"),
            rule("load * on (project) load"),
            rule("sum(load"),
            rule('"text"'),
        )
        assert good.values == (50.0,)
        assert "many-to-many" in many.reason
        assert "parenthesis" in parse.reason
        assert "a string" in text.reason

    def test_too_long_an_answer_costs_its_own_rule_only(self, both):
        client = store(both)
        client._max_bytes = 500
        one, long = answers(client, rule("sum(load)"), rule("load", periods=100))
        assert one.values == (50.0,)
        assert "longer than" in long.reason

    def test_one_shape_is_one_request(self, both, monkeypatch):
        client = store(both)
        asked = []
        real = client.range
        monkeypatch.setattr(client, "range", lambda *args: asked.append(args) or real(*args))
        rules = [
            rule("load", operator, threshold=t) for operator in ("gt", "lt") for t in range(500)
        ]
        assert len(answers(client, *rules)) == 1_000
        assert len(asked) == 1
        answers(
            client, *(rule(f"load + {number}") for number in range(20)), rule("load", periods=2)
        )
        assert len(asked) == 22


class TestUnavailable:
    def test_nobody_listens(self):
        with pytest.raises(OutsideUnavailable, match="cannot be connected to"):
            answers(store("http://user:passw0rd@127.0.0.1:9"), rule("up"))

    @pytest.mark.parametrize(("status", "body"), [(500, b"oops"), (200, b"<html>"), (401, b"")])
    def test_it_answers_what_makes_no_sense(self, status, body):
        with broken(status, body) as url, pytest.raises(OutsideUnavailable):
            answers(store(url, bearer_token="s3cret"), rule("up"), rule("down"))

    def test_it_hangs(self):
        with broken(200, b"{}", delay_s=30) as url:
            began = time.monotonic()
            with pytest.raises(OutsideUnavailable, match="in time"):
                answers(store(url, query_timeout=0.2), rule("up"))
            assert time.monotonic() - began < 20

    def test_a_query_that_takes_too_long_is_not_the_stores_fault(self, both):
        heavy = rule("max_over_time(quantile_over_time(0.5, vector(1)[1h:1s])[1d:1s])")
        good = rule("sum(load)")
        client = store(both, query_timeout=1)
        [alone] = answers(client, heavy)
        slow, quick = answers(client, heavy, good)
        assert "time" in alone.reason
        assert "time" in slow.reason
        assert quick.values == (50.0,)

    def test_without_an_endpoint_it_answers_nothing(self):
        assert store(None).types == frozenset()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"),
            *("-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    return directory


@pytest.fixture(scope="module")
def guarded(certificate):
    # The password is "passw0rd"; bcrypt at its lowest cost.
    hashed = bcrypt.hashpw(b"passw0rd", bcrypt.gensalt(4)).decode()
    tls = f"cert_file: {certificate}/cert.pem, key_file: {certificate}/key.pem"
    web = f"tls_server_config: {{{tls}}}\nbasic_auth_users: {{me: {hashed}}}\n"
    with prometheus.serving(MINE, web=web) as url:
        yield url.replace("http", "https")


class TestWhoAsks:
    """TLS and users, as Prometheus' own web configuration has them."""

    def test_with_the_authority_and_the_password(self, guarded, certificate):
        client = store(
            guarded, ca_file=f"{certificate}/cert.pem", username="me", password="passw0rd"
        )
        assert answers(client, rule("sum(load)")) == [Answer((50.0,))]

    def test_with_a_wrong_password(self, guarded, certificate):
        client = store(guarded, ca_file=f"{certificate}/cert.pem", username="me", password="wr0ng")
        with pytest.raises(OutsideUnavailable, match="401") as caught:
            answers(client, rule("sum(load)"))
        assert "wr0ng" not in str(caught.value)

    def test_with_an_unknown_authority(self, guarded):
        with pytest.raises(OutsideUnavailable, match="TLS"):
            answers(store(guarded, username="me", password="passw0rd"), rule("sum(load)"))


class TestScoped:
    @pytest.mark.parametrize(
        "query",
        [
            "load",
            "load # {project='other'}",
            'load{project=~".*"}',
            'load{project!="mine"}',
            'load{project="other"}',
            'load{project=""}',
            '{__name__=~".+"}',
            '{__name__=~"lo.*|secret"}',
            "load{host='x'} or load{host='}'} or secret",
            'load or {__name__="load", project="other"}',
            "sum by (project) ({__name__=~'.+'})",
            "sum(load) without (host) or sum",
            "by + on (project, host) by",
            "sum + sum",
            "max_over_time(rate(load[5m])[10m:1m])",
            "load offset 5m",
            f"load @ {NOW_S - 120}",
            "load @ end()",
            'label_replace(load, "project", "other", "project", ".*")',
            "load * on (project) group_left () sum by (project) (load)",
            "load * ignoring (host) group_left (host) secret",
            "count(absent(secret))",
            "count(count by (project) ({host=~`.+`}))",
            "a:b",
            "load == bool 20",
            "load and on () vector(1)",
            "topk(1, load)",
            'count_values("project", load)',
            "scalar(sum(load)) + vector(1)",
            "quantile by (project) (0.5, load)",
            "-load",
            "load{host=`x`} atan2 on (host) by",
        ],
    )
    def test_gets_what_the_project_alone_would(self, both, alone, query):
        judge(both, alone, query, scoped(query, "project", "mine"))

    @settings(
        max_examples=40,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def test_whatever_the_query(self, both, alone, data):
        query = data.draw(expressions())
        try:
            text = scoped(query, "project", "mine")
        except PromQLError:
            return
        judge(both, alone, query, text)

    @settings(
        max_examples=200,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    @given(
        st.lists(
            st.sampled_from(
                PIECES := (
                    "load",
                    "sum",
                    "by",
                    "on",
                    "or",
                    "and",
                    "offset",
                    "bool",
                    "group_left",
                    "ignoring",
                    "rate",
                    "{",
                    "}",
                    "(",
                    ")",
                    "[5m]",
                    "[5m:1m]",
                    ",",
                    "+",
                    "-",
                    "==",
                    "@",
                    "start()",
                    "1",
                    "60",
                    "5m",
                    'project="other"',
                    "project=~'.*'",
                    '"',
                    "'",
                    "`",
                    "\\",
                    "#",
                    "\n",
                    " ",
                    "__name__=~'.+'",
                    '"load"',
                    "host",
                    "=",
                    "=~",
                    "secret",
                    "a:b",
                    ":",
                    "inf",
                    "\\x22",
                    "é",
                )
            ),
            max_size=9,
        )
    )
    def test_whatever_the_pieces(self, both, alone, pieces):
        """Text that is seldom PromQL: nothing of another project's is seen through it."""
        query = " ".join(pieces)
        try:
            text = scoped(query, "project", "mine")
        except PromQLError:
            return
        judge(both, alone, query, text)

    @pytest.mark.parametrize(
        "query", ["load{", "load[5m]", '"x"', "info(load)", 'x{a="b" or c="d"}']
    )
    def test_refused_at_creation(self, query):
        with pytest.raises(InvalidOutsideRule) as caught:
            store("http://127.0.0.1:9").check_rule(rule(query), "mine")
        assert caught.value.field == "query"


def expressions() -> st.SearchStrategy[str]:
    """PromQL of all kinds over the names that there are."""
    matcher = st.sampled_from(
        [
            *(
                'host="x"',
                "host=~'x|y'",
                "host!=`x`",
                'project="other"',
                'project=~".*"',
                'host="}"',
            ),
            *("project!='mine'", 'project=""', 'host=~"\\\\w"', '__name__=~".+"'),
        ]
    )
    space = st.sampled_from(["", " ", "\n", " # load{}\n", "\t"])
    name = st.sampled_from(["load", "sum", "by", "a:b", "secret", "nosuch"])
    braces = st.lists(matcher, min_size=1, max_size=2).map(lambda all_: "{" + ",".join(all_) + "}")
    selector = st.one_of(
        name,
        st.builds(lambda *parts: "".join(parts), name, space, braces),
        braces.map(lambda text: text[:-1] + ', __name__=~".+"}'),
    )
    moved = st.builds(
        lambda *parts: " ".join(parts),
        selector,
        st.sampled_from(["", "offset 2m", "offset -1m", "@ end()", f"@ {NOW_S - 180}"]),
    )
    ranged = st.builds(
        lambda function, inner, length: f"{function}({inner}{length})",
        st.sampled_from(["rate", "max_over_time", "last_over_time", "count_over_time"]),
        selector,
        st.sampled_from(["[5m]", "[10m:2m]", "[4m] offset 1m", "[ 3m : ]"]),
    )

    def grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        labels = st.sampled_from(["host", "project", "host, project", ""])
        return st.one_of(
            st.builds(
                lambda function, by, of, one: f"{function} {by} ({of}) ({one})",
                st.sampled_from(["sum", "max", "count", "group", "MIN"]),
                st.sampled_from(["by", "without"]),
                labels,
                inner,
            ),
            st.builds(lambda one, of: f"avg({one}) by ({of})", inner, labels),
            st.builds(
                lambda left, sign, right: f"({left}) {sign} ({right})",
                inner,
                st.sampled_from(
                    [
                        *("+", "/", "or", "and", "unless", "> bool", "* on (host)", "==", "^"),
                        *(
                            "* on (project, host) group_left ()",
                            "- ignoring (host)",
                            "or on (project)",
                        ),
                    ]
                ),
                inner,
            ),
            st.builds(lambda one, gap: f"abs({gap}{one})", inner, space),
            st.builds(lambda one: f"-({one})", inner),
            st.builds(lambda one: f"max_over_time(({one})[5m:1m])", inner),
            st.builds(lambda one: f'label_replace({one}, "project", "x", "host", "(.*)")', inner),
            st.builds(lambda one: f"count(absent({one}))", inner),
            st.builds(lambda one: f"topk(1, {one})", inner),
        )

    return st.recursive(
        st.one_of(moved, ranged, st.just("1"), st.just("vector(3)")), grown, max_leaves=4
    )


def judge(both: str, alone: str, query: str, text: str) -> None:
    """The other project's series change nothing; and it means what was written.

    Prometheus refuses selectors that match everything; with the project's matcher they do not.
    """
    kept = result(both, text)
    assert kept == result(alone, text)
    assert result(alone, query) in (kept, "refused")


def result(url: str, query: str) -> object:
    """What Prometheus says now, in an order of its own; that it refuses, but not why."""
    body = urllib.parse.urlencode({"query": query, "time": NOW_S}).encode()
    try:
        with urllib.request.urlopen(f"{url}/api/v1/query", body, timeout=30) as answer:
            data = json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        return "refused" if error.code in REFUSED else error
    if data["resultType"] != "vector":
        return data
    return sorted(
        (sorted(one["metric"].items()), _comparable(one["value"][1])) for one in data["result"]
    )


def _comparable(value: str) -> str:
    return value if value in ("NaN", "+Inf", "-Inf") else f"{float(value):.9g}"
