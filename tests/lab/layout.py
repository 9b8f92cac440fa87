# SPDX-License-Identifier: Apache-2.0
"""Where a lab keeps its things: one state directory, ports counted from one base, own passwords."""

import json
import os
import secrets
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tests.lab.errors import LabError

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_STATE_DIR = Path(os.environ.get("THERMOSTAT_LAB_STATE", ROOT / ".lab" / "run"))
DEFAULT_PORT_BASE = 15000
HOST = "127.0.0.1"
REGION = "RegionOne"
COMPUTE_HOST = "lab"  # Nova's name for this machine; the agent's [agent] host must be the same
FORMAT = 1  # raised when a state directory made by older code can no longer be started

# Each listens on 127.0.0.1 at the base plus its place in this list.
LISTENERS = (
    *("keystone", "heat", "heat-cfn", "nova", "placement", "glance", "neutron"),
    *("octavia", "zaqar", "zaqar-redis"),
)

SERVICE_USERS = ("heat", "nova", "placement", "glance", "thermostat")
PEOPLE = {"admin": "admin", "demo": "demo", "other": "other"}  # user: project
EXTRA_USERS = ("octavia", "zaqar")  # of services that are added only where a test asks for them
DATABASES = ("keystone", "heat", "glance", "placement", "nova_api", "nova")

# A path of a UNIX socket has at most 107 bytes; the longest name below the state directory has 29.
MAX_STATE_PATH = 78


@dataclass(frozen=True)
class Choices:
    """What was chosen when the state directory was made; later starts keep it."""

    port_base: int = DEFAULT_PORT_BASE
    db: str = "postgres"
    virt: str = "qemu"


