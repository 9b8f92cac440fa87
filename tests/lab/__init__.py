# SPDX-License-Identifier: Apache-2.0
"""A real cloud on one machine: Keystone, Heat, Placement, Glance, Nova and libvirt, loopback only.

`python -m tests.lab up` starts it, `Lab` is the same for tests and the demonstration.
"""

from tests.lab.errors import LabError
from tests.lab.lab import Lab
from tests.lab.layout import DEFAULT_STATE_DIR

__all__ = ["DEFAULT_STATE_DIR", "Lab", "LabError"]
