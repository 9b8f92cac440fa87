# SPDX-License-Identifier: Apache-2.0
"""The server: its parts, put together, started in order and stopped in reverse."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from oslo_config import cfg
from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from sqlalchemy import Engine as DatabaseEngine

from thermostat.api.actions import without_trusts
from thermostat.api.app import create_app
from thermostat.api.auth import has_no_authentication
from thermostat.api.policies import load_enforcer
from thermostat.api.quotas import usual_limits
from thermostat.api.serve import HttpServer
from thermostat.api.services import Check, Services
from thermostat.balancers.judge import BalancerJudge
from thermostat.balancers.octavia import OctaviaBalancers
from thermostat.db.alarms import AlarmRepository
from thermostat.db.deliveries import Deliveries
from thermostat.db.engine import open_engine
from thermostat.db.grouping import Groups
from thermostat.db.outbox import Outbox
from thermostat.db.retired_trusts import RetiredTrusts
from thermostat.db.schema import check_schema
from thermostat.db.signing import WebhookSecrets
from thermostat.db.silences import SilenceRepository
from thermostat.db.withholding import Withheld
from thermostat.evaluate.engine import Engine
from thermostat.evaluate.loop import Evaluator
from thermostat.evaluate.polls import Poll
from thermostat.events.listener import create_listener
from thermostat.ingest import Ingest
from thermostat.notify.egress import Egress
from thermostat.notify.grouper import Grouper
from thermostat.notify.housekeeper import Housekeeper
from thermostat.notify.loading import load_transports
from thermostat.notify.silencer import Silencer
from thermostat.notify.worker import Worker
from thermostat.outside import opts
from thermostat.outside.base import Answer
from thermostat.outside.loading import load_outside_stores, stores_by_type
from thermostat.outside.poller import Poller
from thermostat.store.loading import load_store
from thermostat.trusts import Trusts

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class Part(Protocol):
    """A part of the server that runs in threads of its own."""

    def start(self) -> None:
        """Begin."""

    def stop(self) -> None:
        """End after what is under way."""

    def check(self) -> str | None:
        """Give the reason why it does not work, or None."""

    def alarm_changed(self, alarm_id: str) -> None:
        """Take in that an alarm was created, edited, judged or deleted, and return soon."""


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is in the alarm database."""

    alarms: AlarmRepository
    outbox: Outbox
    deliveries: Deliveries
    silences: SilenceRepository
    webhook_secrets: WebhookSecrets
    """One for all, so that what replaces a secret is known to who signs."""
    retired_trusts: RetiredTrusts

    @classmethod
    def of(cls, database: DatabaseEngine, conf: cfg.ConfigOpts) -> "_Kept":
        secrets = WebhookSecrets(database)
        return cls(
            alarms=AlarmRepository(
                database,
                usual_limits(conf),
                counts_results=conf.enable_evaluation_results_metrics,
            ),
            outbox=Outbox(database, secrets),
            deliveries=Deliveries(database),
            silences=SilenceRepository(database, conf.api.project_silence_quota),
            webhook_secrets=secrets,
            retired_trusts=RetiredTrusts(database),
        )


