# SPDX-License-Identifier: Apache-2.0
"""The tables. Times are microseconds since the epoch, UTC; lists and rules are JSON text."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    false,
)

# SQLite numbers rows by itself only in a column of type INTEGER.
_COUNTER = BigInteger().with_variant(Integer, "sqlite")

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ALARM = Table(
    "alarm",
    METADATA,
    Column("alarm_id", String(36), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("severity", String(16), nullable=False),
    Column("type", String(64), nullable=False),
    Column("rule", Text, nullable=False),
    Column("ok_actions", Text, nullable=False),
    Column("alarm_actions", Text, nullable=False),
    Column("insufficient_data_actions", Text, nullable=False),
    Column("repeat_actions", Boolean, nullable=False),
    Column("time_constraints", Text, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("project_id", String(255), nullable=False),
    Column("trust_id", String(64)),
    Column("state", String(32), nullable=False),
    Column("state_reason", Text, nullable=False),
    Column("state_timestamp_us", BigInteger, nullable=False),
    Column("timestamp_us", BigInteger, nullable=False),
    Column("evaluate_timestamp_us", BigInteger),
    Column("revision", Integer, nullable=False),
    Column("judged_us", BigInteger),
    Column("rule_states", Text, nullable=False, server_default="[]"),
    Column("suppressed", Boolean, nullable=False, server_default=false()),
    Index(None, "project_id", "timestamp_us", "alarm_id"),
    Index(None, "timestamp_us", "alarm_id"),
)

# How many alarms each project and each user has (`db/quotas.py`), and the projects' quotas.
ALARM_OWNER = Table(
    "alarm_owner",
    METADATA,
    Column("kind", String(8), primary_key=True),
    Column("owner_id", String(255), primary_key=True),
    Column("alarms", Integer, nullable=False),
    Column("alarm_quota", Integer),
)

# How often each alarm was found in each state, where that is counted (`db/results.py`).
ALARM_RESULT = Table(
    "alarm_result",
    METADATA,
    Column("alarm_id", String(36), primary_key=True),
    Column("state", String(32), primary_key=True),
    Column("found", BigInteger, nullable=False),
)

HISTORY = Table(
    "alarm_history",
    METADATA,
    Column("position", _COUNTER, primary_key=True, autoincrement=True),
    Column("event_id", String(36), nullable=False, unique=True),
    Column("alarm_id", String(36), nullable=False),
    Column("type", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    Column("user_id", String(255)),
    Column("project_id", String(255)),
    Column("on_behalf_of", String(255), nullable=False),
    Column("severity", String(16), nullable=False),
    Column("timestamp_us", BigInteger, nullable=False),
    Index(None, "alarm_id", "position"),
    Index(None, "on_behalf_of", "timestamp_us"),
    Index(None, "timestamp_us"),
)

# A notification stands by itself: it is delivered even if its alarm is edited or deleted meanwhile.
NOTIFICATION = Table(
    "notification",
    METADATA,
    Column("notification_id", String(36), primary_key=True),
    Column("alarm_id", String(36), nullable=False),
    Column("project_id", String(255), nullable=False),
    Column("action", Text, nullable=False),
    Column("target", String(255), nullable=False),
    Column("trust_id", String(64)),
    Column("request_id", String(64), nullable=False),
    Column("body", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Column("created_us", BigInteger, nullable=False),
    Column("next_attempt_us", BigInteger, nullable=False),
    Column("finished_us", BigInteger),
    Column("scheme", String(32), nullable=False, server_default=""),
    # Since when its deadline counts, where that is later than its creation.
    Column("queued_us", BigInteger),
    # What is sent in one request, by the first of it that is due.
    Column("group_id", String(36)),
    Column("group_place", Integer),
    Index(None, "status", "next_attempt_us"),
    Index(None, "alarm_id", "status", "created_us"),
    Index(None, "trust_id"),
    Index(None, "group_id"),
    Index(None, "project_id", "created_us", "notification_id"),
)

# Groups of notifications to which more may come (`db/grouping.py`).
OPEN_GROUP = Table(
    "open_group",
    METADATA,
    Column("group_id", String(36), primary_key=True),
    Column("project_id", String(255), nullable=False),
    Column("action_key", String(64), nullable=False),
    Column("closes_us", BigInteger, nullable=False),
    Column("members", Integer, nullable=False),
    Index(None, "project_id", "action_key", unique=True),
    Index(None, "closes_us"),
)

# What the notifications of a project are signed with; while both are there, by both.
WEBHOOK_SECRET = Table(
    "webhook_secret",
    METADATA,
    Column("project_id", String(255), primary_key=True),
    Column("secret", String(64), nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("earlier_secret", String(64)),
)

# Trusts that no alarm uses any more; they are deleted once no pending notification needs them.
RETIRED_TRUST = Table(
    "retired_trust",
    METADATA,
    Column("trust_id", String(64), primary_key=True),
    Column("retired_us", BigInteger, nullable=False),
)

# Trusts that are being made, by the moment at which they lapse, which no other trust has.
TRUST_INTENT = Table(
    "trust_intent",
    METADATA,
    Column("expires_at", String(32), primary_key=True),
    Column("created_us", BigInteger, nullable=False),
)

# Trusts of alarms that Keystone refuses: expired, revoked, or lacking a role.
TRUST_FAULT = Table(
    "trust_fault",
    METADATA,
    Column("trust_id", String(64), primary_key=True),
    Column("reason", Text, nullable=False),
    Column("since_us", BigInteger, nullable=False),
)

# Spans of time in which no action of the alarms that they match is called (`db/silences.py`).
SILENCE = Table(
    "silence",
    METADATA,
    Column("silence_id", String(36), primary_key=True),
    Column("project_id", String(255)),
    Column("matcher", Text, nullable=False),
    Column("from_us", BigInteger, nullable=False),
    Column("until_us", BigInteger, nullable=False),
    Column("user_id", String(255), nullable=False),
    Column("comment", Text, nullable=False),
    Column("created_us", BigInteger, nullable=False),
    Column("updated_us", BigInteger, nullable=False),
    Index(None, "until_us"),
    Index(None, "project_id"),
)

# Alarms whose newest state a silence keeps from being told (`db/withholding.py`).
WITHHELD = Table(
    "withheld",
    METADATA,
    Column("alarm_id", String(36), primary_key=True),
    Column("silence_id", String(36), nullable=False),
    # The state that was told last; none where that is not known.
    Column("told_state", String(32)),
    Column("state_timestamp_us", BigInteger, nullable=False),
    Column("reason_data", Text, nullable=False),
    # When to see whether it is still to be withheld.
    Column("recheck_us", BigInteger, nullable=False),
    Index(None, "recheck_us"),
    Index(None, "silence_id"),
)

# How far the evaluator has come: one row.
EVALUATOR = Table(
    "evaluator",
    METADATA,
    Column("evaluator_id", Integer, primary_key=True, autoincrement=False),
    Column("judged_us", BigInteger),
)
