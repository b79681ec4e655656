"""Every order in which the steps of readers, writers and the bus can happen, on a store of one tag and one entry.

Decisions are the real ones (`semantics.decide`, `LocalTokens`); the store, the database and time are a few numbers. That
each model can fail is shown too: with one step elsewhere it does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import pytest
from tests.runtime.driving import POLICY

from cachewright.runtime.tokens import LocalTokens
from cachewright.spec.semantics import EntryMeta, Seen, Serve, decide

TAG = "rows"
CRASH = "crash"


def served(entry, token, *, held=False) -> bool:
    """Whether the entry (its token and its value) is served while the tag carries this token."""
    meta = None if entry is None else EntryMeta(0.0, None, {TAG: entry[0]})
    return isinstance(decide(POLICY, Seen(meta, {TAG: token}, (TAG,), held=held), 1.0), Serve)


# Readers and writers of one store: all states that can be reached.


@dataclass(frozen=True)
class World:
    """What is shared, and how far everybody is.

    A reader: its step, the token it read, the value it loaded, whether it may fill, and what it has to show at least.
    A writer: its step, and what it has committed.
    """

    database: int = 0
    token: int = 0
    entry: tuple[int, int] | None = None
    holders: frozenset[int] = frozenset()
    due: int = 0
    readers: tuple[tuple[int, int, int, bool, int], ...] = ()
    writers: tuple[tuple[int, int], ...] = ()
    crashed: frozenset[int] = frozenset()


READS = ("look", "holder", "load", "fill")
PLAIN = ("commit", "token", "return")
SAFE = ("hold", "token", "commit and return", "token", "release")


def reads(world: World, at: int, order: tuple[str, ...]) -> Iterator[World]:
    """The next step of a reader. Raises AssertionError where it serves what it must not."""
    step, token, value, fill, due = world.readers[at]
    if step > len(order) + order.index("look"):  # one round, and the look of another
        return
    following, changes = step + 1, {}
    match order[step % len(order)]:
        case "look":
            token, due, fill = world.token, world.due, True
            if served(world.entry, token):
                assert world.entry[1] >= due, "stale"
                following = step + len(order) - order.index("look")
        case "holder":
            fill = not world.holders
        case "load":
            value = world.database
        case "fill":
            if fill:
                changes["entry"] = (token, value)
    mine = (following, token, value, fill, due)
    yield replace(world, readers=(*world.readers[:at], mine, *world.readers[at + 1 :]), **changes)


def writes(world: World, at: int, order: tuple[str, ...], *, crashes: bool) -> Iterator[World]:
    """The next step of a writer; where it may crash, its end instead; once it did, the end of its hold."""
    step, committed = world.writers[at]
    if at in world.crashed:
        if at in world.holders:
            yield replace(world, holders=world.holders - {at})
        return
    if step == len(order):
        return
    changes = {}
    match order[step]:
        case "hold":
            changes["holders"] = world.holders | {at}
        case "token":
            changes["token"] = world.token + 1
        case "commit":
            changes["database"] = committed = world.database + 1
        case "return":
            changes["due"] = max(world.due, committed)
        case "commit and return":
            changes["database"] = changes["due"] = world.database + 1
        case "release":
            changes["holders"] = world.holders - {at}
    yield replace(
        world, writers=(*world.writers[:at], (step + 1, committed), *world.writers[at + 1 :]), **changes
    )
    if crashes and order[:step].count("token"):
        yield replace(world, crashed=world.crashed | {at})


def explore(start: World, steps: Callable[[World], Iterator[World]]) -> int:
    """Visit every state; how many there are."""
    seen, waiting = {start}, [start]
    while waiting:
        for world in steps(waiting.pop()):
            if world not in seen:
                seen.add(world)
                waiting.append(world)
    return len(seen)


def protocol(reading, writing, *, readers=2, writers=2, crashes=False) -> int:
    start = World(readers=((0, 0, 0, True, 0),) * readers, writers=((0, 0),) * writers)

    def steps(world: World) -> Iterator[World]:
        for at in range(len(world.readers)):
            yield from reads(world, at, reading)
        for at in range(len(world.writers)):
            yield from writes(world, at, writing, crashes=crashes)

    return explore(start, steps)


def test_no_read_that_begins_after_an_invalidation_returned_shows_what_was_before():
    assert protocol(("look", "load", "fill"), PLAIN) > 1000


@pytest.mark.parametrize(("readers", "writers"), [(1, 2), (2, 1)])
def test_no_read_that_begins_after_a_commit_shows_what_was_before_whenever_its_writer_dies(readers, writers):
    assert protocol(READS, SAFE, readers=readers, writers=writers, crashes=True) > 500


@pytest.mark.parametrize(
    ("reading", "writing", "crashes"),
    [
        (("load", "look", "fill"), PLAIN, False),  # tokens that are read after the load
        (("look", "load", "fill"), ("token", "commit", "return"), False),  # an invalidation before the commit
        (("look", "load", "fill"), ("commit", "return"), False),  # none at all
        (("holder", "look", "load", "fill"), SAFE, True),  # the holder is asked for before the token
        (("look", "load", "holder", "fill"), SAFE, True),  # or only after the load
        (
            READS,
            ("token", "hold", "commit and return", "token", "release"),
            True,
        ),  # a token before its holder
        (READS, ("hold", "commit and return", "token", "release"), True),  # no new token before the commit
    ],
)
def test_any_other_order_is_found_out(reading, writing, crashes):
    with pytest.raises(AssertionError, match="stale"):
        protocol(reading, writing, crashes=crashes)


# Copies in memory: every schedule of a process, a writer and the bus between them, with the process's real tokens.


@dataclass
class Process:
    """A process with a copy in memory, and the word on its way to it."""

    database: int = 0
    token: bytes = b"0"
    entry: tuple[bytes, int] | None = None
    due: int = 0
    tokens: LocalTokens = field(default_factory=LocalTokens)
    copy: tuple[bytes, int] | None = None
    words: int = 0
    heard: int = 0
    asked: tuple[int, bytes, tuple[bytes, int] | None] | None = None
    mark: int | None = None
    loaded: int = 0

    def ask(self) -> bool:
        self.asked = (self.tokens.mark(), self.token, self.entry)
        return True

    def learn(self) -> bool:
        mark, token, entry = self.asked
        learnt = self.tokens.learn(mark, {TAG: token})
        self.mark = mark if learnt is None else learnt
        if entry is not None and entry[0] == token and learnt is not None:
            self.keep(entry)
        return True

    def keep(self, entry: tuple[bytes, int]) -> None:
        if self.tokens.unchanged(self.mark, (TAG,)):
            self.copy = entry

    def keep_whatever_came_between(self, entry: tuple[bytes, int]) -> None:
        self.tokens.learn(self.tokens.mark(), {TAG: entry[0]})
        self.copy = entry

    def load(self) -> bool:
        self.loaded = self.database
        return True

    def fill(self) -> bool:
        token = self.asked[1]
        if self.tokens.unchanged(self.mark, (TAG,)):
            self.entry = (token, self.loaded)
        self.keep((token, self.loaded))
        return True

    def read(self) -> bool:
        """A read from memory alone, without asking anybody."""
        if self.copy is not None and self.tokens.agree({TAG: self.copy[0]}):
            assert self.copy[1] >= self.due, "stale"
        return True

    def hear(self) -> bool:
        if self.heard == self.words:
            return False
        self.tokens.touch((TAG,))
        self.copy = None
        self.heard = self.words
        return True

    def commit(self) -> bool:
        self.database += 1
        return True

    def change(self) -> bool:
        self.token = b"%d" % (int(self.token) + 1)
        self.words += 1
        return True

    def returned(self) -> bool:
        self.due = self.database
        return True

    def returned_when_heard(self) -> bool:
        return self.heard == self.words and self.returned()


LOADING = ("ask", "learn", "load", "fill", "read")
BUS = ("hear",)


def schedules(programs: tuple[tuple[str, ...], ...], process: type[Process]) -> int:
    """Run every schedule of the programs from its start; how many there are. Steps that have to wait wait."""
    count, waiting = 0, [()]
    while waiting:
        done = waiting.pop()
        world, places = process(), [0] * len(programs)
        possible = True
        for which in done:
            possible = getattr(world, programs[which][places[which]])()
            places[which] += 1
        if not possible:
            continue
        left = [which for which, at in enumerate(places) if at < len(programs[which])]
        count += not left
        waiting += [(*done, which) for which in left]
    return count


def test_in_strict_mode_no_copy_in_memory_is_served_after_an_invalidation_returned():
    strict = ("commit", "change", "returned_when_heard")
    assert schedules((("ask", "learn", "read", *LOADING[2:]), strict, BUS, ("read",)), Process) > 1000


def test_once_the_word_has_arrived_no_copy_from_before_is_served_or_kept():
    class Late(Process):
        """What is due of copies is due when the word was heard."""

        def hear(self) -> bool:
            news = super().hear()
            if news:
                self.due = self.database
            return news

    assert schedules((LOADING, ("commit", "change"), ("hear",), ("read", "read")), Late) > 500


@pytest.mark.parametrize(
    "attributes",
    [
        {"returned_when_heard": Process.returned},
        {"keep": Process.keep_whatever_came_between},
        {"change": lambda self: Process.change(self) and setattr(self, "heard", self.words) is None},
    ],
    ids=["returns before all have heard", "keeps what was overtaken", "a word that was lost"],
)
def test_a_strict_mode_that_forgets_something_is_found_out(attributes):
    broken = type("Broken", (Process,), attributes)
    strict = ("commit", "change", "returned_when_heard")
    with pytest.raises(AssertionError, match="stale"):
        schedules((("ask", "learn", "read", *LOADING[2:]), strict, BUS, ("read",)), broken)
