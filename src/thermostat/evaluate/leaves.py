# SPDX-License-Identifier: Apache-2.0
"""The leaves of composite rules, whether live windows or outside stores give their datapoints.

A leaf is known by the number of its window, or by the complement of that of its slot among the
polled rules: so the two never meet.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from thermostat.evaluate.polled import Polled
from thermostat.evaluate.windows import Windows


class Leaves:
    """Not thread-safe."""

    def __init__(self, windows: Windows, polled: Polled) -> None:
        self._windows = windows
        self._polled = polled

    def states(self, leaves: NDArray[np.int64]) -> NDArray[np.int8]:
        """Give the states of leaves, in the same shape."""
        if not len(self._polled) or (leaves >= 0).all():
            return self._windows.states(leaves)
        found = np.zeros(leaves.shape, np.int8)
        is_live = leaves >= 0
        found[is_live] = self._windows.states(leaves[is_live])
        found[~is_live] = self._polled.state[~leaves[~is_live]]
        return found

    def are_known(self, leaves: Sequence[int]) -> bool:
        """Tell whether every outside leaf has been answered once, or has a state from before."""
        return not any(leaf < 0 and self._polled.fresh[~leaf] for leaf in leaves)

    def freeze(self, leaves: Iterable[int]) -> None:
        """Judge these no further until they thaw."""
        for leaf in leaves:
            if leaf < 0:
                self._polled.frozen[~leaf] = True
            else:
                self._windows.freeze([leaf])

    def thaw(self, leaves: Iterable[int]) -> None:
        """Go on with these."""
        for leaf in leaves:
            if leaf < 0:
                self._polled.frozen[~leaf] = False
            else:
                self._windows.thaw([leaf])

    def wake_at_each_step(self, leaves: Iterable[int], states: int) -> None:
        """Let these call their alarm each time that they are judged in these states."""
        for leaf in leaves:
            if leaf < 0:
                self._polled.repeats[~leaf] = states
            else:
                self._windows.wake_at_each_step([leaf], states)

    def close(self, leaf: int) -> None:
        """Judge this one no longer."""
        if leaf < 0:
            self._polled.close(~leaf)
        else:
            self._windows.close(leaf)
