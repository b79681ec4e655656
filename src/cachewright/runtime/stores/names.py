"""Under which names things stand on a server: namespace, version, hash tag, and the readable logical name."""

from __future__ import annotations

import re
from dataclasses import dataclass

from cachewright.runtime.settings import Colocate
from cachewright.spec.tags import KEY_TAG, NAMESPACE_TAG

#: The version of keys, frames and messages; processes of different versions never meet.
SCHEMA = 1

_TENANT = re.compile(r"tenant:[^:]*(?=:|$)")
_OWNER = re.compile(r"(?:tenant:[^:]*:)?(?:user|cred):[^:]*(?=:|$)")
_HASHED = re.compile(r"\{[^{}]*\}:")


def permanent(tag: str) -> bool:
    """Whether the token of `tag` has no end: namespace, targets, tables; a specification names all of them."""
    if tag == NAMESPACE_TAG or tag.startswith("target:"):
        return True
    return ":" not in tag and "(" not in tag


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one namespace.

    Where keys are `spread` over servers, a hash tag keeps together what is asked together: the tokens that every
    lookup asks for, and what belongs to one user or, by `colocate`, to one tenant.
    """

    namespace: str
    spread: bool
    colocate: Colocate

    @property
    def prefix(self) -> str:
        """What all of them begin with."""
        return f"{self.namespace}:{SCHEMA}:"

    @property
    def channel(self) -> str:
        """The channel of the bus."""
        return f"{self.prefix}bus"

    def channel_of(self, origin: bytes) -> str:
        """The channel of what is said to the process `origin` alone."""
        return f"{self.channel}:{origin.hex()}"

    def place(self, name: str) -> str:
        """Where the record `name` stands."""
        if not self.spread:
            return f"{self.namespace}:{SCHEMA}:{name}"
        return f"{self.namespace}:{SCHEMA}:{{{self._group(name)}}}:{name}"

    def token(self, tag: str) -> str:
        """Where the token of `tag` stands."""
        return self.place(f"v:{tag}")

    def beat(self, anchor: str, origin: bytes) -> str:
        """Where the process `origin` counts up on the server that holds the slot of `anchor`."""
        return f"{self.prefix}{{{anchor}}}:h:{origin.hex()}" if anchor else f"{self.prefix}h:{origin.hex()}"

    def name(self, place: str) -> str:
        """The record that stands there."""
        name = place.removeprefix(self.prefix)
        hashed = _HASHED.match(name) if self.spread else None
        return name[hashed.end() :] if hashed else name

    def _group(self, name: str) -> str:
        kind, _, rest = name.partition(":")
        if kind == "m":
            return _braceless(self.namespace)
        if kind == "o":
            kind, rest = "v", rest.partition(":")[2]
        if kind == "v":
            if permanent(rest):
                return _braceless(self.namespace)
            rest = rest.removeprefix(KEY_TAG)
        elif kind == "a":
            rest = rest.partition(":")[2]
        found = None
        if self.colocate == "tenant":
            found = _TENANT.match(rest)
        if found is None and self.colocate != "none":
            found = _OWNER.match(rest)
        return _braceless(found.group() if found is not None else rest)


def _braceless(text: str) -> str:
    return text.replace("{", "%7B").replace("}", "%7D") or "-"
