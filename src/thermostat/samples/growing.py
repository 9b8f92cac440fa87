# SPDX-License-Identifier: Apache-2.0
"""Columns that grow."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)


def with_length(array: NDArray[_T], length: int, fill: float = 0) -> NDArray[_T]:
    """Give the array with at least this length and room to grow; new elements have `fill`."""
    if length <= len(array):
        return array
    larger = np.full(max(length, len(array) + len(array) // 4, 64), fill, array.dtype)
    larger[: len(array)] = array
    return larger
