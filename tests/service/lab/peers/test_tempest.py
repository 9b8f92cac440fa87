# SPDX-License-Identifier: Apache-2.0
"""Upstream's API tests of Aodh, `telemetry-tempest-plugin`, as they are, against our server.

They make projects and users of their own in the lab's Keystone. Every one must pass but for those
named here with a reason; the test fails too where one of these changes.
"""

import os
import subprocess
import xml.etree.ElementTree as ET

import pytest

from tests.lab.settings import ini

pytestmark = pytest.mark.lab

SUITE = "telemetry_tempest_plugin.aodh.api"
TESTS = 46
NEGATIVE = "TelemetryAlarmingNegativeGnocchiTest"
SKIPPED = {
    f"{NEGATIVE}.test_create_null_alarm_constraint": (
        "skips itself for bug 2045115: Aodh takes null for no constraints, and so do we, since "
        "aodhclient sends null for an option that is set to ''"
    ),
    f"{NEGATIVE}.test_create_invalid_alarm_input_enabled_int": (
        "skips itself for bug 2045118: Aodh takes 0 for false, and so do we"
    ),
    f"{NEGATIVE}.test_create_invalid_alarm_too_many_actions": (
        "skips itself for bug 2045116: it needs [DEFAULT] alarm_max_actions to be 1"
    ),
}
"""Those that upstream itself never runs, wherever, with what they are about."""
FAILING: dict[str, str] = {}
"""Those that fail here, each with the reason: none."""


def configuration(lab, directory) -> str:
    """Give tempest.conf: an administrator, who makes the users, and no service beside ours."""
    absent = ("ceilometer", "cinder", "glance", "neutron", "nova", "swift")
    return ini(
        {
            "DEFAULT": {"log_dir": directory, "log_file": "tempest.log"},
            "oslo_concurrency": {"lock_path": directory / "locks"},
            "auth": {
                "use_dynamic_credentials": "true",
                "create_isolated_networks": "false",
                "tempest_roles": "member",
                "admin_username": "admin",
                "admin_password": lab.layout.passwords["admin"],
                "admin_project_name": "admin",
                "admin_domain_name": "Default",
            },
            "identity": {"uri_v3": lab.layout.auth_url, "region": lab.info["region"]},
            "service_available": {
                "aodh": "true",
                "gnocchi": "true",  # its tests only create alarms with Gnocchi's rules
                **dict.fromkeys(absent, "false"),
            },
            "alarming_plugin": {"catalog_type": "alarming"},
        }
    )


@pytest.fixture(scope="module")
def outcomes(lab, server, tmp_path_factory):  # noqa: ARG001 - the catalogue names it
    """Run the suite once; give "passed", or what went wrong, by `Class.test`."""
    directory = tmp_path_factory.mktemp("tempest")
    (directory / "tempest.conf").write_text(configuration(lab, directory))
    report = directory / "report.xml"
    # pytest's own configuration, not ours, which it would find above the environment's packages
    (directory / "pytest.ini").write_text("[pytest]\n")
    options = (
        "-q",
        "-c",
        directory / "pytest.ini",
        "-p",
        "no:cacheprovider",
        f"--junitxml={report}",
        "--pyargs",
        SUITE,
    )
    done = subprocess.run(
        [lab.layout.venv / "bin/python", "-m", "pytest", "-c", directory / "pytest.ini", *options],
        cwd=directory,
        env={**os.environ, "TEMPEST_CONFIG_DIR": str(directory), "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert report.exists(), done.stdout + done.stderr
    return {
        f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}": _outcome(case)
        for case in ET.parse(report).iter("testcase")
    }


def _outcome(case: ET.Element) -> str:
    for kind in ("failure", "error", "skipped"):
        if (found := case.find(kind)) is not None:
            return f"{kind}: {found.get('message')} {(found.text or '')[-1500:]}"
    return "passed"


def test_every_test_of_the_suite_is_known(outcomes):
    assert len(outcomes) == TESTS, sorted(outcomes)
    assert set(outcomes) >= {*SKIPPED, *FAILING}


def test_all_pass_but_those_with_a_reason(outcomes):
    expected = {*SKIPPED, *FAILING}
    assert {name: said for name, said in outcomes.items() if said != "passed"}.keys() == expected, (
        "\n\n".join(
            f"{name}: {said}"
            for name, said in outcomes.items()
            if (said == "passed") is (name in expected)
        )
    )


@pytest.mark.parametrize("name", sorted(SKIPPED))
def test_upstream_skips(outcomes, name):
    assert outcomes[name].startswith("skipped: Skipped until")
