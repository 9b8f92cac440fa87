# SPDX-License-Identifier: Apache-2.0
"""Stacks with alarms in the lab's real Heat."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from openstack.exceptions import NotFoundException


class Tenant:
    """The demo project's stacks and alarms."""

    def __init__(self, cloud: Any, trustee_id: str) -> None:
        self.cloud = cloud
        self.trustee_id = trustee_id
        self.heat = cloud.orchestration
        self._made: list[Any] = []

    def create(
        self, template: Any, *, with_: Mapping[str, Any] | None = None, **parameters: Any
    ) -> Any:
        """Create a stack, with further fields of the request, and give it when it is complete."""
        stack = self.heat.create_stack(
            name=f"heat-alarm-{uuid.uuid4().hex[:6]}",
            template=template,
            parameters=parameters,
            timeout_mins=5,
            **(with_ or {}),
        )
        self._made.append(stack)
        return self.wait(stack, "CREATE_COMPLETE")

    def act(self, stack: Any, action: str) -> Any:
        """Suspend, resume or check a stack."""
        url = f"/stacks/{stack.name}/{stack.id}/actions"
        answer = self.heat.post(url, json={action: None})
        assert answer.status_code < 300, answer.text
        return self.wait(stack, f"{action.upper()}_COMPLETE")

    def update(self, stack: Any, template: Any, **parameters: Any) -> Any:
        """Update a stack and give it when it is complete."""
        self.heat.update_stack(stack, template=template, parameters=parameters)
        return self.wait(stack, "UPDATE_COMPLETE")

    def delete(self, stack: Any) -> None:
        """Delete a stack and return when it is gone."""
        self.heat.delete_stack(stack.id)  # one that is gone is fine
        self.wait(stack, "DELETE_COMPLETE")

    def delete_all(self) -> None:
        """Delete every stack that was made, all at once, and return when they are gone."""
        for stack in self._made:
            self.heat.delete_stack(stack.id)
        for stack in self._made:
            self.wait(stack, "DELETE_COMPLETE")

    def wait(self, stack: Any, status: str, timeout_s: float = 180) -> Any:
        """Give the stack as soon as it has this status."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                now = self.heat.get_stack(stack.id, resolve_outputs=False)
            except NotFoundException:
                assert status == "DELETE_COMPLETE"
                return None
            if now.status == status:
                return self.heat.get_stack(stack.id)
            assert not now.status.endswith("FAILED"), now.status_reason
            assert time.monotonic() < deadline, f"{now.status}, not {status}, in {timeout_s} s"
            time.sleep(0.2)

    def alarms(self, stack: Any) -> dict[str, dict[str, Any]]:
        """The stack's alarms, by the name of their resource."""
        alarms = self._alarming("/v2/alarms").json()
        prefix = f"{stack.name}-"
        return {
            alarm["name"].removeprefix(prefix).rsplit("-", 1)[0]: alarm
            for alarm in alarms
            if alarm["name"].startswith(prefix)
        }

    def alarm(self, alarm_id: str) -> Any:
        """One alarm's answer, whatever its status."""
        return self._alarming(f"/v2/alarms/{alarm_id}")

    def trusts(self) -> set[str]:
        """The ids of the trusts that this user has given to the server."""
        answer = self.cloud.identity.get(
            f"/OS-TRUST/trusts?trustor_user_id={self.cloud.current_user_id}"
        )
        trusts = answer.json()["trusts"]
        return {trust["id"] for trust in trusts if trust["trustee_user_id"] == self.trustee_id}

    def _alarming(self, path: str) -> Any:
        return self.cloud.session.get(
            path, endpoint_filter={"service_type": "alarming"}, raise_exc=False
        )


def outputs(stack: Any) -> dict[str, Any]:
    """Give a stack's outputs by name."""
    return {output["output_key"]: output["output_value"] for output in stack.outputs}
