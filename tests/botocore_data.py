"""What botocore derives from the descriptions of AWS's APIs, kept for the whole process.

The service makes one session in its life, and few clients; a test makes new ones for each run. Each would read and
prepare the same descriptions, which is most of what a short run computes. What is kept depends on nothing else: no
client, connection, credentials or handler is shared.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from botocore import client, endpoint_provider, hooks, session

if TYPE_CHECKING:
    from collections.abc import Callable


def keep() -> None:
    """Have botocore keep them from now on."""
    session.create_loader = functools.cache(session.create_loader)
    hooks.accepts_kwargs = _by_code(hooks.accepts_kwargs)
    hooks.EventAliaser.__init__ = _with_names(hooks.EventAliaser.__init__)
    endpoint_provider.RuleSet = _by_rules(endpoint_provider.RuleSet)
    client.ClientCreator._load_service_model = _by_service(client.ClientCreator._load_service_model)
    client.ClientCreator._create_client_class = _by_service(client.ClientCreator._create_client_class)


def _by_code(accepts_kwargs: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Whether a handler takes any keyword is a matter of its code; bound methods are new objects each time."""
    known: dict[Any, Any] = {}

    def look(handler: Any) -> Any:
        code = getattr(handler, "__code__", None)
        if code is None:
            return accepts_kwargs(handler)
        if code not in known:
            known[code] = accepts_kwargs(handler)
        return known[code]

    return look


def _with_names(make: Callable[..., None]) -> Callable[..., None]:
    """A name of an event always has the same alias."""
    names: dict[str, str] = {}

    def make_with_names(self: Any, event_emitter: Any, event_aliases: Any = None) -> None:
        make(self, event_emitter, event_aliases)
        if event_aliases is None:
            self._alias_name_cache = names

    return make_with_names


def _by_rules(rule_set: Callable[..., Any]) -> Callable[..., Any]:
    """The loader, which is one, gives the same rules of a service each time."""
    known: dict[int, tuple[Any, Any, Any]] = {}

    def look(*, rules: Any, partitions: Any, **rest: Any) -> Any:
        found = known.get(id(rules))
        if found is None or found[0] is not rules or found[1] is not partitions:
            found = known[id(rules)] = (rules, partitions, rule_set(rules=rules, partitions=partitions, **rest))
        return found[2]

    return look


def _by_service(make: Callable[..., Any]) -> Callable[..., Any]:
    """What is made of a service's description, and of that of one of its versions, is the same for every client."""
    known: dict[tuple[Any, ...], Any] = {}

    def look(self: Any, *service: Any) -> Any:
        if service not in known:
            known[service] = make(self, *service)
        return known[service]

    return look