class Layout:
    """The paths, URLs and passwords of one lab."""

    def __init__(self, state_dir: Path, choices: Choices) -> None:
        self.state = state_dir.absolute()
        self.choices = choices
        if len(os.fsencode(self.state)) > MAX_STATE_PATH:
            raise LabError(
                f"state directory {self.state}: at most {MAX_STATE_PATH} bytes, "
                "or the sockets in it could not be bound"
            )

    @classmethod
    def existing(cls, state_dir: Path) -> "Layout | None":
        """The layout of a lab that was made in `state_dir`, or None."""
        path = state_dir / "lab.json"
        try:
            info = json.loads(path.read_text())
        except FileNotFoundError:
            return None
        if info["format"] != FORMAT:
            raise LabError(f"{state_dir} was made by another version of the lab; use --wipe")
        return cls(state_dir, Choices(**info["choices"]))

    # -- paths -----------------------------------------------------------------------------

    @property
    def etc(self) -> Path:
        """Configuration files of all services."""
        return self.state / "etc"

    @property
    def log(self) -> Path:
        """One log per process, kept until the state directory is wiped."""
        return self.state / "log"

    @property
    def ready(self) -> Path:
        """Exists once everything was set up: from then on a start only starts."""
        return self.state / "ready"

    @property
    def info_file(self) -> Path:
        """What tests and roles need to know, as JSON."""
        return self.state / "lab.json"

    @property
    def clouds_file(self) -> Path:
        """A clouds.yaml with the clouds admin, demo, other and thermostat."""
        return self.state / "clouds.yaml"

    @property
    def plugin_dir(self) -> Path:
        """Heat's plugin_dirs; empty until a role or a test puts plugins into it."""
        return self.state / "heat_plugins"

    @property
    def environment_dir(self) -> Path:
        """Heat's environment_dir, a copy that a role may edit."""
        return self.etc / "heat" / "environment.d"

    @property
    def libvirt_socket(self) -> Path:
        """The private libvirtd's socket."""
        return self.state / "libvirt" / "libvirt-sock"

    @property
    def octavia_dir(self) -> Path:
        """Octavia's sockets and its provider's entry point, once it was added."""
        return self.state / "octavia"

    def octavia_socket(self, kind: str) -> Path:
        """A socket of Octavia's driver agent: `status`, `stats` or `get`."""
        return self.octavia_dir / f"{kind}.sock"

    @property
    def extras(self) -> Path:
        """A file for each service that was added to this lab."""
        return self.state / "extras"

    @cached_property
    def venv(self) -> Path:
        """The virtual environment in which the services are installed (`make lab-venv`)."""
        venv = Path(os.environ.get("THERMOSTAT_LAB_VENV", ROOT / ".lab" / "venv"))
        if not (venv / "bin" / "python").exists():
            raise LabError(f"no virtual environment at {venv}: run `make lab-venv`")
        return venv

    # -- addresses -------------------------------------------------------------------------

    def port(self, name: str) -> int:
        """The TCP port of one of LISTENERS."""
        return self.choices.port_base + LISTENERS.index(name)

    def url(self, name: str, path: str = "") -> str:
        """The URL of one of LISTENERS."""
        return f"http://{HOST}:{self.port(name)}{path}"

    @property
    def auth_url(self) -> str:
        """Keystone's v3 API."""
        return self.url("keystone", "/v3")

    @property
    def libvirt_uri(self) -> str:
        """What libvirt's clients open."""
        if self.choices.virt == "fake":
            return "test:///default"
        return f"qemu+unix:///system?socket={self.libvirt_socket}"

    def database_url(self, name: str) -> str:
        """SQLAlchemy's URL of one of DATABASES."""
        if self.choices.db == "sqlite":
            return f"sqlite:///{self.state}/{name}.sqlite?timeout=60"
        return f"postgresql+psycopg2://postgres@/{name}?host={self.postgres_socket_dir}"

    @property
    def postgres_socket_dir(self) -> Path:
        """The directory of PostgreSQL's only listener; it has no TCP port."""
        return self.state / "postgres" / "socket"

    # -- passwords -------------------------------------------------------------------------

    @cached_property
    def passwords(self) -> dict[str, str]:
        """Random ones, made on first use and kept readable by root alone."""
        path = self.state / "secrets.json"
        kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        users = (*PEOPLE, *SERVICE_USERS, *EXTRA_USERS)
        names = (*users, "heat_domain_admin", "heat_encryption_key")
        made = {name: kept.get(name) or secrets.token_hex(16) for name in names}
        if made != kept:
            write_private(path, json.dumps(made, indent=1))
        return made

    # -- what others read ------------------------------------------------------------------

    def clouds(self) -> dict[str, object]:
        """The content of clouds.yaml."""
        projects = {**PEOPLE, "thermostat": "service"}
        return {
            "clouds": {
                name: {
                    "auth": {
                        "auth_url": self.auth_url,
                        "username": name,
                        "password": self.passwords[name],
                        "project_name": project,
                        "user_domain_id": "default",
                        "project_domain_id": "default",
                    },
                    "region_name": REGION,
                    "identity_api_version": "3",
                    "compute_api_version": "2.79",
                }
                for name, project in projects.items()
            }
        }

    def info(self) -> dict[str, object]:
        """The content of lab.json: URLs, paths and names, no passwords."""
        return {
            "format": FORMAT,
            "choices": vars(self.choices),
            "state_dir": str(self.state),
            "auth_url": self.auth_url,
            "region": REGION,
            "urls": {name: self.url(name) for name in LISTENERS},
            "ports": {name: self.port(name) for name in LISTENERS},
            "clouds_file": str(self.clouds_file),
            "compute_host": COMPUTE_HOST,
            "libvirt_uri": self.libvirt_uri,
            "libvirt_socket": str(self.libvirt_socket),
            "image": "tiny",
            "flavor": "tiny",
            "log_dir": str(self.log),
            "venv": str(self.venv),
            "heat": {
                "config": str(self.etc / "heat.conf"),
                "plugin_dir": str(self.plugin_dir),
                "environment_dir": str(self.environment_dir),
                "restart": [
                    *(sys.executable, "-m", "tests.lab", "restart", "heat"),
                    *("--state", str(self.state)),
                ],
                "restart_in": str(ROOT),
            },
        }


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(path.name + ".new")
    with open(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    scratch.replace(path)
