# SPDX-License-Identifier: Apache-2.0
"""Keystone's contents: users, projects, roles, Heat's domain, the service catalogue."""

from typing import TYPE_CHECKING

from tests.lab.layout import PEOPLE, REGION, SERVICE_USERS, Layout

if TYPE_CHECKING:
    from openstack.connection import Connection

ENDPOINTS = {
    "heat": ("orchestration", "/v1/%(project_id)s"),
    "heat-cfn": ("cloudformation", "/v1"),
    "nova": ("compute", "/v2.1"),
    "placement": ("placement", ""),
    "glance": ("image", ""),
    "neutron": ("network", ""),
}


def add_service(layout: Layout, admin: "Connection", name: str, service_type: str) -> None:
    """Put a service's user and its place in the catalogue into Keystone, if they are not there."""
    identity = admin.identity
    if identity.find_user(name) is None:
        project = identity.find_project("service")
        user = identity.create_user(name=name, password=layout.passwords[name], domain_id="default")
        for role in ("admin", "service"):
            identity.assign_project_role_to_user(project, user, identity.find_role(role))
    if identity.find_service(name) is None:
        service = identity.create_service(name=name, type=service_type)
        for interface in ("public", "internal"):
            identity.create_endpoint(
                service_id=service.id,
                interface=interface,
                url=layout.url(name),
                region_id=REGION,
            )


def remove_service(admin: "Connection", name: str) -> None:
    """Take a service out of the catalogue."""
    service = admin.identity.find_service(name)
    if service is not None:
        admin.identity.delete_service(service)


def fill(layout: Layout, admin: "Connection") -> None:
    """Create everything that is not there from Keystone's own bootstrap."""
    identity = admin.identity
    roles = {role.name: role for role in identity.roles()}
    for name in ("heat_stack_owner", "heat_stack_user"):
        roles[name] = identity.create_role(name=name)

    def user_with(name: str, project: object, *role_names: str) -> None:
        user = identity.create_user(name=name, password=layout.passwords[name], domain_id="default")
        for role in role_names:
            identity.assign_project_role_to_user(project, user, roles[role])

    services = identity.create_project(name="service", domain_id="default")
    for name in SERVICE_USERS:
        user_with(name, services, "admin", "service")
    for name, project_name in PEOPLE.items():
        if name != "admin":
            project = identity.create_project(name=project_name, domain_id="default")
            user_with(name, project, "member", "heat_stack_owner")

    domain = identity.create_domain(name="heat")
    domain_admin = identity.create_user(
        name="heat_domain_admin",
        password=layout.passwords["heat_domain_admin"],
        domain_id=domain.id,
    )
    identity.assign_domain_role_to_user(domain, domain_admin, roles["admin"])

    for name, (kind, path) in ENDPOINTS.items():
        service = identity.create_service(name=name, type=kind)
        for interface in ("public", "internal"):
            identity.create_endpoint(
                service_id=service.id,
                interface=interface,
                url=layout.url(name, path),
                region_id=REGION,
            )