class Server:
    """One process: API, sample store, evaluator, notifier."""

    def __init__(
        self,
        conf: cfg.ConfigOpts,
        *,
        application: Callable[[Services, cfg.ConfigOpts], "WSGIApplication"] = create_app,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Open the databases and bind the socket.

        Alarms are judged and notifications sent by `clock`, in seconds since the epoch; the sample
        store, which keeps hours on a disk, goes by the wall clock.

        Raises SchemaError, SQLAlchemyError, StoreError, or OSError for the socket.
        """
        database = open_engine(conf.database.connection)
        check_schema(database)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        kept, trusts = _Kept.of(database, conf), Trusts(conf)
        transports, outside = load_transports(conf), load_outside_stores(conf)
        self._store = load_store(conf)
        self._notifier = Worker(kept.outbox, transports, conf, clock=clock, registry=registry)
        notify = self._notifier.wake
        self._grouper = Grouper(Groups(database), notify=notify, clock=clock, registry=registry)
        self._silencer = Silencer(
            kept.silences, Withheld(database), conf, notify=notify, clock=clock, registry=registry
        )
        self._housekeeper = Housekeeper(
            kept.alarms,
            kept.outbox,
            kept.deliveries,
            trusts=trusts,
            retired=kept.retired_trusts,
            conf=conf,
            clock=clock,
        )
        self._poller = Poller(outside, self._answered, registry)
        self._evaluator = Evaluator(
            Engine(
                self._store, conf.evaluator.allowed_lag, stores_by_type(outside), opts.pace(conf)
            ),
            kept.alarms,
            notify=notify,
            ask=self._poller.ask,
            clock=clock,
            registry=registry,
            queue_samples=conf.evaluator.queue_samples,
        )
        self._judges = self._make_judges(conf, kept.alarms, clock, registry)
        self._store.subscribe(self._evaluator.described)
        ingest = Ingest(
            self._store,
            self._evaluator.stored,
            max_body_mb=conf.ingest.max_body_mb,
            clock=lambda: int(clock() * 1_000_000),
        )
        services = Services(
            store=self._store,
            ingest=ingest,
            alarms=kept.alarms,
            outbox=kept.outbox,
            silences=kept.silences,
            deliveries=kept.deliveries,
            webhook_secrets=kept.webhook_secrets,
            enforcer=load_enforcer(conf),
            trusts=trusts,
            retired_trusts=kept.retired_trusts,
            schemes=without_trusts(transports)
            if has_no_authentication(conf)
            else frozenset(transports),
            egress=Egress.of(conf),
            max_actions=conf.api.alarm_max_actions,
            alarm_changed=self._alarm_changed,
            overload=self._evaluator.overload,
            checks=self._checks(),
            outside={kind: store for store in outside.values() for kind in store.types},
            registry=registry,
            allowed_lag_s=conf.evaluator.allowed_lag,
            retention_hours=conf.store.retention_hours,
            clock=clock,
        )
        self._http = HttpServer(application(services, conf), conf, ingest.max_body_bytes)

    def _make_judges(
        self,
        conf: cfg.ConfigOpts,
        alarms: AlarmRepository,
        clock: Callable[[], float],
        registry: CollectorRegistry,
    ) -> Mapping[str, Part]:
        """Give the parts that judge alarms, by name: events are listened to where that is set."""
        events = create_listener(
            conf,
            alarms,
            notify=self._notifier.wake,
            alarm_changed=self._alarm_changed,
            clock=clock,
            registry=registry,
        )
        balancers = BalancerJudge(
            OctaviaBalancers(conf),
            alarms,
            interval_s=conf.octavia.interval,
            grace_s=conf.octavia.member_creation_time,
            notify=self._notifier.wake,
            alarm_changed=self._alarm_changed,
            clock=clock,
            registry=registry,
        )
        judges: dict[str, Part | None] = {
            "evaluator": self._evaluator,
            "events": events,
            "balancers": balancers,
        }
        return {name: judge for name, judge in judges.items() if judge is not None}

    def _checks(self) -> Mapping[str, Check]:
        return {
            "store": self._store.check,
            "notifier": self._notifier.check,
            "silencer": self._silencer.check,
            "grouper": self._grouper.check,
            **{name: judge.check for name, judge in self._judges.items()},
        }

    @property
    def address(self) -> str:
        """Where the API listens, as host:port."""
        return self._http.address

    def start(self) -> None:
        """Rebuild the windows from the store, then judge, notify and serve."""
        self._notifier.start()
        self._silencer.start()
        self._grouper.start()
        self._housekeeper.start()
        self._poller.start()
        for judge in self._judges.values():
            judge.start()
        self._http.start()

    def stop(self) -> None:
        """Finish what is under way; what is not delivered stays in the outbox."""
        self._http.stop()
        for judge in reversed(list(self._judges.values())):
            judge.stop()
        self._poller.stop()
        self._housekeeper.stop()
        self._silencer.stop()
        self._grouper.stop()
        self._notifier.stop()
        self._store.close()

    def _answered(self, poll: Poll, answers: Sequence[Answer] | str) -> None:
        self._evaluator.answered(poll, answers)

    def _alarm_changed(self, alarm_id: str) -> None:
        for judge in self._judges.values():
            judge.alarm_changed(alarm_id)
        self._housekeeper.wake()
