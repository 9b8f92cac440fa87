# SPDX-License-Identifier: Apache-2.0
"""Users' regular expressions: RE2's, which take time in proportion to the text, whatever they are.

They are sought anywhere in a text; `^` and `$` tie them to its ends.
"""

from collections.abc import Callable

import re2  # type: ignore[import-untyped]  # it has no types

MAX_PATTERN = 1_000
"""The longest regular expression, in characters."""
PATTERN_BYTES = 1 << 20
"""The memory that RE2 may take for one expression."""


def finder(pattern: str) -> Callable[[str], bool]:
    """Give what tells whether the expression is found in a text. Raises ValueError with why not."""
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"is longer than {MAX_PATTERN} characters")
    options = re2.Options()
    options.max_mem = PATTERN_BYTES
    options.never_capture = True
    options.log_errors = False
    try:
        compiled = re2.compile(pattern.encode(), options)
    except re2.error as error:
        reason = str(error.args[0], "utf-8", "replace") if error.args else "it is invalid"
        raise ValueError(f"is not a regular expression that RE2 takes: {reason}") from error
    return lambda text: compiled.search(text.encode()) is not None
