"""Who asks, as the application's own dependencies say it: `identity: {user: "dependency:app.auth.current_user.id"}`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import UUID

from cachewright.capture.context import RequestContext
from cachewright.capture.routes import Route
from cachewright.integrations.recall import Generations
from cachewright.spec.identity import says_who

_MOST = 16_384
_MOST_BYTES = 4 * 1024 * 1024
_OBJECTS = 300


class Principals:
    """The ids that `sources` (`dependency.app.auth.current_user.id`) name, in what dependencies return.

    What a credential came to the last time is remembered, to be expected the next time; nothing rests on it.
    """

    def __init__(self, sources: Iterable[str]) -> None:
        self._sources = tuple(source for source in sources if source.startswith(_DEPENDENCY))
        self._remembered: Generations[Mapping[str, str]] = Generations(items=_MOST, limit=_MOST_BYTES)

    def of(self, returned: Mapping[Any, Any]) -> Mapping[str, str]:
        """The ids in `returned`, which holds what each dependency returned (FastAPI's dependency cache)."""
        found: dict[str, str] = {}
        for source in self._sources:
            said = {
                _id(value, rest)
                for key, value in returned.items()
                if (rest := rest_of(source, key[0])) is not None
            }
            if len(said) == 1 and (only := said.pop()) is not None:
                found[source] = only
        return found

    def remembered(self, credential: str | None) -> Mapping[str, str]:
        """What this credential came to the last time."""
        known = None if credential is None or not self._sources else self._remembered.get(credential.encode())
        return {} if known is None else known

    def remember(self, credential: str | None, found: Mapping[str, str]) -> None:
        """Expect the same of this credential the next time."""
        if credential is not None and found:
            self._remembered.put(credential.encode(), found, _OBJECTS + sum(map(len, found.values())))


_DEPENDENCY = "dependency."


def rest_of(source: str, call: Any) -> str | None:
    """The attributes that `source` names of what `call` returns: `id`, or nothing; None where it is another one."""
    named = call if hasattr(call, "__qualname__") else type(call)
    name = f"{_DEPENDENCY}{named.__module__}.{named.__qualname__}".replace("<locals>.", "")
    if source == name:
        return ""
    return source.removeprefix(f"{name}.") if source.startswith(f"{name}.") else None


def _id(value: Any, path: str) -> str | None:
    """The id at `path` of what a dependency returned. None, True and False are nobody."""
    try:
        for name in path.split(".") if path else ():
            value = value[name] if isinstance(value, Mapping) else getattr(value, name)
    except Exception:  # noqa: BLE001 - attributes are the application's code
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, UUID)) or value == "":
        return None
    return str(value)


def vouched_reads(route: Route, context: RequestContext, sources: Collection[str]) -> frozenset[str]:
    """What the request's principal accounts for, of what was read before the endpoint is called.

    That is what the named dependencies declare, with all they depend on, and carriers of credentials that code
    looked into; a cookie that says nothing of who asks is none of it.
    """
    named = [source for source in sources if source.startswith(_DEPENDENCY)]
    if not named:
        return frozenset()
    below = route.reads_below(lambda call: any(rest_of(source, call) is not None for source in named))
    return below | says_who(context.reads | context.outer_reads, route.credentials)
