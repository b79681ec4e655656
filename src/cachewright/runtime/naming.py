"""Keys, tags, lifetimes and patterns as callers write them: checked, and made safe to store under.

A key is any text. What could be taken for a wildcard, a hash tag, a blank or a control character by a server
or an operator is written as `%~XX`, byte by byte; keys that were rendered from a pattern need none of that and
stay as they are. Different keys never meet.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection
from dataclasses import dataclass

from cachewright.errors import UsageError
from cachewright.spec.keys import KeyPatternError, KeyTemplate, encode
from cachewright.spec.tags import KEY_TAG, NAMESPACE_TAG

#: The most characters of a key or tag; what is longer keeps its head and ends in a digest.
LONGEST = 512
_HEAD = 400
_PLAIN = re.compile(r"[!-)+->@-Z^-z|~]+\Z")
_NEVER_RAW = frozenset("*?[]{}\\ ")
_SCOPES = ("tenant", "user")


@dataclass(frozen=True, slots=True)
class Name:
    """A key as the tiers hold it: the tags that follow from it, and whom its leading segments name."""

    key: str
    tags: tuple[str, ...]
    tenant: str | None
    user: str | None

    @property
    def tag(self) -> str:
        """The tag of this very key, which `set` and `delete` change."""
        return self.tags[1]

    @property
    def scoped(self) -> bool:
        """Whether it is somebody's."""
        return self.tenant is not None or self.user is not None


def name_of(key: str) -> Name:
    """What `key` stands for. Raises `UsageError` where it is no text, empty, or names nobody (`user::tasks`)."""
    own = safe(key, "key")
    tenant, user, prefixes = _scopes(own)
    return Name(own, tuple(dict.fromkeys((NAMESPACE_TAG, key_tag(own), *prefixes))), tenant, user)


def key_tag(key: str) -> str:
    """The tag that only the entry of this (safe) key holds."""
    return f"{KEY_TAG}{key}"


def key(pattern: str, /, **values: object) -> str:
    """The key of `pattern` for these values, such as `key("perm:{tenant}:{user}", tenant="a", user=7)`.

    Values cannot reach out of their place: `a:b` is not two of them, and `1`, `"1"`, `True` and None all
    differ. Raises `UsageError` for a value that has no place in a key, naming it.
    """
    try:
        template = KeyTemplate.parse(pattern)
    except KeyPatternError as error:
        raise UsageError(f"the key pattern {pattern!r}: {error}") from None
    missing = [name for name in template.fields if name not in values]
    if missing:
        raise UsageError(f"the key pattern {pattern!r} has no value for {', '.join(missing)}")
    try:
        return template.render(values, text=False)
    except TypeError as error:
        raise UsageError(f"the key pattern {pattern!r}: {error}") from None


def safe(text: object, what: str) -> str:
    """`text` without anything a server, a cluster or a pattern could take for its own; injective."""
    if not isinstance(text, str):
        raise UsageError(
            f"a {what} is a text, not a {type(text).__name__}",
            hint="render values into it with cachewright.key(pattern, name=value)",
        )
    if not text:
        raise UsageError(f"a {what} cannot be empty", hint="as in user:7:profile")
    if len(text) <= LONGEST and "%~" not in text and (_PLAIN.match(text) or _harmless(text)):
        return text
    spelt = "%~25~".join("".join(map(_spelt, part)) for part in text.split("%~"))
    if len(spelt) <= LONGEST:
        return spelt
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{spelt[:_HEAD]}%~h{digest}"


def _harmless(text: str) -> bool:
    return text.isprintable() and _NEVER_RAW.isdisjoint(text)


def _spelt(character: str) -> str:
    if character not in _NEVER_RAW and character.isprintable():
        return character
    return "".join(f"%~{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _scopes(key: str) -> tuple[str | None, str | None, list[str]]:
    """Tenant and user that a key begins with, and its leading segments up to its resource."""
    named: dict[str, str] = {}
    prefixes: list[str] = []
    segments = key.split(":")
    at = 0
    while at + 1 < len(segments) and segments[at] in _SCOPES and segments[at] not in named:
        if not segments[at + 1]:
            raise UsageError(f"the key {key!r} names no {segments[at]}", hint="an id is missing in it")
        named[segments[at]] = segments[at + 1]
        at += 2
        prefixes.append(":".join(segments[:at]))
    if prefixes and at < len(segments):
        prefixes.append(":".join(segments[: at + 1]))
    return named.get("tenant"), named.get("user"), prefixes


def tags_of(tags: Collection[str]) -> tuple[str, ...]:
    """`tags`, each of them checked. Raises `UsageError`."""
    if not tags:
        return ()
    if isinstance(tags, str):
        raise UsageError("tags are several texts, not one", hint=f"write tags=({tags!r},)")
    return tuple(dict.fromkeys(safe(tag, "tag") for tag in tags))


def lifetime(ttl: object) -> float | None:
    """`ttl` (s) as a lifetime, None for no expiry. Raises `UsageError` for what is none, zero included (C22)."""
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, (int, float)) or not math.isfinite(ttl) or ttl <= 0:
        raise UsageError(
            f"a TTL is a number of seconds over 0, not {ttl!r}", hint="None is for entries without expiry"
        )
    return float(ttl)


def collection(pattern: str) -> Name:
    """The entries that `pattern` names: a tenant's, a user's, or a resource's under one of them, as a tag.

    `tenant:a:*`, `tenant:a:user:1:*`, `user:1:tasks:*`: scopes, at most one resource, and `:*` at the end.
    Raises `UsageError` for every other shape.
    """
    if not isinstance(pattern, str) or not pattern.endswith(":*"):
        raise _no_collection(pattern)
    whole = pattern[:-2]
    if not whole or safe(whole, "pattern") != whole:
        raise _no_collection(pattern)
    tenant, user, prefixes = _scopes(whole)
    if whole not in prefixes:
        raise _no_collection(pattern)
    return Name(whole, (NAMESPACE_TAG, whole), tenant, user)


def _no_collection(pattern: object) -> UsageError:
    return UsageError(
        f"{pattern!r} names no collection that can be invalidated in one step",
        hint="write tenant:ID:*, user:ID:*, or one of them with a resource (user:ID:tasks:*); for anything else "
        "give the entries a tag and invalidate that",
    )


def identity(value: object, what: str) -> str:
    """The id of a tenant or user as it stands in keys. Raises `UsageError` where it is none."""
    text = str(value)
    if value is None or isinstance(value, bool) or not text:
        raise UsageError(f"{value!r} is no id of a {what}")
    return encode(text, text=True)
