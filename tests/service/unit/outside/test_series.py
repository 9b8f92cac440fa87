# SPDX-License-Identifier: Apache-2.0
"""Of several series the value that breaches most decides, at each instant for itself."""

import math

import numpy as np
import pytest

from thermostat.alarms.query import Operator
from thermostat.outside.drivers._series import BadAnswer, matrix, most_breaching, refusal

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("operator", "expected"),
    [
        ("gt", (9.0, 7.0, None, INF)),
        ("ge", (9.0, 7.0, None, INF)),
        ("lt", (1.0, 7.0, None, 3.0)),
        ("le", (1.0, 7.0, None, 3.0)),
        ("eq", (5.0, 7.0, None, 3.0)),
        ("ne", (1.0, 7.0, None, INF)),
    ],
)
def test_most_breaching(operator, expected):
    values = np.array([[1.0, NAN, NAN, 3.0], [9.0, 7.0, NAN, INF], [5.0, NAN, NAN, NAN]])
    assert most_breaching(values, Operator(operator), 5.0) == expected


def test_no_series():
    assert most_breaching(np.empty((0, 3)), Operator.GT, 1.0) == (None, None, None)


def test_matrix_places_values_at_their_instants():
    body = (
        b'{"status":"success","data":{"resultType":"matrix","result":['
        b'{"metric":{"a":"b"},"values":[[100,"1"],[220,"+Inf"]]},'
        b'{"metric":{},"values":[[160,"NaN"]]},'
        b'{"metric":{},"histograms":[[160,{"count":"1"}]]}]},"warnings":["w"]}'
    )
    values = matrix(body, 100, 60, 3)
    assert np.array_equal(values, [[1, NAN, INF], [NAN, NAN, NAN], [NAN, NAN, NAN]], equal_nan=True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b"[]",
        b'{"status":"success"}',
        b'{"status":"success","data":{"resultType":"vector","result":[]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,2]]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1,"x"]]}]}}',
        b'{"status":"success","data":{"resultType":"matrix","result":[{"values":[[1e999,"1"]]}]}}',
    ],
)
def test_what_is_no_matrix(body):
    with pytest.raises(BadAnswer):
        matrix(body, 0, 60, 1)


def test_refusal():
    assert refusal(b'{"status":"error","errorType":"bad_data","error":"e"}') == ("bad_data", "e")
    assert refusal(b"<html>") == ("", "")
