"""What the core needs of a store that processes share: bytes by name, and tokens by tag."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from cachewright.runtime.stores.facts import ServerFacts
from cachewright.spec.tags import KEY_TAG


def entry_name(key: str) -> str:
    """The name under which the entry of a logical key is stored, in every tier."""
    return f"e:{key}"


def acceptance_name(credential: str, key: str) -> str:
    """The name under which the acceptance of a credential for a logical key is stored, in every tier."""
    return f"a:{credential}:{key}"


def member_name(place: int) -> str:
    """The name under which the process in this place of a strict namespace says that it holds copies."""
    return f"m:{place}"


def holder_name(place: int, tag: str) -> str:
    """The name under which a transaction in this place holds a tag."""
    return f"o:{place}:{tag}"


def belongs(name: str, key: str) -> bool:
    """Whether what stands under `name` is an entry, an acceptance or a token of `key`, or of one below it."""
    kind, _, rest = name.partition(":")
    match kind:
        case "e":
            own = rest
        case "a":
            own = rest.partition(":")[2]
        case "v":
            own = rest.removeprefix(KEY_TAG)
        case "o":
            own = rest.partition(":")[2].removeprefix(KEY_TAG)
        case _:
            return False
    return own == key or own.startswith(f"{key}:")


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

    @property
    def lines(self) -> tuple[int, int]:
        """How many connections for commands are open, and how many there are when all are: one for each primary."""

    async def read(self, names: Sequence[str], tags: Sequence[str], *, mint: Collection[str] = ()) -> Answer:
        """What stands under these names and tags, in one round trip; what is absent is left out.

        Tokens of `mint`, some of `tags`, are made where they are absent.
        """

    async def mint(self, tags: Collection[str]) -> dict[str, bytes]:
        """Tokens for tags that had none: a new one, or the one that somebody else made meanwhile."""

    async def fill(self, values: Mapping[str, tuple[bytes, float | None]], tags: Collection[str]) -> None:
        """Store bytes with their lifetimes (s, None for the longest), and prolong the tokens of `tags`."""

    async def change(self, tags: Collection[str], *, stamp: Callable[[], bytes] | None = None) -> int:
        """Give new tokens to the tags that have one, and tell every process; how many had one.

        With `stamp` each word of it bears a mark of its own, and whoever hears it says so by `acknowledge`.
        """

    async def acknowledge(self, process: bytes, stamp: bytes) -> None:
        """Tell `process` that its word with this mark was heard here."""

    async def prolong(self, name: str, seconds: float) -> None:
        """Let what stands under `name` live for `seconds` from now; nothing where nothing does."""

    async def claim(self, name: str, value: bytes, seconds: float) -> bytes | None:
        """Put `value` under `name` for `seconds` if nothing stands there; else what does."""

    async def settle(self, name: str, value: bytes | None, seconds: float) -> None:
        """Put `value` there instead, None for nothing, and tell every process that the flight has ended so."""

    async def remove(self, names: Sequence[str]) -> None:
        """Let nothing stand under these names."""

    async def erase(self, key: str) -> int:
        """Remove the entries, acceptances and tokens of this logical key and of those below it; how many."""

    async def facts(self) -> list[ServerFacts]:
        """What each server that holds keys says of itself."""

    async def aclose(self) -> None:
        """Let go of all connections. May be called again."""
