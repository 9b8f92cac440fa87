# SPDX-License-Identifier: Apache-2.0
"""A trust around the writing of an alarm: made before it, and taken back if it fails."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import falcon
from oslo_context.context import RequestContext

from thermostat.trusts import TrustError, TrustRefused, Trusts

LOG = logging.getLogger(__name__)


@contextmanager
def ensured_trust(trusts: Trusts, context: RequestContext, *, wanted: bool) -> Iterator[str | None]:
    """Give the id of a new trust, or None if none is wanted; delete it if the block fails."""
    if not wanted:
        yield None
        return
    trust_id = _create(trusts, context)
    try:
        yield trust_id
    except BaseException:
        try:
            trusts.abandon(context, trust_id)
        except TrustError as error:
            LOG.warning("A trust of user %s that nothing uses is left: %s", context.user_id, error)
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
