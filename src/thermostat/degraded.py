# SPDX-License-Identifier: Apache-2.0
"""A way to be unwell that others need not know of."""


class Degraded(str):
    """A reason why a part does less than it should, while the server does all else.

    `/healthcheck` shows it and stays 200: nobody is served better by another server.
    """

    __slots__ = ()
