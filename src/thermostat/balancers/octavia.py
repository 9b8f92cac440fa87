# SPDX-License-Identifier: Apache-2.0
"""Octavia's pools, read by its API with the server's own user.

One request per pool and round, however many alarms watch it: Octavia has no list of the members of
several pools, and its status tree leaves out pools without a listener and whether a member is
switched on. Which project a pool belongs to is asked once.
"""

import logging
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

from keystoneauth1 import exceptions, loading
from keystoneauth1.adapter import Adapter
from oslo_config import cfg

from thermostat import trusts
from thermostat.balancers.base import Pool, PoolAnswer, Unreadable
from thermostat.balancers.decide import FAILED
from thermostat.endpoints import client, endpoint_options, own_session

LOG = logging.getLogger(__name__)
GROUP = "octavia"
OPTS = [
    cfg.FloatOpt(
        "interval",
        default=10.0,
        min=0.1,
        help="Seconds between two looks at the pools. Actions of alarms with repeat_actions are "
        "called again after each.",
    ),
    cfg.IntOpt(
        "member_creation_time",
        default=120,
        min=0,
        help="Seconds after its creation in which a member never counts as unhealthy: its health "
        "check fails until what is to serve on it has started.",
    ),
    cfg.FloatOpt(
        "timeout", default=10.0, min=0.01, help="Seconds to wait for an answer of Octavia."
    ),
    cfg.IntOpt("requests", default=8, min=1, help="How many requests may be under way at once."),
    *endpoint_options("load-balancer"),
]
MOST_PROJECTS = 100_000
"""Of how many pools it is remembered whose they are; their ids never come again."""
MOST_PAGES = 100
"""How many pages of one pool's failing members are read."""
_VERSION = re.compile(r"(/v2(\.\d+)?)?/*$")


class OctaviaAway(Exception):  # noqa: N818 - it reads as a state
    """Octavia as a whole cannot be asked now; the message has no URLs and no ids."""


class OctaviaRefused(Exception):  # noqa: N818 - it names Octavia's answer
    """Octavia did not answer one question; the message is a noun phrase."""


class OctaviaBalancers:
    """Reads pools; every method may be called from any thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(OPTS, group=GROUP)
        trusts.register_options(conf)
        options = conf[GROUP]
        session = own_session(conf, trusts.GROUP)
        own_user = loading.load_auth_from_conf_options(conf, trusts.GROUP)
        self._octavia: PoolReader | None = None
        if own_user is not None:
            octavia = client(conf, GROUP, session, own_user)
            self._octavia = PoolReader(octavia, options.timeout)
        self._threads = ThreadPoolExecutor(options.requests, thread_name_prefix="octavia")
        self._projects: dict[str, str] = {}
        self._away: str | None = None

    def read(self, pool_ids: Collection[str]) -> Mapping[str, PoolAnswer]:
        """Give what is known of each pool.

        Once Octavia turns out to be away the rest of them are not asked for.
        """
        if len(self._projects) > MOST_PROJECTS:
            self._projects = {}
        away: list[str] = []
        lock = threading.Lock()

        def read_one(pool_id: str) -> PoolAnswer:
            with lock:
                if away:
                    return Unreadable(away[0])
            try:
                return self._pool(pool_id)
            except OctaviaRefused as error:
                return Unreadable(str(error))
            except OctaviaAway as error:
                with lock:
                    away.append(f"Octavia being out of reach: {error}")
                return Unreadable(away[0])

        wanted = list(pool_ids)
        answers = dict(zip(wanted, self._threads.map(read_one, wanted), strict=True))
        self._note(away[0] if away else None)
        return answers

    def _note(self, away: str | None) -> None:
        """Tell the operator once that Octavia went away, and once that it is back."""
        if away != self._away:
            self._away = away
            if away is None:
                LOG.info("Octavia is back")
            else:
                LOG.warning("Pools cannot be read, due to %s", away)

    def _pool(self, pool_id: str) -> Pool | None:
        if self._octavia is None:
            raise OctaviaAway(f"this server has no user of its own: [{trusts.GROUP}] is not set")
        project_id = self._projects.get(pool_id) or self._octavia.project_id(pool_id)
        if project_id is None:
            return None
        failing = self._octavia.failing_members(pool_id)
        if failing is None:
            self._projects.pop(pool_id, None)
            return None
        self._projects[pool_id] = project_id
        return Pool(project_id, tuple(failing))


class PoolReader:
    """Asks Octavia about pools with a client that is somebody's. Raises OctaviaAway and -Refused.

    Every method may be called from any thread.
    """

    def __init__(self, octavia: Adapter, timeout_s: float | tuple[float, float]) -> None:
        self._client = octavia
        self._timeout_s = timeout_s

    def project_id(self, pool_id: str) -> str | None:
        """Give the project of a pool; None: there is no such pool."""
        found = self._get(_path(pool_id), {"fields": "project_id"})
        return None if found is None else str(_part(_part(found, "pool"), "project_id"))

    def failing_members(self, pool_id: str) -> Sequence[Mapping[str, Any]] | None:
        """Give the members whose operating status is ERROR; None: there is no such pool."""
        failing: list[Mapping[str, Any]] = []
        for _ in range(MOST_PAGES):
            query = {"operating_status": FAILED}
            if failing:
                query["marker"] = str(_part(failing[-1], "id"))
            page = self._get(f"{_path(pool_id)}/members", query)
            if page is None:
                return None
            failing += (members := _part(page, "members"))
            links = page.get("members_links") or ()
            if not members or all(_part(link, "rel") != "next" for link in links):
                break
        return failing

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        """Give the JSON object of an answer; None where there is no such thing."""
        answer = self._ask(path, query)
        if answer.status_code == 404:
            return None
        if answer.status_code in (429, 502, 503, 504):
            raise OctaviaAway(f"it answered {answer.status_code}")
        if answer.status_code == 403:
            raise OctaviaRefused("a refusal of Octavia: the user may not read the pool (403)")
        if answer.status_code != 200:
            raise OctaviaRefused(f"a failure of Octavia: it answered {answer.status_code}")
        try:
            return answer.json()
        except ValueError:
            raise OctaviaAway("its answer is not JSON") from None

    def _ask(self, path: str, query: Mapping[str, str]) -> Any:
        """Ask Octavia; failures become ours, without URLs."""
        try:
            return self._client.get(
                self._base() + path,
                params=query,
                timeout=self._timeout_s,
                redirect=False,
                log=False,
            )
        except exceptions.HttpError as error:
            raise OctaviaAway(f"Keystone answered {error.http_status}") from None
        except exceptions.ConnectTimeout:
            raise OctaviaAway("no answer in time") from None
        except exceptions.ClientException as error:
            raise OctaviaAway(type(error).__name__) from None

    def _base(self) -> str:
        """Give the URL that paths are appended to; catalogues have it with a version or without."""
        endpoint = self._client.get_endpoint()
        if endpoint is None:
            raise OctaviaAway("the catalogue has no load-balancer endpoint")
        return _VERSION.sub("", endpoint) + "/v2/lbaas"


def _path(pool_id: str) -> str:
    return f"/pools/{quote(pool_id, safe='')}"


def _part(document: Any, name: str) -> Any:
    """Give a member of an answer's JSON object."""
    try:
        return document[name]
    except (KeyError, TypeError):
        raise OctaviaRefused(f"an answer of Octavia without {name!r}") from None
