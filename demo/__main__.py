# SPDX-License-Identifier: Apache-2.0
"""`python -m demo up|down`: the talk's template scales a real stack out and back."""

import argparse
import shutil
import sys
import time
from pathlib import Path

from demo.cloud import Tenant
from demo.console import Console, DemoError
from demo.deployment import Deployment
from demo.loop import AFTER_POLL_S, GROWN_WITHIN_S, UPSTREAM_GROWN_S, Story, check
from tests.lab import DEFAULT_STATE_DIR, Lab, LabError

ROOT = Path(__file__).parents[1]
DIRECTORY = ROOT / ".lab" / "demo"
TEMPLATES = ROOT / "docs" / "templates"
ENVIRONMENT = ROOT / "tests" / "lab" / "templates" / "environment.yaml"
STACK = "talk"
INTRODUCTION = """\
Measure, decide, scale: the template of the 2013 talk "Ceilometer + Heat = Alarming" on a real
Keystone, Heat and Nova, with Thermostat between them. Times are seconds since the start."""


def main() -> int:
    """Run the command; give the exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("command", choices=("up", "down"))
    arguments = parser.parse_args()
    lab = Lab(DEFAULT_STATE_DIR)
    deployment = Deployment(lab, DIRECTORY)
    console = Console(steps=7)
    try:
        if arguments.command == "up":
            up(console, lab, deployment)
        else:
            down(console, lab, deployment)
    except (DemoError, LabError) as error:
        console.say(f"FAILED: {error}")
        return 1
    except KeyboardInterrupt:
        console.say("interrupted; `make demo-down` removes what is running")
        return 130
    return 0


def up(console: Console, lab: Lab, deployment: Deployment) -> None:
    """Show the loop from beginning to end, and leave everything running."""
    began = time.monotonic()
    console.show(INTRODUCTION)

    console.step("A cloud: Keystone, Heat, Placement, Glance, Nova with QEMU guests")
    lab.up(progress=console.say)

    console.step("Thermostat, by the collection: ansible-playbook thermostat.openstack.site")
    recap = deployment.deploy(console)
    console.say(f"server on {deployment.server_url}, agent, OS::Metering::Alarm in Heat: {recap}")

    tenant = Tenant(lab, STACK)
    story = Story(console, tenant, deployment, TEMPLATES / "talk.template")
    console.step("The talk's template becomes a stack")
    story.create_stack(ENVIRONMENT)
    story.rest()

    console.step("Load: one guest becomes busy")
    out = story.scale_out()

    console.step("The load ends")
    back = story.scale_in()

    console.step("Maintenance in a playbook: module alarm, lookup statistics, alarm_toggle")
    story.maintain()

    console.step(f"Done in {time.monotonic() - began:.0f} s")
    console.show(story.summary(out, back))
    console.show(
        f"\nThe group had grown {out.resized:.1f} s after the load began (at most"
        f" {GROWN_WITHIN_S:.0f} s wanted), with a poll every 10 s."
        f"\nCeilometer, Gnocchi, Aodh and Heat, tuned to the same, took {UPSTREAM_GROWN_S:.0f} s."
        f"\nHere the load began {AFTER_POLL_S:.0f} s after a poll. One that begins in the last 3 s"
        "\nbefore a poll lifts that average too little and is seen by the next: within 15 s.\n"
    )
    console.show(look_around(lab, deployment))
    check(out)


def look_around(lab: Lab, deployment: Deployment) -> str:
    """Give the commands with which to look at what is left running."""
    return f"""\
Everything is still running. To look around:
  export OS_CLIENT_CONFIG_FILE={lab.info["clouds_file"]} OS_CLOUD=demo PATH={ROOT}/.venv/bin:$PATH
  openstack stack show {STACK}
  openstack alarm list
  openstack server list
  python -m tests.lab load SERVER on
  tail -f {deployment.prefix}/var/log/thermostat/*.log
`make demo-down` stops and removes all of it."""


def down(console: Console, lab: Lab, deployment: Deployment) -> None:
    """Stop and remove what `up` left running."""
    console.say("stopping the agent and the server")
    deployment.stop()
    console.say("stopping the lab, its guests included")
    lab.down(wipe=True)
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    console.say("removed; the virtual environments and the Debian packages stay")


if __name__ == "__main__":
    sys.exit(main())
