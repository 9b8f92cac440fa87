# SPDX-License-Identifier: Apache-2.0
"""A trust around the writing of an alarm: made before it, and taken back if it fails."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import falcon
from oslo_context.context import RequestContext

from thermostat.api.services import Services
from thermostat.trusts import TrustError, TrustRefused, Trusts

LOG = logging.getLogger(__name__)
GRACE_US = 3_600_000_000
"""A trust that no alarm has got for so long is deleted: its request ended with the server."""


@contextmanager
def ensured_trust(
    services: Services, context: RequestContext, *, wanted: bool
) -> Iterator[str | None]:
    """Give the id of a new trust, or None if none is wanted; delete it if the block fails.

    The block's writing of the alarm takes it off the list of trusts to be deleted.
    """
    if not wanted:
        yield None
        return
    trust_id = _create(services.trusts, context)
    try:
        services.retired_trusts.add(trust_id, services.now_us() + GRACE_US)
        yield trust_id
    except BaseException:
        _take_back(services, context, trust_id)
        raise


def _create(trusts: Trusts, context: RequestContext) -> str:
    try:
        return trusts.create(context)
    except TrustRefused as error:
        raise falcon.HTTPForbidden(
            description=f"A trust+ action needs a Keystone trust, but {error}"
        ) from error
    except TrustError as error:
        raise falcon.HTTPServiceUnavailable(
            description=f"A trust+ action needs a Keystone trust, but {error}"
        ) from error


def _take_back(services: Services, context: RequestContext, trust_id: str) -> None:
    """Delete a trust; where that fails now, it is deleted when its time has come."""
    try:
        services.trusts.abandon(context, trust_id)
        services.retired_trusts.forget(trust_id)
    except Exception:  # what made it useless is raised, and not this
        LOG.warning(
            "A new trust of user %s that nothing uses is deleted later",
            context.user_id,
            exc_info=True,
        )
