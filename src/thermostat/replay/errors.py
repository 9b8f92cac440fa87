# SPDX-License-Identifier: Apache-2.0
"""The errors of a replay.

ReplayError
├── RunError         the replay cannot be made
├── DocumentError    a YAML or JSON file does not say what it should
├── BadLine          a line of samples cannot be read
└── NotationError    a text is not in the compact notation
"""


class ReplayError(ValueError):
    """Something that was given cannot be used; the message names it and says why."""


class RunError(ReplayError):
    """The replay cannot be made; the message says why, and what to do."""


class DocumentError(ReplayError):
    """A file does not say what it should; the message names file, line, field and reason."""


class BadLine(ReplayError):  # noqa: N818 - it names what was read
    """A line cannot be read; the message names file, line, field and reason."""


class NotationError(ReplayError):
    """A text is not in the notation; the message says which part and why."""
