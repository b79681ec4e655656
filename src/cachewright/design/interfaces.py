"""The interfaces of a design as text: names, parameters, keys. No body; what executes them is the runtime."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator

from cachewright.spec.keys import KeyTemplate
from cachewright.spec.model import CachingSpecification
from cachewright.spec.target import target_name

_HEAD = '''\
"""Interfaces of the cache `{namespace}`. Text for people to read: nothing here runs.

What implements them is `cachewright.Cache.from_spec(...)`; `cachewright.install(app, "caching.yaml")` caches endpoints.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol


class CacheService(Protocol):
    """What a cache can be asked for. A miss is `cachewright.MISSING`, which a cached None is not."""

    async def get(self, key: str) -> Any: ...
    async def set(self, key: str, value: Any, ttl: float | None = ...) -> None: ...
    async def delete(self, key: str) -> int: ...
    async def get_many(self, keys: Sequence[str]) -> Mapping[str, Any]: ...
    async def set_many(self, values: Mapping[str, Any], ttl: float | None = ...) -> None: ...
    async def get_or_load(self, key: str, load: Callable[[], Awaitable[Any]]) -> Any: ...
    async def invalidate_pattern(self, pattern: str) -> int: ...
    async def invalidate_all(self) -> int: ...
    async def get_stats(self) -> Any: ...
    async def health(self) -> Any: ...


def cached(ttl_seconds: int = {ttl}) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Cache what a function returns, by its arguments."""
    ...


def generate_cache_key(resource_type: str, user_id: str, resource_id: str) -> str:
    """`{key}`; what structures a key is escaped in values."""
    ...
'''
#: The key of one resource of one user, as the request spells it.
RESOURCE_KEY = "resource:{resource_type}:user:{user_id}:id:{resource_id}"


def interfaces(spec: CachingSpecification) -> str:
    """The interfaces that `spec` describes, as the text of a Python module without any body."""
    ttl = spec.cache_strategy.ttl.duration_seconds or 300
    head = (
        _HEAD.replace("{namespace}", spec.namespace).replace("{ttl}", str(ttl)).replace("{key}", RESOURCE_KEY)
    )
    return "\n\n".join([head, *_keys(spec)]).rstrip() + "\n"


def _keys(spec: CachingSpecification) -> Iterator[str]:
    """The signature of each target's key."""
    taken: set[str] = set()
    for target in spec.cache_targets:
        pattern = target.cache_key_pattern
        if pattern is None:
            continue
        name = _name(f"key_of_{target_name(target)}", taken)
        fields = dict.fromkeys(_name(field, set()) for field in KeyTemplate.parse(pattern).fields)
        given = f"*, {', '.join(f'{field}: object' for field in fields)}" if fields else ""
        yield f'def {name}({given}) -> str:\n    """{_quoted(pattern)}"""\n    ...\n'


def _name(text: str, taken: set[str]) -> str:
    """`text` as a name of Python that is none of those `taken`."""
    bare = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_").lower() or "field"
    bare = f"_{bare}" if bare[0].isdigit() or keyword.iskeyword(bare) else bare
    name, number = bare, 2
    while name in taken:
        name, number = f"{bare}_{number}", number + 1
    taken.add(name)
    return name


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
