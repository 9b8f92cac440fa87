# Copyright (c) Thermostat contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pause and restore with ansible-playbook, over a socket that goes away and comes back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

PLAYBOOK = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    thermostat.openstack.alarm_toggle: {cloud: test}
  tasks:
    - block:
        - thermostat.openstack.alarm_toggle: {state: paused, name: "*"}
      always:
        - ansible.builtin.uri: {url: "{{ come_back }}", method: POST}
        - thermostat.openstack.alarm_toggle: {state: restored}
"""


class Alarms(BaseHTTPRequestHandler):
    """Three alarms; once the first has been changed every other request is cut off until POST."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, body):
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        name = self.path.rpartition("/")[2]
        alarms = self.server.alarms
        self.answer(list(alarms.values()) if name == "alarms" else alarms[name])

    def do_POST(self):
        self.server.changes = None
        self.answer({})

    def do_PUT(self):
        alarm = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.changes is not None:
            self.server.changes += 1
            if self.server.changes > 1:
                self.close_connection = True
                return
        self.server.alarms[alarm["alarm_id"]] = alarm
        self.answer(alarm)


@pytest.fixture
def service():
    with ThreadingHTTPServer(("127.0.0.1", 0), Alarms) as server:
        server.changes = 0
        server.alarms = {
            name: {
                "alarm_id": name,
                "name": name,
                "type": "threshold",
                "enabled": True,
                "project_id": None,
            }
            for name in ("one", "two", "three")
        }
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_connection_that_breaks_at_the_second_alarm_leaves_none_paused(root, tmp_path, service):
    url = "http://127.0.0.1:{0}".format(service.server_address[1])
    cloud = {"auth_type": "none", "alarming_endpoint_override": url, "auth": {"endpoint": url}}
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"test": cloud}}))
    (tmp_path / "play.yml").write_text(PLAYBOOK)
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "localhost,"]
    command += ["-c", "local", "-e", f"come_back={url}", "-e", f"ansible_python_interpreter={sys.executable}"]
    environment = dict(
        os.environ,
        ANSIBLE_COLLECTIONS_PATH=str(root.parents[2]),
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "local"),
        ANSIBLE_REMOTE_TEMP=str(tmp_path / "remote"),
        OS_CLIENT_CONFIG_FILE=str(tmp_path / "clouds.yaml"),
    )
    done = subprocess.run(
        command + ["play.yml"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "still paused, or perhaps so: one (one), two (two)" in done.stdout, done.stdout
    assert [alarm["enabled"] for alarm in service.alarms.values()] == [True] * 3, done.stdout
