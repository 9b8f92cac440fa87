# SPDX-License-Identifier: Apache-2.0
"""Room for attempts, shared so that no one who uses much of it leaves nothing to others.

Each may have as many under way as are still free, so the first one gets half, the second a quarter;
several that want more than there is get the same. Switches share their buffers by this rule, which
is called dynamic thresholds.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Use:
    """What one user has under way in a room."""

    busy: int = 0
    failing: int = 0
    """How many of them go where the last attempt failed."""


@dataclass(slots=True)
class Room:
    """Place for so many attempts."""

    most: int
    share: int = 1
    """A user may have so many times as many under way as are free."""
    busy: int = 0

    def admits(self, use: Use, *, is_failing: bool) -> bool:
        """Tell if this user may begin one more; what fails gets a smaller share."""
        free = self.most - self.busy
        return use.busy < self.share * free and not (is_failing and 2 * use.failing >= free)

    def enter(self, use: Use, *, is_failing: bool) -> None:
        """Take in one more of this user."""
        self.busy += 1
        use.busy += 1
        use.failing += is_failing

    def leave(self, use: Use, *, is_failing: bool) -> None:
        """Take out one of this user, which was taken in so."""
        self.busy -= 1
        use.busy -= 1
        use.failing -= is_failing
