# SPDX-License-Identifier: Apache-2.0
"""Octavia's pools, read by its API with the server's own user.

One request per pool and round, however many alarms watch it: Octavia has no list of the members of
several pools, and its status tree leaves out pools without a listener and whether a member is
switched on. Which project a pool belongs to is asked once.
"""

import logging
import re
import threading
from collections.abc import Callable, Collection, Mapping
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
GROUP = cfg.OptGroup("octavia", title="The load balancers whose members alarms watch")
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
MOST_PAGES = 100
"""How many pages of one pool's failing members are read."""
_VERSION = re.compile(r"(/v2(\.\d+)?)?/*$")


class _Away(Exception):  # noqa: N818 - it reads as a state
    """Octavia as a whole cannot be asked now."""


class _Refused(Exception):  # noqa: N818 - it names Octavia's answer
    """Octavia refused one request."""


class OctaviaBalancers:
    """Reads pools; every method may be called from any thread."""

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        conf.register_opts(OPTS, group=GROUP)
        trusts.register_options(conf)
        options = conf[GROUP.name]
        session = own_session(conf, trusts.GROUP)
        own_user = loading.load_auth_from_conf_options(conf, trusts.GROUP)
        self._client = None if own_user is None else client(conf, GROUP.name, session, own_user)
        self._timeout_s: float = options.timeout
        self._threads = ThreadPoolExecutor(options.requests, thread_name_prefix="octavia")
        self._projects: dict[str, str] = {}

    def read(self, pool_ids: Collection[str]) -> Mapping[str, PoolAnswer]:
        """Give what is known of each pool.

        Once Octavia turns out to be away the rest of them are not asked for.
        """
        self._projects = {one: self._projects[one] for one in pool_ids if one in self._projects}
        away: list[str] = []
        lock = threading.Lock()

        def read_one(pool_id: str) -> PoolAnswer:
            with lock:
                if away:
                    return Unreadable(away[0])
            try:
                return self._pool(pool_id)
            except _Refused as error:
                return Unreadable(str(error))
            except _Away as error:
                with lock:
                    if not away:
                        LOG.warning("Octavia cannot be asked: %s", error)
                        away.append(f"Octavia being out of reach: {error}")
                return Unreadable(away[0])

        wanted = list(pool_ids)
        return dict(zip(wanted, self._threads.map(read_one, wanted), strict=True))

    def _pool(self, pool_id: str) -> Pool | None:
        path = f"/pools/{quote(pool_id, safe='')}"
        project_id = self._projects.get(pool_id)
        if project_id is None:
            found = self._get(path, {"fields": "project_id"})
            if found is None:
                return None
            project_id = self._projects[pool_id] = str(found["pool"]["project_id"])
        failing: list[Mapping[str, Any]] = []
        for _ in range(MOST_PAGES):
            query = {"operating_status": FAILED}
            if failing:
                query["marker"] = str(failing[-1]["id"])
            page = self._get(f"{path}/members", query)
            if page is None:
                self._projects.pop(pool_id, None)
                return None
            failing += page["members"]
            links = page.get("members_links") or ()
            if not page["members"] or all(link["rel"] != "next" for link in links):
                break
        return Pool(project_id, tuple(failing))

    def _get(self, path: str, query: Mapping[str, str]) -> Any:
        """Give the JSON of an answer; None where there is no such thing."""
        if self._client is None:
            raise _Away(f"this server has no user of its own: [{trusts.GROUP}] is not set")
        octavia = self._client
        answer = _asking(
            lambda: octavia.get(
                _base(octavia) + path,
                params=query,
                timeout=self._timeout_s,
                redirect=False,
                log=False,
            )
        )
        if answer.status_code == 404:
            return None
        if answer.status_code in (429, 502, 503, 504):
            raise _Away(f"it answered {answer.status_code}")
        if answer.status_code == 403:
            raise _Refused("a refusal of Octavia: this server's user may not read the pool (403)")
        if answer.status_code != 200:
            raise _Refused(f"a failure of Octavia: it answered {answer.status_code}")
        try:
            return answer.json()
        except ValueError:
            raise _Away("its answer is not JSON") from None


def _base(octavia: Adapter) -> str:
    """Give the URL that paths are appended to; catalogues have it with a version or without."""
    endpoint = octavia.get_endpoint()
    if endpoint is None:
        raise _Away("the catalogue has no load-balancer endpoint")
    return _VERSION.sub("", endpoint) + "/v2/lbaas"


def _asking(question: Callable[[], Any]) -> Any:
    """Ask Octavia; failures become ours, without URLs."""
    try:
        return question()
    except exceptions.HttpError as error:
        raise _Away(f"Keystone answered {error.http_status}") from None
    except exceptions.ConnectTimeout:
        raise _Away("no answer in time") from None
    except exceptions.ClientException as error:
        raise _Away(type(error).__name__) from None
