"""Eviction as the textbook has it: slow, plain, and what the real orders are compared with."""

import math
from dataclasses import dataclass, field


@dataclass
class Held:
    value: object
    end: float | None
    came: int
    used: int
    rank: int


@dataclass
class Reference:
    """A dict with room for `room` items, which asks `policy` who leaves."""

    policy: str
    room: int
    items: dict[str, Held] = field(default_factory=dict)
    turn: int = 0
    age: int = 0

    def get(self, name):
        held = self.items.get(name)
        if held is None:
            return None
        self.turn += 1
        held.used = self.turn
        held.rank += 1
        return held.value

    def put(self, name, value, end):
        self.turn += 1
        held = self.items.get(name)
        if held is not None:
            held.value, held.end, held.came, held.used = value, end, self.turn, self.turn
            held.rank += 1
            return
        if len(self.items) >= self.room:
            gone = min(self.items, key=lambda one: self.order(self.items[one]))
            self.age = self.items.pop(gone).rank
        self.items[name] = Held(value, end, self.turn, self.turn, self.age + 1)

    def discard(self, name):
        self.items.pop(name, None)

    def order(self, held):
        match self.policy:
            case "lru":
                return (held.used,)
            case "fifo":
                return (held.came,)
            case "lfu":
                return (held.rank, held.used)
            case "ttl":
                return (math.inf if held.end is None else held.end, held.came)
