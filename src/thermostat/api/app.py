# SPDX-License-Identifier: Apache-2.0
"""The WSGI application: the resources, their errors, and the token check in front."""

from typing import TYPE_CHECKING, Any

import falcon
from oslo_config.cfg import ConfigOpts
from oslo_middleware.http_proxy_to_wsgi import HTTPProxyToWSGI

from thermostat.api import errors
from thermostat.api.alarms import AlarmResource, AlarmsResource, HistoryResource, StateResource
from thermostat.api.auth import has_no_authentication, protect
from thermostat.api.capabilities import CapabilitiesResource
from thermostat.api.context import ContextMiddleware
from thermostat.api.description import DescriptionResource
from thermostat.api.heads import answering_head
from thermostat.api.health import HealthResource
from thermostat.api.metrics import DatabaseMetrics, MetricsResource, RequestMetrics
from thermostat.api.noauth import NotLoopback
from thermostat.api.notifications import (
    AlarmNotificationsResource,
    NotificationResource,
    NotificationsResource,
    RetryResource,
    WebhookSecretResource,
)
from thermostat.api.preview import PreviewResource
from thermostat.api.publishers import SAMPLE_PATHS
from thermostat.api.query import search_resources
from thermostat.api.quotas import ProjectQuotasResource, QuotasResource
from thermostat.api.request_ids import with_request_id
from thermostat.api.results import ResultsResource
from thermostat.api.root import RootResource, VersionResource
from thermostat.api.samples import Samples
from thermostat.api.services import Services
from thermostat.api.silences import SilenceResource, SilencesResource
from thermostat.api.statistics import Statistics

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Services", "create_api", "create_app"]


def create_app(services: Services, conf: ConfigOpts) -> "WSGIApplication":
    """Give the whole application, with authentication as `[keystone_authtoken]` says."""
    protected = answering_head(
        with_request_id(protect(create_api(services), conf, services.registry))
    )
    behind_proxy: WSGIApplication = HTTPProxyToWSGI(protected, conf)
    is_wanted = conf.oslo_middleware.enable_proxy_headers_parsing
    if is_wanted and has_no_authentication(conf):
        raise NotLoopback(
            "[api] auth_mode = noauth cannot be behind a proxy, as [oslo_middleware] "
            "enable_proxy_headers_parsing says: it would let everybody in whom the proxy does"
        )
    return behind_proxy if is_wanted else protected  # it does nothing, but takes its time


def create_api(services: Services) -> falcon.App[Any, Any]:
    """Give the application without the token check.

    It believes the identity headers that keystonemiddleware sets, so it must never be served bare.
    """
    middleware: list[Any] = [RequestMetrics(services.registry), ContextMiddleware()]
    app = falcon.App(middleware=middleware)
    app.req_options.strip_url_path_trailing_slash = True
    errors.install(app)
    services.registry.register(DatabaseMetrics(services))
    app.add_route("/", RootResource())
    app.add_route("/v2", VersionResource())
    app.add_route("/openapi.json", DescriptionResource())
    app.add_route("/healthcheck", HealthResource(services))
    app.add_route("/metrics", MetricsResource(services.registry))
    app.add_route("/v2/alarms", AlarmsResource(services))
    app.add_route("/v2/alarms/preview", PreviewResource(services))
    app.add_route("/v2/alarms/{alarm_id}", AlarmResource(services))
    app.add_route("/v2/alarms/{alarm_id}/state", StateResource(services))
    app.add_route("/v2/alarms/{alarm_id}/history", HistoryResource(services))
    app.add_route("/v2/alarms/{alarm_id}/notifications", AlarmNotificationsResource(services))
    app.add_route("/v2/notifications", NotificationsResource(services))
    app.add_route("/v2/notifications/{notification_id}", NotificationResource(services))
    app.add_route("/v2/notifications/{notification_id}/retry", RetryResource(services))
    app.add_route("/v2/webhook-secret", WebhookSecretResource(services))
    samples = Samples(services)
    for path in sorted(SAMPLE_PATHS):
        app.add_route(path, samples)
    app.add_route("/v2/capabilities", CapabilitiesResource(services))
    app.add_route("/v2/metrics", ResultsResource(services))
    of_alarms, of_history = search_resources(services)
    app.add_route("/v2/query/alarms", of_alarms)
    app.add_route("/v2/query/alarms/history", of_history)
    app.add_route("/v2/quotas", QuotasResource(services))
    app.add_route("/v2/quotas/{project_id}", ProjectQuotasResource(services))
    app.add_route("/v2/silences", SilencesResource(services))
    app.add_route("/v2/silences/{silence_id}", SilenceResource(services))
    app.add_route("/v2/meters/{meter}/statistics", Statistics(services))
    return app
