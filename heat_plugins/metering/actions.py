# SPDX-License-Identifier: Apache-2.0
"""The actions of an alarm: URLs, or the names of resources that have one.

An action names a resource by its name in the template, or by its reference (`Ref`,
`get_resource`). The resource's URL is its attribute `AlarmUrl` or `alarm_url`.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from heat.engine import function
from heat.engine.hot import functions

URL_ATTRIBUTES = ("AlarmUrl", "alarm_url")
"""What scaling policies call their pre-signed URL: the AWS one, then OS::Heat::ScalingPolicy."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_NEEDS_HOST = re.compile(r"(trust\+)?https?://", re.IGNORECASE)


def written(raw: Any) -> Iterator[str]:
    """Give the actions that the template states before any resource exists.

    `raw` is the property with its functions unresolved. Actions made from a resource's attributes
    or reference are left out: their values come later.
    """
    if isinstance(raw, function.Function | function.Macro):
        raw = None if depends_on_resources(raw) else function.resolve(raw)
    for item in raw if isinstance(raw, list) else ():
        if depends_on_resources(item):
            continue
        action = function.resolve(item)
        if isinstance(action, str) and action:
            yield action


def referenced(stack: Any, raw: Any) -> Any:
    """Give the resource of the stack that `get_resource` or `Ref` names; None: it is neither."""
    if isinstance(raw, function.Macro):
        raw = raw.parsed
    if not isinstance(raw, functions.GetResource):
        return None
    *_others, target = raw.dependencies("")
    return stack[target.name]


def depends_on_resources(raw: Any) -> bool:
    """Tell whether a value's functions need a resource of the stack."""
    return any(True for _ in function.dependencies(raw))


def is_url(action: str) -> bool:
    """Tell a URL from a name."""
    return bool(_URL.match(action))


def check(stack: Any, action: str) -> None:
    """Raise ValueError, which says why, if this action cannot work."""
    if not is_url(action):
        _target(stack, action)
    elif _NEEDS_HOST.match(action) and not _host_of(action):
        raise ValueError("its URL names no host")


def _host_of(action: str) -> str | None:
    try:
        return urlsplit(action).hostname
    except ValueError:
        return None


def url(stack: Any, action: str) -> str:
    """Give the URL to call for an action; ValueError says why there is none."""
    if is_url(action):
        return action
    target, attribute = _target(stack, action)
    found = _read(stack, target, attribute)
    if not found:
        raise ValueError(f'resource "{action}" ({target.type()}) has no URL yet')
    return str(found)


def _read(stack: Any, target: Any, attribute: str) -> Any:
    """Give the attribute of another resource of the stack; None: it does not exist yet."""
    if not stack.in_convergence_check:
        return target.FnGetAtt(attribute)
    if target.id is None:
        return None
    # While Heat works on one resource it knows of the others only what the template's functions
    # read, so what a mere name refers to must be loaded. The stack lives as long as its name here.
    loaded, _definition, _stack = target.load(
        stack.context, target.id, stack.current_traversal, True, {}
    )
    return loaded.FnGetAtt(attribute)


def _target(stack: Any, action: str) -> tuple[Any, str]:
    """Give the resource that an action names, and the name of the attribute that is its URL."""
    target = stack[action] if action in stack else stack.resource_by_refid(action)
    if target is None:
        raise ValueError(f'"{action}" is neither a URL nor the name of a resource in this stack')
    return target, url_attribute(target)


def url_attribute(target: Any) -> str:
    """Give the name of the attribute that is a resource's URL. Raises ValueError."""
    for attribute in URL_ATTRIBUTES:
        if attribute in target.attributes_schema:
            return attribute
    missing = " nor ".join(URL_ATTRIBUTES)
    raise ValueError(f'resource "{target.name}" ({target.type()}) has neither attribute {missing}')
