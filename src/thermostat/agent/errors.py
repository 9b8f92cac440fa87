# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the agent.

AgentError
├── ConfigError       the configuration cannot work; the message names the option
├── PollError         a pollster could not read anything in this cycle
└── PublishError
    ├── BatchRefused  the receiver will never take this batch
    └── Unavailable   the receiver cannot take it now: try again later
"""


class AgentError(Exception):
    """The agent could not do what was asked."""


class ConfigError(AgentError):
    """The configuration cannot work; the message names the option."""


class PollError(AgentError):
    """A pollster could not read anything in this cycle."""


class PublishError(AgentError):
    """A batch was not taken."""


class BatchRefused(PublishError):  # noqa: N818 - it names what happened to the batch
    """The receiver will never take this batch; the message is its reason."""


class Unavailable(PublishError):  # noqa: N818 - it reads as a state
    """The receiver cannot take a batch now."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s
        """Seconds after which the receiver asked to be tried again, or None."""
