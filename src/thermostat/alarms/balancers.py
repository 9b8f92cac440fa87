# SPDX-License-Identifier: Apache-2.0
"""Rules about the health of a load balancer's members."""

from typing import Annotated

import msgspec
from msgspec import Meta

_Id = Annotated[str, Meta(min_length=1, max_length=255, pattern="^[^\\x00-\\x1f\\x7f]*$")]
"""An id as the service that it comes from has them; control characters are in none."""


class LoadBalancerRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Watch the members of one of Octavia's pools that belong to a scaling group of Heat's."""

    pool_id: _Id
    """The pool of the alarm's project whose members are watched."""
    stack_id: _Id
    """The stack that holds the group, and is updated to replace members."""
    autoscaling_group_id: _Id
    """The physical id of the scaling group whose members are replaced."""
