# SPDX-License-Identifier: Apache-2.0
"""Each selector of a query gets the project's matcher, whatever stands around it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thermostat.outside.promql import DEEPEST, PromQLError, scoped

MINE = 'project="mine"'


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("up", "up{M}"),
        ("up{}", "up{M}"),
        ('up{job="a"}', 'up{M,job="a"}'),
        ('up{job="a",}', 'up{M,job="a",}'),
        ("{__name__=~'.+'}", '{M,__name__=~".+"}'),
        ('{"metric name"}', '{M,"metric name"}'),
        ('{"metric name", job!~"x|y"}', '{M,"metric name", job!~"x|y"}'),
        ("a:b:c", "a:b:c{M}"),
        # What is there already narrows, and overrides nothing.
        ('up{project="other"}', 'up{M,project="other"}'),
        ('up{project=~".*"}', 'up{M,project=~".*"}'),
        ('up{project!="mine"}', 'up{M,project!="mine"}'),
        ('{"project"="other"}', '{M,"project"="other"}'),
        # Comments go, strings are written in one form.
        ("up # {} \n + down", "up{M} + down{M}"),
        ("up # ' \"\n", "up{M}"),
        ("#{\nup", "up{M}"),
        ("up{a='}'}", 'up{M,a="}"}'),
        ("up{a='\"} or down{'}", r'up{M,a="\"} or down{"}'),
        (r'up{a="\"}, down{b=\""}', r'up{M,a="\"}, down{b=\""}'),
        ("up{a=`\\d#{`}", r'up{M,a="\\d#{"}'),
        (r"up{a='it\'s'}", 'up{M,a="it\'s"}'),
        (r'up{a="\x41\101\u00e9\U0001F600\n"}', r'up{M,a="AAé😀\n"}'),
        # Ranges, subqueries, moments.
        ("rate(up[5m])", "rate(up{M}[5m])"),
        ('rate(up{a="b"}[ 5m ] offset -1h30m)', 'rate(up{M,a="b"}[ 5m ] offset -1h30m)'),
        ("max_over_time(rate(up[5m])[1h:1m])", "max_over_time(rate(up{M}[5m])[1h:1m])"),
        ("max_over_time(up[1h:] @ end())", "max_over_time(up{M}[1h:] @ end())"),
        ("up @ 1609746000.5", "up{M} @ 1609746000.5"),
        ("up offset 5m @ start()", "up{M} offset 5m @ start()"),
        # Lists of labels are no selectors.
        ("sum by (a, project) (up)", "sum by (a, project) (up{M})"),
        ("sum(up) without (a,)", "sum(up{M}) without (a,)"),
        ("Sum BY (a) (up)", "Sum BY (a) (up{M})"),
        ("a * on (x) group_left (y) b", "a{M} * on (x) group_left (y) b{M}"),
        ("a / ignoring (x) group_right () b", "a{M} / ignoring (x) group_right () b{M}"),
        ("a == bool on (x) b", "a{M} == bool on (x) b{M}"),
        ("a and on () vector(1)", "a{M} and on () vector(1)"),
        ("topk(3, up)", "topk(3, up{M})"),
        ('count_values("project", up)', 'count_values("project", up{M})'),
        (
            'label_replace(up, "project", "$1", "a", "(.*)")',
            'label_replace(up{M}, "project", "$1", "a", "(.*)")',
        ),
        # Keywords may be names.
        ("sum", "sum{M}"),
        ("by", "by{M}"),
        ("and and and", "and{M} and and{M}"),
        ("or or unless unless or", "or{M} or unless{M} unless or{M}"),
        ("offset offset 5m", "offset{M} offset 5m"),
        ("start @ start()", "start{M} @ start()"),
        ('without{by="1"}', 'without{M,by="1"}'),
        # Numbers.
        ("1e3 + 0x1F - .5 * Inf", "1e3 + 0x1F - .5 * Inf"),
        ("up > -1", "up{M} > -1"),
        ("-up ^ -(down)", "-up{M} ^ -(down{M})"),
        ("time()", "time()"),
        ("holt_winters(up[5m], 0.5, 0.5)", "holt_winters(up{M}[5m], 0.5, 0.5)"),
    ],
)
def test_scoped(query, expected):
    assert scoped(query, "project", "mine") == expected.replace("M", MINE)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("", "no expression"),
        ("up{", "too early"),
        ("up}", "} where it cannot stand"),
        ("up)", ") where it cannot stand"),
        ("sum(up", "unclosed left parenthesis"),
        ("up down", "down where it cannot stand"),
        ('up{a="b"}{c="d"}', "{ where it cannot stand"),
        ('up{a="b" or c="d"}', "or where it cannot stand"),
        ("up{a=b}", "b where it cannot stand"),
        ('up{a:b="c"}', "a:b where it cannot stand"),
        ("up[5m", "character 3"),
        ("up[5m]", "a range vector"),
        ("(up[5m:1m])", "a range vector"),
        ('"text"', "a string"),
        ("up{a='\n'}", "character 6"),
        ("up{a=`x", "character 6"),
        (r'up{a="\d"}', r"unknown escape, \d"),
        (r'up{a="\xff"}', "byte"),
        (r'up{a="\ud800"}', "no character"),
        (r'up{a="\000"}', "control character"),
        ('up{a=~"["}', "no PromQL"),
        ("up\x00", "character 3"),
        ("été", "character 1"),
        # The parser panics.
        ("rate(up[18446744073709551616])", "cannot be parsed"),
        ("up offset 1e300", ""),
        ("rate(up[99999999999999y])", "duration"),
        ("info(up)", "other series"),
        ("INFO (up)", "other series"),
        ("nosuch(up)", "nosuch"),
        ("up + bool down", "bool"),
        ("on(up)", "no PromQL"),
        ("WITH (x = up) x", "= where it cannot stand"),
        ("(" * (DEEPEST + 1) + "up" + ")" * (DEEPEST + 1), "deep"),
        ("+".join(["up"] * 1000), "words and signs"),
    ],
)
def test_refused(query, reason):
    with pytest.raises(PromQLError) as caught:
        scoped(query, "project", "mine")
    assert reason in str(caught.value)


def test_an_alarm_without_a_project_sees_nothing():
    """`project=""` would match every series that has no such label."""
    with pytest.raises(PromQLError, match="has none"):
        scoped("up", "project", "")


def test_the_project_is_quoted():
    assert scoped("up", "tenant", 'a"b\\c') == r'up{tenant="a\"b\\c"}'


def test_without_a_label_only_the_form_changes():
    assert scoped("up{a='b'} # all\n", None, "mine") == 'up{a="b"}'


def test_the_longest_queries_are_read_at_once():
    longest = "+".join(["up"] * 500)
    began = time.perf_counter()
    assert scoped(longest, "project", "mine").count(MINE) == 500
    with pytest.raises(PromQLError):
        scoped("(" * 10_000, "project", "mine")
    with pytest.raises(PromQLError):
        scoped("#" + "'\"`{" * 2_500, "project", "mine")
    assert time.perf_counter() - began < 5


@given(st.text(alphabet="up sum()[]{}=~!\"'`\\#\n,:+-*<>@5mbyoffsetgrn_", max_size=40))
def test_whatever_is_written_is_scoped_or_refused(query):
    try:
        text = scoped(query, "project", "mine")
    except PromQLError:
        return
    # Written anew once more, with another label, it has as many selectors.
    again = scoped(text, "tenant", "t")
    assert again.count('tenant="t"') == text.count(MINE)
