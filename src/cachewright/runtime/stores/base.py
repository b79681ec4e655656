"""What the core needs of a store that processes share: bytes by name, and tokens by tag."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


def entry_name(key: str) -> str:
    """The name under which the entry of a logical key is stored, in every tier."""
    return f"e:{key}"


def acceptance_name(credential: str, key: str) -> str:
    """The name under which the acceptance of a credential for a logical key is stored, in every tier."""
    return f"a:{credential}:{key}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What one read found: the bytes of each name, and the tokens of the tags that have one."""

    values: Mapping[str, bytes]
    tokens: Mapping[str, bytes]


class Store(Protocol):
    """A store that processes share. Every method raises `StoreUnavailableError` within a bounded time."""

    @property
    def struggling(self) -> bool:
        """Whether calls have been failing lately, so that repeating one at once is pointless."""

    async def read(self, names: Sequence[str], tags: Sequence[str]) -> Answer:
        """What stands under these names and tags, in one round trip; what is absent is left out."""

    async def mint(self, tags: Collection[str]) -> dict[str, bytes]:
        """Tokens for tags that had none: a new one, or the one that somebody else made meanwhile."""

    async def fill(self, values: Mapping[str, tuple[bytes, float | None]], tags: Collection[str]) -> None:
        """Store bytes with their lifetimes (s, None for the longest), and prolong the tokens of `tags`."""

    async def change(self, tags: Collection[str]) -> int:
        """Give new tokens to the tags that have one, and tell every process; how many had one."""

    async def aclose(self) -> None:
        """Let go of all connections. May be called again."""
