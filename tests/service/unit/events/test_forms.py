# SPDX-License-Identifier: Apache-2.0
"""From messages to events: Ceilometer's, and services' own."""

import pytest

from tests.service.event_support import document
from thermostat.events.forms import Notifications, documents_of
from thermostat.events.model import UnusableEvent, event_of

NOVA = {
    "ctxt": {"project_id": "p-admin", "user_id": "u-admin", "request_id": "req-1",
             "auth_token": "t0k3n"},
    "publisher_id": "compute.host1",
    "event_type": "compute.instance.update",
    "payload": {
        "tenant_id": "p1", "user_id": "u1", "instance_id": "i1", "state": "error",
        "memory_mb": 512, "disk": 0.5, "is_new": True, "node": None,
        "metadata": {"metering.role": "web"}, "tags": ["a", {"b": "c"}],
    },
    "metadata": {"message_id": "m1", "timestamp": "2026-11-25 03:00:00.123456"},
}  # fmt: skip


def notification(**changes):
    return NOVA | changes


def traits(message, hidden=()):
    return dict(Notifications(hidden).event(message, "info").traits)


class TestCeilometer:
    def test_an_event_has_its_traits_and_project(self):
        told = event_of(document(project_id="p1", state="error"))
        assert (told.message_id, told.event_type, told.project_id) == (
            "m1",
            "compute.instance.update",
            "p1",
        )
        assert told.traits == {"project_id": "p1", "state": "error"}
        assert told.generated_us == 1_795_575_600_123_456

    @pytest.mark.parametrize("name", ["project_id", "tenant_id"])
    def test_the_last_of_both_names_is_the_project_as_in_aodh(self, name):
        told = document(project_id="p1")
        told["traits"].append([name, 1, "p2"])
        assert event_of(told).project_id == "p2"

    def test_one_without_a_project_concerns_nobody(self):
        assert event_of(document(project_id=None)).project_id == ""

    @pytest.mark.parametrize("payload", [None, "x", 5, [None], [[]], [document(), 5]])
    def test_other_payloads_are_unusable(self, payload):
        with pytest.raises(UnusableEvent):
            documents_of(payload)

    def test_one_event_and_a_list_are_the_same(self):
        assert documents_of(document()) == documents_of([document()]) == [document()]

    @pytest.mark.parametrize("field", ["message_id", "event_type"])
    @pytest.mark.parametrize("value", [None, "", 5, "x" * 256, "a\x00b", "\ud800", "a\nb"])
    def test_names_are_needed_and_short(self, field, value):
        with pytest.raises(UnusableEvent, match=field):
            event_of(document() | {field: value})

    @pytest.mark.parametrize("trait", [None, [], ["x", 1], [5, 1, "x"], "abc"])
    def test_broken_traits_are_left_out(self, trait):
        told = document(state="error")
        told["traits"].append(trait)
        assert event_of(told).traits == {"project_id": "p1", "state": "error"}

    @pytest.mark.parametrize("wrong", [{"a": 1}, "abc", 5])
    def test_traits_must_be_a_list(self, wrong):
        with pytest.raises(UnusableEvent, match="traits"):
            event_of(document() | {"traits": wrong})

    @pytest.mark.parametrize("generated", [None, 5, "soon", ""])
    def test_it_need_not_say_when(self, generated):
        assert event_of(document() | {"generated": generated}).generated_us is None


class TestServices:
    def test_the_payload_becomes_traits(self):
        assert traits(NOVA) == {
            "tenant_id": "p1",
            "project_id": "p1",
            "user_id": "u1",
            "request_id": "req-1",
            "service": "compute.host1",
            "instance_id": "i1",
            "state": "error",
            "memory_mb": 512,
            "disk": 0.5,
            "is_new": True,
            "metadata.metering.role": "web",
            "tags.0": "a",
            "tags.1.b": "c",
        }

    def test_it_has_ceilometers_form(self):
        told = Notifications().event(NOVA, "error")
        assert told.project_id == "p1"
        assert {key: value for key, value in told.document.items() if key != "traits"} == {
            "message_id": "m1",
            "event_type": "compute.instance.update",
            "generated": "2026-11-25 03:00:00.123456",
            "priority": "error",
            "publisher_id": "compute.host1",
        }
        assert ["memory_mb", 2, 512] in told.document["traits"]
        assert ["disk", 3, 0.5] in told.document["traits"]
        assert ["is_new", 1, True] in told.document["traits"]
        assert told.generated_us == 1_795_575_600_123_456

    def test_versioned_objects_are_unwrapped(self):
        inner = {"nova_object.name": "FlavorPayload", "nova_object.data": {"vcpus": 2}}
        payload = {
            "nova_object.name": "InstanceUpdatePayload",
            "nova_object.version": "1.8",
            "nova_object.data": {"uuid": "i1", "tenant_id": "p1", "flavor": inner},
        }
        told = traits(notification(payload=payload))
        assert (told["uuid"], told["flavor.vcpus"]) == ("i1", 2)
        assert not any("nova_object" in name for name in told)

    @pytest.mark.parametrize(
        ("event_type", "payload", "project"),
        [
            ("x", {"project_id": "p1"}, "p1"),
            ("x", {"port": {"id": "1", "tenant_id": "p1", "project_id": "p1"}}, "p1"),
            ("identity.user.updated", {"initiator": {"project_id": "p1"}}, "p1"),
            ("image.delete", {"owner": "p1"}, "p1"),
            ("trunk.delete", {"owner": "p1"}, "p-admin"),
            ("x", {"a": {"tenant_id": "p1"}, "b": {"tenant_id": "p2"}}, "p-admin"),
            ("x", {"tenant_id": 5}, "p-admin"),
            ("x", [], "p-admin"),
        ],
    )
    def test_whom_it_concerns(self, event_type, payload, project):
        message = notification(event_type=event_type, payload=payload)
        assert Notifications().event(message, "info").project_id == project

    def test_one_without_any_project_concerns_nobody(self):
        message = notification(ctxt={}, payload={"host": "h"})
        assert Notifications().event(message, "info").project_id == ""

    def test_tokens_and_hidden_traits_are_nowhere(self):
        payload = {"adminPass": "s3cret", "a": {"Token": "s3cret", "name": "n"}}
        told = Notifications(["*adminpass*", "*token*"]).event(
            notification(payload=payload), "info"
        )
        assert "s3cret" not in str(told)
        assert "t0k3n" not in str(told)
        assert told.traits["a.name"] == "n"

    def test_huge_payloads_are_cut(self):
        wide = {f"k{number}": number for number in range(5000)}
        deep = inner = {}
        for _ in range(50):
            inner["x"] = {}
            inner = inner["x"]
        inner["y"] = 1
        assert len(traits(notification(payload=wide))) == 1000 + 5
        assert len(traits(notification(payload=deep))) == 5

    @pytest.mark.parametrize("field", ["event_type", "metadata"])
    def test_without_a_name_it_is_unusable(self, field):
        with pytest.raises(UnusableEvent):
            Notifications().event(notification(**{field: None}), "info")
