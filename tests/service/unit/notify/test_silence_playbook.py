# SPDX-License-Identifier: Apache-2.0
"""The integration target of the module `silence`, played against a whole server over HTTP.

Without Keystone: the lab's test_collection plays it with one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.service.served import Deployment
from tests.service.unit.docs.blocks import ROOT

TARGET = ROOT / "tests" / "integration" / "targets" / "silence" / "tasks" / "main.yml"


@pytest.fixture
def server(tmp_path):
    deployment = Deployment(tmp_path)
    yield deployment
    deployment.stop()


def test_a_playbook_of_maintenance(server, tmp_path):
    place = tmp_path / "collections" / "ansible_collections" / "thermostat"
    place.mkdir(parents=True)
    (place / "openstack").symlink_to(ROOT)
    url = f"http://{server.server.address}"
    cloud = {"auth_type": "none", "alarming_endpoint_override": url, "auth": {"endpoint": url}}
    (tmp_path / "clouds.yaml").write_text(json.dumps({"clouds": {"test": cloud}}))
    play = {"hosts": "localhost", "gather_facts": False, "tasks": [{"include_tasks": str(TARGET)}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    done = subprocess.run(
        [
            str(Path(sys.executable).parent / "ansible-playbook"),
            *("-i", "localhost,", "-c", "local", "play.yml"),
            *("-e", "test_cloud=test", "-e", "test_prefix=here"),
            *("-e", f"ansible_python_interpreter={sys.executable}"),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "ANSIBLE_COLLECTIONS_PATH": str(tmp_path / "collections"),
            "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
            "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            "OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (silence,) = server.call("GET", "/v2/silences")
    assert (silence["status"], silence["comment"]) == ("expired", "here-maintenance")
