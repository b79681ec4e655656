"""Which server of a cluster holds which slot: read from CLUSTER SLOTS, corrected by MOVED."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from cachewright.runtime.stores.line import Reply

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, order=True)
class Share:
    """The slots `first` to `last` belong to the primary at `address`, which calls itself `node`."""

    first: int
    last: int
    address: Address
    node: bytes


@dataclass(slots=True)
class SlotMap:
    """The owner of every slot, as far as it is known. `shares` are as the cluster told them last."""

    shares: tuple[Share, ...] = ()
    _owners: list[Address | None] = field(default_factory=lambda: _owners(()))

    @property
    def addresses(self) -> set[Address]:
        """Every primary that holds slots."""
        return {share.address for share in self.shares}

    def owner(self, slot: int) -> Address | None:
        """Who holds this slot."""
        return self._owners[slot]

    def moved(self, slot: int, address: Address) -> None:
        """A server said that this slot is elsewhere now."""
        self._owners[slot] = address

    def learn(self, shares: Sequence[Share]) -> tuple[Address, ...] | None:
        """Take what the cluster tells; the owners that lost slots to another, None where nothing is new."""
        told = tuple(sorted(shares))
        if told == self.shares:
            return None
        nodes = {share.address: share.node for share in self.shares}
        before, self._owners = _owners(self.shares), _owners(told)
        lost = {old for old, new in zip(before, self._owners, strict=True) if old is not None and old != new}
        lost |= {share.address for share in told if nodes.get(share.address, share.node) != share.node}
        self.shares = told
        return tuple(sorted(lost))

    def anchors(self) -> tuple[str, ...]:
        """The first number for each primary that, as a hash tag, falls into one of its slots."""
        left, found = self.addresses, []
        for number in range(REDIS_CLUSTER_HASH_SLOTS):
            if not left:
                break
            owner = self._owners[key_slot(str(number).encode())]
            if owner in left:
                left = left - {owner}
                found.append(str(number))
        return tuple(found)


def _owners(shares: Sequence[Share]) -> list[Address | None]:
    owners: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
    for share in shares:
        owners[share.first : share.last + 1] = [share.address] * (share.last - share.first + 1)
    return owners


def shares_of(reply: Reply, host: str) -> list[Share]:
    """The primaries of a reply to CLUSTER SLOTS; `host` is that of the server that gave it."""
    found: list[Share] = []
    for item in reply if isinstance(reply, list) else ():
        match item:
            case [int() as first, int() as last, [name, int() as port, bytes() as node, *_], *_]:
                given = name.decode("utf-8", "replace") if isinstance(name, bytes) else ""
                found.append(Share(first, last, (given if given not in {"", "?"} else host, port), node))
            case _:
                continue
    return found


def redirection(text: str, host: str) -> tuple[int, Address] | None:
    """Slot and address of `MOVED 3999 127.0.0.1:6381` or of ASK, without a host on the same one."""
    _, _, rest = text.partition(" ")
    slot, _, where = rest.partition(" ")
    named, _, port = where.rpartition(":")
    if not (slot.isdigit() and port.isdigit()) or int(slot) >= REDIS_CLUSTER_HASH_SLOTS:
        return None
    return int(slot), (named.strip("[]") or host, int(port))


def by_slot(keys: Sequence[str]) -> list[list[str]]:
    """The keys that one command may name together."""
    slots: dict[int, list[str]] = {}
    for key in dict.fromkeys(keys):
        slots.setdefault(key_slot(key.encode()), []).append(key)
    return list(slots.values())
