# SPDX-License-Identifier: Apache-2.0
"""The collection with a real Keystone: the site playbook, what it runs, and its plugins."""

import base64
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytestmark = pytest.mark.lab

ROOT = Path(__file__).resolve().parents[3]
BIN = Path(sys.executable).parent
REGION = "CollectionTest"
PLAYBOOK_TIMEOUT_S = 600
PUBLISHER_PASSWORD = "publisher:test secret"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def run(*command, cwd=ROOT, **environment):
    """Run a command to its end and give its output; where it fails, the test fails with it."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env={
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_NOCOLOR": "1",
            **{name: str(value) for name, value in environment.items()},
        },
        capture_output=True,
        text=True,
        timeout=PLAYBOOK_TIMEOUT_S,
        check=False,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-8000:]
    return output


class Site:
    """What the site playbook deploys as plain processes below a directory."""

    def __init__(self, lab, directory):
        self.prefix = directory / "prefix"
        self.collections = directory / "collections"
        self.server_url = f"http://127.0.0.1:{free_port()}"
        self.lab = lab
        self._inventory = directory / "inventory.json"
        self._inventory.write_text(json.dumps(self._hosts()))
        environment = self.prefix / "etc/heat/environment.d"
        environment.mkdir(parents=True)
        heat = Path(lab.info["venv"]) / "etc/heat/environment.d/default.yaml"
        shutil.copy(heat, environment)
        (self.prefix / "var/lib").mkdir(parents=True)

    def _hosts(self):
        clouds = self.lab.layout.clouds()["clouds"]
        prefix = self.prefix
        groups = ("thermostat_server", "thermostat_agent", "thermostat_heat")
        variables = {
            "ansible_connection": "local",
            "ansible_python_interpreter": "{{ ansible_playbook_python }}",
            "thermostat_prefix": str(prefix),
            "thermostat_service_manager": "process",
            "thermostat_manage_packages": False,
            "thermostat_auth_url": self.lab.info["auth_url"],
            "thermostat_service_user": "collection-test",
            "thermostat_service_password": "collection-test-secret",
            # Endpoints in a region of their own do not get in the way of others in this lab.
            "thermostat_region": REGION,
            "thermostat_server_settings": {"keystone_authtoken": {"region_name": "RegionOne"}},
            "thermostat_server_host": "127.0.0.1",
            "thermostat_server_port": int(self.server_url.rpartition(":")[2]),
            "thermostat_server_url": self.server_url,
            "thermostat_server_publishers": {"ceilometer": PUBLISHER_PASSWORD, "other": "x:y z"},
            "thermostat_server_register": True,
            "thermostat_server_register_cloud": clouds["admin"],
            "thermostat_server_register_interfaces": ["public"],
            "thermostat_agent_interval": 2,
            "thermostat_agent_host": self.lab.info["compute_host"],
            "thermostat_agent_libvirt_uri": self.lab.libvirt_uri,
            "thermostat_agent_settings": {
                "metering": {"valid_interfaces": ["public"]},
                "nova": {"region_name": "RegionOne"},
            },
            "thermostat_heat_plugins_dir": str(prefix / "usr/lib/heat"),
            "thermostat_heat_plugins_environment_dir": str(prefix / "etc/heat/environment.d"),
            "thermostat_heat_plugins_restart_command": ["touch", str(prefix / "heat-restarted")],
        }
        hosts = {group: {"hosts": {"localhost": {}}} for group in groups}
        return {"all": {"vars": variables, "children": hosts}}

    def deploy(self, tags="all", **more):
        """Apply the site playbook and give how many tasks changed something, and the output."""
        extra = ["--tags", tags, "-e", json.dumps(more)]
        output = run(
            BIN / "ansible-playbook",
            *("-i", self._inventory, "thermostat.openstack.site", *extra),
            ANSIBLE_COLLECTIONS_PATH=self.collections,
        )
        return int(re.search(r"changed=(\d+)", output).group(1)), output

    def control(self, service, action, check=True):
        """Run a service's control script."""
        script = self.prefix / f"opt/thermostat/{service}/bin/thermostat-{service}-service"
        return subprocess.run(
            [script, action], capture_output=True, text=True, check=check, timeout=60
        )

    def pid_file(self, service):
        return self.prefix / f"run/thermostat/thermostat-{service}.pid"

    def sends(self, password):
        """Tell the status with which the server answers samples sent with this password."""
        pair = base64.b64encode(f"ceilometer:{password}".encode()).decode()
        request = urllib.request.Request(
            f"{self.server_url}/v1/samples",
            b"[]",
            {"Authorization": f"Basic {pair}", "Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def is_healthy(self):
        try:
            with urllib.request.urlopen(f"{self.server_url}/healthcheck", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def site(lab, tmp_path_factory):
    directory = tmp_path_factory.mktemp("site")
    run(sys.executable, "tools/dist.py")
    site = Site(lab, directory)
    run(sys.executable, "tools/collection.py", site.collections)
    identity = lab.cloud("admin").identity
    if identity.find_region(REGION) is None:
        identity.create_region(id=REGION)
    try:
        site.first = site.deploy()
        yield site
    finally:
        for service in ("server", "agent"):
            if site.pid_file(service).exists():
                site.control(service, "stop", check=False)
        for endpoint in identity.endpoints(region_id=REGION):
            identity.delete_endpoint(endpoint)


def test_the_second_run_changes_nothing(site):
    changed, output = site.deploy()
    assert changed == 0, output


def test_what_was_deployed_runs_after_ansible_has_ended(site):
    assert site.is_healthy()
    for service in ("server", "agent"):
        assert "running as process" in site.control(service, "status").stdout
        pid = int(site.pid_file(service).read_text())
        assert os.getsid(pid) == pid, "not in a session of its own"


def test_secrets_are_only_where_they_are_needed(site):
    assert "collection-test-secret" not in site.first[1]
    for name in ("server.conf", "agent.conf"):
        file = site.prefix / "etc/thermostat" / name
        assert file.stat().st_mode & 0o777 == 0o640
        assert "collection-test-secret" in file.read_text()


def test_senders_of_samples_have_passwords(site):
    file = site.prefix / "etc/thermostat/publishers"
    assert file.stat().st_mode & 0o777 == 0o640
    assert PUBLISHER_PASSWORD not in file.read_text() + site.first[1]
    assert site.sends(PUBLISHER_PASSWORD) == 201
    assert site.sends("x") == 401
    process = site.pid_file("server").read_text()
    publishers = {"ceilometer": "new"}
    changed, output = site.deploy(tags="server", thermostat_server_publishers=publishers)
    assert changed == 1, output
    assert (site.sends("new"), site.sends(PUBLISHER_PASSWORD)) == (201, 401)
    assert site.pid_file("server").read_text() == process, "a password needs no restart"
    site.deploy(tags="server")


def test_heat_gets_the_plugins_and_loses_its_mapping(site):
    plugins = ROOT / "heat_plugins"
    wanted = {path.relative_to(plugins) for path in plugins.rglob("*.py")}
    directory = site.prefix / "usr/lib/heat"
    assert wanted
    assert {path.relative_to(directory) for path in directory.rglob("*.py")} == wanted
    default = site.prefix / "etc/heat/environment.d/default.yaml"
    left = default.read_text()
    for kind in ("Metering::Alarm", "Ceilometer::Alarm", "Ceilometer::CombinationAlarm"):
        assert f"OS::{kind}" not in left
    assert "OS::Ceilometer::GnocchiResourcesAlarm" in left
    assert (site.prefix / "heat-restarted").exists()


def test_a_change_of_configuration_restarts_once(site):
    before = site.pid_file("agent").read_text()
    server = site.pid_file("server").read_text()
    changed, output = site.deploy(tags="agent", thermostat_agent_interval=3)
    assert changed == 2, output
    assert site.pid_file("agent").read_text() != before
    assert site.pid_file("server").read_text() == server
    assert "interval = 3" in (site.prefix / "etc/thermostat/agent.conf").read_text()


def test_another_program_s_pid_is_recognised(site):
    pid_file = site.pid_file("agent")
    ours = pid_file.read_text()
    other = subprocess.Popen(["sleep", "300"])
    try:
        pid_file.write_text(f"{other.pid}\n")
        assert site.control("agent", "status", check=False).returncode == 3
        assert "already stopped" in site.control("agent", "stop").stdout
        assert other.poll() is None, "it ended a program that is not ours"
    finally:
        other.kill()
        other.wait()
        pid_file.write_text(ours)
    assert "already running" in site.control("agent", "start").stdout


def test_a_killed_process_is_started_again_by_the_playbook(site):
    pid = int(site.pid_file("server").read_text())
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while site.control("server", "status", check=False).returncode == 0:
        assert time.monotonic() < deadline, "the killed server is still there"
        time.sleep(0.1)
    changed, output = site.deploy(tags="server")
    assert changed == 1, output
    assert site.is_healthy()


def test_plugins_work_with_the_server(site):
    clouds = site.lab.layout.clouds()["clouds"]
    collection = site.collections / "ansible_collections/thermostat/openstack"
    configuration = collection / "tests/integration/integration_config.yml"
    configuration.write_text(
        json.dumps(
            {
                "test_prefix": "collection-test",
                "test_cloud": {**clouds["demo"], "region_name": REGION},
                "test_publisher": clouds["thermostat"],
                "test_server_url": site.server_url,
            }
        )
    )
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    arguments = ("--python", python, "--allow-unsupported", "--color", "no")
    output = run(BIN / "ansible-test", "integration", *arguments, cwd=collection)
    for target in ("alarm", "alarm_toggle", "silence", "statistics"):
        assert f"Running {target} integration test role" in output
