"""Functions whose results are cached: `async def` and `def`, with their signatures kept."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar, cast

from cachewright.errors import UsageError
from cachewright.runtime.access import Access, Asked
from cachewright.runtime.callkeys import CallKey
from cachewright.runtime.home import Home, Unreachable, on_loop
from cachewright.runtime.loads import Unset
from cachewright.runtime.missing import MISSING, Missing
from cachewright.runtime.options import Specified
from cachewright.runtime.typed import Typed
from cachewright.spec.keys import UnboundFieldError
from cachewright.spec.semantics import Policy, Reason

P = ParamSpec("P")
T = TypeVar("T")

#: The attribute under which a decorated function keeps what `Cache.key_of` needs.
_CALLS = "__cachewright_calls__"
_REMEMBERED = 1024


def decorate(
    function: Callable[P, T], own: Specified, type_: Any, access: Access, home: Home
) -> Callable[P, T]:
    """`function`, its results cached as `own` says. Raises `UsageError`, `ValueRefusedError`."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"{function.__qualname__} yields its results, and an iterator cannot be cached",
            hint="return a list",
        )
    keys = CallKey(function, own.key, own.tags)
    if isinstance(type_, Unset):
        type_ = _returned(keys.signature)
    target = own.name or f"{function.__module__}.{function.__qualname__}"
    calls = Calls(keys, own.options.policy(own.ttl), access.codec(type_), target, access, on=own.on)
    wrapper = (
        _awaited(function, calls, home)
        if inspect.iscoroutinefunction(function)
        else _direct(function, calls, home)
    )
    functools.update_wrapper(wrapper, function)
    wrapper.__signature__ = keys.signature  # type: ignore[attr-defined] # inspect reads it, FastAPI through it
    setattr(wrapper, _CALLS, calls)
    return cast("Callable[P, T]", wrapper)


@dataclass(frozen=True, slots=True)
class Calls:
    """The calls of one function, as questions to the cache."""

    keys: CallKey
    policy: Policy
    codec: Typed[Any]
    target: str
    access: Access
    on: bool
    _asked: dict[tuple[Any, ...], Asked] = field(default_factory=dict, init=False)

    def asked(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Asked | None:
        """The question of one call, None where it has no key: nothing is shared then (G2)."""
        place = self.keys.place(args, kwargs)
        asked = None if place is None else self._asked.get(place)
        if asked is not None:
            self.access.admit(asked.name)
            return asked
        try:
            key, tags = self.keys.bind(args, kwargs)
        except UnboundFieldError:
            self.access.bypassed(self.target, Reason.UNBOUND_KEY)
            return None
        if not self.on:
            self.access.bypassed(self.target, Reason.OFF)
            return None
        asked = self.access.asked(key, tags, self.target)
        if place is not None:
            if len(self._asked) >= _REMEMBERED:
                self._asked.clear()
            self._asked[place] = asked
        return asked

    def load(self, asked: Asked, load: Callable[[], Awaitable[Any]]) -> Awaitable[Any]:
        """The value, or what `load` brings. A function that is lent something by its caller does not outlive him."""
        return self.access.load(asked, self.policy, self.codec, load, beside=self.keys.covers)

    def peek(self, asked: Asked) -> Any | Missing:
        """What may be answered at once."""
        if self.policy.soft_ttl is not None or self.policy.early:
            return MISSING
        return self.access.peek(asked, self.codec)


def _awaited(function: Callable[..., Any], calls: Calls, home: Home) -> Callable[..., Any]:
    async def cached(*args: Any, **kwargs: Any) -> Any:
        asked = calls.asked(args, kwargs)
        if asked is None:
            return await function(*args, **kwargs)
        found = calls.peek(asked)
        if found is not MISSING:
            return found
        return await home.run_loading(
            lambda ask: calls.load(asked, ask),
            lambda: function(*args, **kwargs),
        )

    return cached


def _direct(function: Callable[..., Any], calls: Calls, home: Home) -> Callable[..., Any]:
    def cached(*args: Any, **kwargs: Any) -> Any:
        asked = calls.asked(args, kwargs)
        if asked is None:
            return function(*args, **kwargs)
        found = calls.peek(asked)
        if found is not MISSING:
            return found
        if on_loop():
            calls.access.bypassed(calls.target, Reason.ON_LOOP)
            return function(*args, **kwargs)
        try:
            return home.call_loading(
                lambda ask: calls.load(asked, ask),
                lambda: function(*args, **kwargs),
            )
        except Unreachable:
            calls.access.bypassed(calls.target, Reason.NO_STORE)
            return function(*args, **kwargs)

    return cached


def calls_of(function: Callable[..., Any]) -> Calls:
    """What `decorate` made of a function. Raises `UsageError` where it did not."""
    found = getattr(function, _CALLS, None)
    if not isinstance(found, Calls):
        raise UsageError(
            f"{function!r} is no function that a cache decorates", hint="use @cache.cached() on it"
        )
    return found


def _returned(signature: inspect.Signature) -> Any:
    """The type of results, Any where it is not said or cannot be evaluated."""
    said = signature.return_annotation
    return Any if said is signature.empty or said is None or isinstance(said, str) else said
