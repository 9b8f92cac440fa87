# SPDX-License-Identifier: Apache-2.0
"""Requests to services that are found in the catalogue; what goes wrong is a DeliveryFailed."""

import math
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from keystoneauth1 import exceptions
from keystoneauth1.adapter import Adapter

from thermostat.notify.transports.base import DeliveryFailed
from thermostat.notify.transports.http import retry_after_s


@dataclass(frozen=True, slots=True)
class Service:
    """A service in the name of whoever the client's token is of."""

    name: str
    """What reasons call it."""
    client: Adapter
    timeouts_s: tuple[float, float]
    """For the connection and for the answer."""
    final: Collection[int]
    """Answers that another attempt would not change."""
    ends_s: float = math.inf
    """When the attempt is over, by the monotonic clock."""
    whose_token: str = "the alarm's trust"  # noqa: S105 - a phrase for reasons

    def call(self, method: str, path: str, *, fine: Collection[int] = (), **arguments: Any) -> Any:
        """Give the answer if its status is below 400, or one of the `fine` ones."""
        try:
            answer = self.client.request(
                path,
                method,
                timeout=self._time_left(),
                redirect=False,
                log=False,  # its log would have the token
                **arguments,
            )
        except exceptions.HttpError as error:
            raise DeliveryFailed(
                f"no token for {self.whose_token}: Keystone answered {error.http_status}"
            ) from None
        except exceptions.CatalogException:
            raise DeliveryFailed(f"the catalogue has no endpoint of {self.name}") from None
        except exceptions.ConnectTimeout:
            raise DeliveryFailed(f"no answer of {self.name} in time") from None
        except exceptions.ClientException as error:
            raise DeliveryFailed(
                f"{self.name} cannot be reached ({type(error).__name__})"
            ) from None
        status = answer.status_code
        if status < 400 or status in fine:
            return answer
        raise DeliveryFailed(
            f"{self.name} answered {status}",
            retry_after_s=retry_after_s(answer.headers.get("Retry-After")),
            final=status in self.final,
        )

    def _time_left(self) -> tuple[float, float]:
        """Give the timeouts, which end with the attempt."""
        left_s = self.ends_s - time.monotonic()
        if left_s <= 0:
            raise DeliveryFailed(f"{self.name} was too slow for one attempt")
        connect_s, answer_s = self.timeouts_s
        return min(connect_s, left_s), min(answer_s, left_s)
