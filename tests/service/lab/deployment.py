# SPDX-License-Identifier: Apache-2.0
"""The server and the Heat plugin in the lab's cloud, for tests that need both.

What a deployment has already put there (the demonstration's, say) is used as it is; what a test
run adds is taken away at its end, but for the plugin, which stays in Heat.
"""

import contextlib
import filecmp
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from keystoneauth1.exceptions.catalog import EndpointNotFound

from tests.lab import Lab
from tests.service.lab.parts import ServerProcess, answers

ROOT = Path(__file__).parents[3]
PLUGINS = ROOT / "heat_plugins"
OUR_TYPES = re.compile(r"OS::(Metering|Ceilometer)::(Combination)?Alarm\b")
SERVICE_TYPES = ("alarming", "metering")


def install_plugin(lab: Lab) -> None:
    """Put our resource types into the lab's Heat, if they are not there as they are now."""
    heat = lab.info["heat"]
    assert isinstance(heat, dict)
    target = Path(heat["plugin_dir"])
    stock = Path(heat["environment_dir"]) / "default.yaml"
    lines = stock.read_text().splitlines(keepends=True)
    kept = [line for line in lines if not OUR_TYPES.search(line)]
    if kept == lines and _same(PLUGINS, target):
        return
    stock.write_text("".join(kept))
    shutil.copytree(
        PLUGINS, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
    )
    lab.restart("heat", progress=lambda _: None)


@contextlib.contextmanager
def running_server(lab: Lab, directory: Path) -> Iterator[str]:
    """Give the URL of the server in the catalogue, which is started if none answers there."""
    admin = lab.cloud("admin")
    url = _catalogued(admin)
    if url and answers(url):
        yield url
        return
    with own_server(lab, directory) as server:
        yield server.url


@contextlib.contextmanager
def own_server(lab: Lab, directory: Path, **settings: dict[str, object]) -> Iterator[ServerProcess]:
    """Give a new server with these sections of settings, which the catalogue names meanwhile."""
    server = ServerProcess(lab, directory, **settings)
    server.start()
    try:
        with registered(lab.cloud("admin"), lab, server.url):
            yield server
    finally:
        server.stop()


def _catalogued(admin: object) -> str | None:
    """Give the URL that the catalogue has for us, or None."""
    session = admin.session  # type: ignore[attr-defined]
    try:
        return str(session.get_endpoint(service_type="alarming", interface="public"))
    except EndpointNotFound:
        return None


@contextlib.contextmanager
def registered(admin: object, lab: Lab, url: str) -> Iterator[None]:
    """Let the catalogue name this URL; what it named before is put back."""
    identity = admin.identity  # type: ignore[attr-defined]
    with contextlib.ExitStack() as undo:
        for kind in SERVICE_TYPES:
            service = next(iter(identity.services(type=kind)), None)
            if service is None:
                service = identity.create_service(name=f"test-{kind}", type=kind)
                undo.callback(identity.delete_service, service)
            for interface in ("public", "internal"):
                found = list(identity.endpoints(service_id=service.id, interface=interface))
                if found:
                    (endpoint,) = found
                    undo.callback(identity.update_endpoint, endpoint.id, url=endpoint.url)
                    identity.update_endpoint(endpoint.id, url=url)
                else:
                    endpoint = identity.create_endpoint(
                        service_id=service.id,
                        interface=interface,
                        url=url,
                        region_id=lab.info["region"],
                    )
                    undo.callback(identity.delete_endpoint, endpoint)
        yield


def _same(source: Path, target: Path) -> bool:
    files = [path.relative_to(source) for path in source.rglob("*.py")]
    _, different, missing = filecmp.cmpfiles(source, target, map(str, files), shallow=False)
    return not different and not missing
