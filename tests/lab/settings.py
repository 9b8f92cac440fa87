# SPDX-License-Identifier: Apache-2.0
"""The services' configuration files."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.lab.layout import COMPUTE_HOST, HOST, REGION, Layout, write_private

Sections = Mapping[str, Mapping[str, object]]
TEMPLATES = Path(__file__).with_name("templates")
SERVICE_PROJECT = {"project_name": "service", "project_domain_id": "default"}


def write_all(layout: Layout) -> None:
    """Write every file that the services read; roles may edit Heat's afterwards."""
    for directory in (layout.etc, layout.log, layout.plugin_dir, layout.state / "nova/instances"):
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, sections in {
        "keystone.conf": keystone(layout),
        "heat.conf": heat(layout),
        "placement.conf": placement(layout),
        "glance-api.conf": glance(layout),
        "nova.conf": nova(layout),
    }.items():
        write_private(layout.etc / name, ini(sections))
    shutil.copy(layout.venv / "etc/nova/api-paste.ini", layout.etc)
    _heat_environment(layout)


def ini(sections: Sections) -> str:
    """These sections in oslo.config's form."""
    lines: list[str] = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in options.items()), ""]
    return "\n".join(lines)


def _heat_environment(layout: Layout) -> None:
    """Heat's own environment.d, and the lab's AWS::EC2::Instance beside it."""
    shutil.copytree(layout.venv / "etc/heat/environment.d", layout.environment_dir)
    template = shutil.copy(TEMPLATES / "aws_instance.yaml", layout.environment_dir.parent)
    environment = (TEMPLATES / "environment.yaml").read_text()
    (layout.environment_dir / "lab.yaml").write_text(
        environment.replace("aws_instance.yaml", f"file://{template}")
    )


def _auth(layout: Layout, user: str) -> dict[str, object]:
    return {
        "auth_type": "password",
        "auth_url": layout.auth_url,
        "username": user,
        "password": layout.passwords[user],
        "user_domain_id": "default",
    }


def _service_auth(layout: Layout, user: str) -> dict[str, object]:
    return {**_auth(layout, user), "region_name": REGION, **SERVICE_PROJECT}


def _database(layout: Layout, name: str) -> dict[str, object]:
    return {"connection": layout.database_url(name)}


def keystone(layout: Layout) -> Sections:
    """keystone.conf; password hashes are as cheap as bcrypt allows, this is a lab."""
    return {
        "DEFAULT": {"use_stderr": "true"},
        "database": _database(layout, "keystone"),
        "fernet_tokens": {"key_repository": layout.etc / "fernet"},
        "credential": {"key_repository": layout.etc / "credential"},
        # Without a cache every request derives its token's roles anew: ten times slower.
        "cache": {"enabled": "true", "backend": "oslo_cache.dict"},
        "identity": {"password_hash_rounds": 4},
    }


def heat(layout: Layout) -> Sections:
    """heat.conf."""
    cfn = layout.url("heat-cfn")
    return {
        "DEFAULT": {
            "use_stderr": "true",
            "transport_url": "fake://",
            "num_engine_workers": 1,
            "plugin_dirs": layout.plugin_dir,
            "environment_dir": layout.environment_dir,
            "auth_encryption_key": layout.passwords["heat_encryption_key"],
            "stack_user_domain_name": "heat",
            "stack_domain_admin": "heat_domain_admin",
            "stack_domain_admin_password": layout.passwords["heat_domain_admin"],
            "heat_metadata_server_url": cfn,
            "heat_waitcondition_server_url": f"{cfn}/v1/waitcondition",
        },
        "database": _database(layout, "heat"),
        "paste_deploy": {"api_paste_config": layout.venv / "etc/heat/api-paste.ini"},
        "keystone_authtoken": {
            **_service_auth(layout, "heat"),
            "www_authenticate_uri": layout.auth_url,
        },
        "trustee": _auth(layout, "heat"),
        "clients_keystone": {"auth_uri": layout.auth_url},
        # Keystone guards /v3/ec2tokens: without credentials alarm URLs would answer 500.
        "ec2authtoken": _service_auth(layout, "heat"),
    }


def placement(layout: Layout) -> Sections:
    """placement.conf."""
    return {
        "DEFAULT": {"use_stderr": "true"},
        "placement_database": {**_database(layout, "placement"), "sync_on_startup": "true"},
        "keystone_authtoken": _service_auth(layout, "placement"),
    }


