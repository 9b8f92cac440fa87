# SPDX-License-Identifier: Apache-2.0
"""What of an event is stored."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.service.event_support import document, event
from thermostat.events.keeping import MAX_BYTES, kept

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**80), 2**80)
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.sampled_from(["long" * 2000, "\ud800" * 300]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_a_usual_event_is_kept_as_it_is():
    told = event(state="error")
    assert kept(told.document) == {
        name: document(state="error")[name]
        for name in ("message_id", "event_type", "generated", "traits")
    }


def test_a_large_one_is_cut_and_says_so():
    told = event(**{f"t{number}": "x" * 1000 for number in range(100)})
    short = kept(told.document)
    assert short["truncated"] is True
    assert (short["message_id"], short["event_type"]) == ("m1", "compute.instance.update")
    assert short["traits"][0] == ["project_id", 1, "p1"]
    assert short["traits"][1] == ["t0", 1, "x" * 255]
    assert 30 < len(short["traits"]) < 101
    assert len(msgspec.json.encode(short)) <= MAX_BYTES


@settings(max_examples=50)
@given(traits=st.lists(JSON, max_size=10), extra=st.dictionaries(st.text(max_size=9), JSON))
def test_whatever_comes_can_be_written(traits, extra):
    told = extra | document() | {"traits": [["x", 1, value] for value in traits]}
    written = msgspec.json.encode(kept(told))
    assert len(written) <= MAX_BYTES + 2_000 * len(extra)  # fields of Ceilometer's own are few
    assert msgspec.json.decode(written)["message_id"] == "m1"
