# SPDX-License-Identifier: Apache-2.0
"""What the API's resources work with; the server puts it together."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from thermostat.api.enforcing import QuickEnforcer
from thermostat.notify.egress import Egress
from thermostat.store.base import SampleStore

if TYPE_CHECKING:  # what is only held here need not be loaded here
    from thermostat.db.alarms import AlarmRepository
    from thermostat.db.deliveries import Deliveries
    from thermostat.db.outbox import Outbox
    from thermostat.db.retired_trusts import RetiredTrusts
    from thermostat.db.signing import WebhookSecrets
    from thermostat.db.silences import SilenceRepository
    from thermostat.ingest import Ingest
    from thermostat.outside.base import OutsideStore
    from thermostat.trusts import Trusts

Check = Callable[[], str | None]
"""A health check: gives the reason why something does not work, or None; it may also raise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything behind the API."""

    store: SampleStore
    ingest: "Ingest"
    alarms: "AlarmRepository"
    outbox: "Outbox"
    silences: "SilenceRepository"
    deliveries: "Deliveries"
    webhook_secrets: "WebhookSecrets"
    enforcer: QuickEnforcer
    trusts: "Trusts"
    retired_trusts: "RetiredTrusts"
    schemes: frozenset[str]
    """The URL schemes of actions that a transport is installed for."""
    alarm_changed: Callable[[str], None]
    """Called with the alarm's id after each committed change of a definition or state."""
    egress: Egress = field(default_factory=Egress)
    """The rules for the targets of actions."""
    max_actions: int = -1
    """How many actions an alarm may have for each state; 0 or less: no limit."""
    overload: Callable[[], float | None] = lambda: None
    """Gives the seconds after which senders of samples may try again, or None: send on."""
    checks: Mapping[str, Check] = field(default_factory=dict)
    """What `/healthcheck` asks, by the name of the part."""
    outside: Mapping[str, "OutsideStore"] = field(default_factory=dict)
    """The outside stores that rules are checked with, by the rules' types."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    """What `/metrics` shows."""
    allowed_lag_s: float = 15.0
    """Seconds that a silent member of a group is waited for."""
    retention_hours: int | None = None
    """How long samples are kept; None: for ever."""
    clock: Callable[[], float] = time.time
    """Seconds since the epoch."""

    def now_us(self) -> int:
        """Give the time in microseconds since the epoch, UTC."""
        return int(self.clock() * 1_000_000)