def glance(layout: Layout) -> Sections:
    """glance-api.conf: images as files."""
    images = layout.state / "images"
    for part in ("store", "staging", "tasks"):
        (images / part).mkdir(parents=True, exist_ok=True)
    return {
        "DEFAULT": {
            "use_stderr": "true",
            "enabled_backends": "fs:file",
            "enabled_import_methods": "[]",
        },
        "database": _database(layout, "glance"),
        "glance_store": {"default_backend": "fs"},
        "fs": {"filesystem_store_datadir": images / "store"},
        "os_glance_staging_store": {"filesystem_store_datadir": images / "staging"},
        "os_glance_tasks_store": {"filesystem_store_datadir": images / "tasks"},
        "paste_deploy": {
            "flavor": "keystone",
            "config_file": layout.venv / "etc/glance/glance-api-paste.ini",
        },
        "keystone_authtoken": _service_auth(layout, "glance"),
    }


def octavia(layout: Layout) -> Sections:
    """octavia.conf: no amphorae and no networks, see tests/lab/octavia.py."""
    return {
        "DEFAULT": {"use_stderr": "true", "transport_url": "fake://"},
        "api_settings": {
            "auth_strategy": "keystone",
            "enabled_provider_drivers": "lab:reports what tests say",
            "default_provider_driver": "lab",
        },
        "database": _database(layout, "octavia"),
        "controller_worker": {"network_driver": "network_noop_driver"},
        "driver_agent": {
            f"{kind}_socket_path": layout.octavia_socket(kind)
            for kind in ("status", "stats", "get")
        },
        "keystone_authtoken": {
            **_service_auth(layout, "octavia"),
            "www_authenticate_uri": layout.auth_url,
        },
        "service_auth": _service_auth(layout, "octavia"),
    }


def zaqar(layout: Layout) -> Sections:
    """zaqar.conf: all of it in Redis, since the migrations of its SQL store are for MySQL."""
    redis = {"uri": f"redis://{HOST}:{layout.port('zaqar-redis')}/0"}
    return {
        "DEFAULT": {
            "use_stderr": "true",
            "auth_strategy": "keystone",
            "pooling": "false",
            "unreliable": "true",
        },
        "drivers": {"transport": "wsgi", "message_store": "redis", "management_store": "redis"},
        # Without it no subscriber is ever called.
        "storage": {"message_pipeline": "zaqar.notification.notifier"},
        "drivers:management_store:redis": redis,
        "drivers:message_store:redis": redis,
        "keystone_authtoken": {
            **_service_auth(layout, "zaqar"),
            "www_authenticate_uri": layout.auth_url,
        },
    }


def nova(layout: Layout) -> Sections:
    """nova.conf: one host without limits worth mentioning, guests without networks."""
    driver = "fake.MediumFakeDriver" if layout.choices.virt == "fake" else "libvirt.LibvirtDriver"
    state = layout.state / "nova"
    auth = _service_auth(layout, "nova")
    return {
        "DEFAULT": {
            "use_stderr": "true",
            "host": COMPUTE_HOST,
            "my_ip": HOST,
            "transport_url": "fake://",
            "state_path": state,
            "compute_driver": driver,
            "cpu_allocation_ratio": 64,
            "ram_allocation_ratio": 16,
            "disk_allocation_ratio": 64,
            "reserved_host_memory_mb": 0,
            "force_raw_images": "false",
            "resume_guests_state_on_host_boot": "true",
        },
        "api_database": _database(layout, "nova_api"),
        "database": _database(layout, "nova"),
        "keystone_authtoken": auth,
        "placement": auth,
        "neutron": auth,
        "glance": auth,
        "service_user": {**auth, "send_service_user_token": "true"},
        "oslo_concurrency": {"lock_path": state},
        "oslo_messaging_notifications": {"driver": "noop"},
        "vnc": {"enabled": "false"},
        "libvirt": {
            "virt_type": "kvm" if layout.choices.virt == "kvm" else "qemu",
            "connection_uri": layout.libvirt_uri,
            "images_type": "raw",
            "cpu_mode": "none",
            "inject_partition": -2,
        },
        # No sudo: the whole process is root already.
        "nova_sys_admin": {
            "helper_command": f"{layout.venv}/bin/privsep-helper "
            f"--config-file {layout.etc}/nova.conf"
        },
        "scheduler": {"workers": 1},
        "conductor": {"workers": 1},
    }
