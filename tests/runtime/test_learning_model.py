"""Learned tags, played through in every order in which readers, writers and an eviction can come.

The readers answer from a row whose id stands in another row. What is shared is a map of tokens; each step of a
process is one exchange with it, or one statement of the database.
"""

from dataclasses import dataclass, replace

import pytest

from cachewright.spec.learning import Learning
from cachewright.spec.tags import TagTemplate, with_words

LEARNING = Learning.of([TagTemplate.parse("rows(id={*})")])
(GUARD, WORD), (BULK,), SLUG = LEARNING.guards, LEARNING.bulk, "slugs(slug=s)"
PREDICTED = (SLUG, BULK)
ROWS = ("rows(id=1)", "rows(id=2)")

#: What a writer does to the database, and what it invalidates.
WRITERS = {
    "row": (("row1", 1), ("rows", ROWS[0])),
    "move": (("slug", 2), ("slugs", SLUG)),
    "bulk": (("row2", 1), ("rows", BULK)),
    "by name": (("row1", 1), (ROWS[0],)),
}


@dataclass(frozen=True)
class Reader:
    at: int = 0
    tokens: tuple = ()
    slug: int = 0
    value: int = 0
    row: int | None = None


@dataclass(frozen=True)
class State:
    """`database` by name; `tokens` by tag; `entries` as (own tokens, slug, value); `steps` of each writer done."""

    database: tuple = (("row1", 0), ("row2", 0), ("slug", 1))
    tokens: tuple = ((GUARD, 1), (BULK, 2), (SLUG, 3), (WORD, 4))
    fresh: int = 5
    entries: frozenset = frozenset()
    readers: tuple = (Reader(), Reader())
    steps: tuple = (0, 0, 0, 0)
    evicted: bool = False

    def token(self, tag):
        return dict(self.tokens).get(tag)

    def minted(self, *tags):
        """Every tag with a token: `SET NX`."""
        absent = [tag for tag in tags if self.token(tag) is None]
        more = tuple((tag, self.fresh + n) for n, tag in enumerate(absent))
        return replace(self, tokens=tuple(sorted(self.tokens + more)), fresh=self.fresh + len(absent))

    def changed(self, tag):
        """A new token where there is one: `SET XX`."""
        if self.token(tag) is None:
            return self
        tokens = {**dict(self.tokens), tag: self.fresh}
        return replace(self, tokens=tuple(sorted(tokens.items())), fresh=self.fresh + 1)

    def renamed(self):
        """The same state with its tokens numbered anew: which number a token has does not matter."""
        numbers = sorted(
            {token for _, token in self.tokens}
            | {token for entry in self.entries for _, token in entry[0]}
            | {token for reader in self.readers for _, token in reader.tokens}
        )
        short = {number: at for at, number in enumerate(numbers)}

        def anew(tokens):
            return tuple((tag, short[token]) for tag, token in tokens)

        return replace(
            self,
            tokens=anew(self.tokens),
            fresh=len(numbers),
            entries=frozenset((anew(own), *rest) for own, *rest in self.entries),
            readers=tuple(replace(reader, tokens=anew(reader.tokens)) for reader in self.readers),
        )


def read(state, number, *, guarded=True):
    """The next state of one reader: tokens, pointer, row, tokens of the row, guard, fill."""
    reader, done = state.readers[number], None
    data = dict(state.database)
    if reader.at == 0:
        state = state.minted(*PREDICTED, GUARD, WORD)
        done = replace(reader, tokens=tuple((tag, state.token(tag)) for tag in (*PREDICTED, GUARD, WORD)))
    elif reader.at == 1:
        done = replace(reader, slug=data["slug"])
    elif reader.at == 2:
        done = replace(reader, value=data[f"row{reader.slug}"])
    elif reader.at == 3:
        (row,) = LEARNING.learned(PREDICTED, [{"rows", ROWS[reader.slug - 1]}])
        state = state.minted(row)
        done = replace(reader, row=reader.slug, tokens=(*reader.tokens, (row, state.token(row))))
    elif reader.at == 4:
        own = dict(reader.tokens)
        if not guarded or all(own[tag] == state.token(tag) for tag in LEARNING.guards):
            tokens = tuple(sorted((tag, token) for tag, token in own.items() if tag not in LEARNING.guards))
            state = replace(state, entries=state.entries | {(tokens, reader.slug, reader.value)})
        done = reader
    if done is None:
        return None
    readers = list(state.readers)
    readers[number] = replace(done, at=reader.at + 1)
    return replace(state, readers=tuple(readers))


def write(state, number, order=with_words):
    """The next state of one writer: its commit, then one token after the other."""
    (place, value), tags = list(WRITERS.values())[number]
    step = state.steps[number]
    ordered = order(tags)
    if step > len(ordered):
        return None
    if step == 0:
        state = replace(state, database=tuple(sorted({**dict(state.database), place: value}.items())))
    else:
        state = state.changed(ordered[step - 1])
    steps = list(state.steps)
    steps[number] += 1
    return replace(state, steps=tuple(steps))


def evict(state):
    """The store may forget a token at any moment."""
    for tag, _ in state.tokens if not state.evicted else ():
        yield replace(state, tokens=tuple(item for item in state.tokens if item[0] != tag), evicted=True)


def stale(state):
    """The entries that would be served although an invalidation of what they rest on has returned."""
    data, tokens = dict(state.database), dict(state.tokens)
    over = [state.steps[n] == len(with_words(tags)) + 1 for n, (_, tags) in enumerate(WRITERS.values())]
    for own, slug, value in state.entries:
        if any(tokens.get(tag) != token for tag, token in own):
            continue
        moved = over[1] and slug != data["slug"]
        row = over[0] or over[3] if slug == 1 else over[2]
        if moved or (row and value != data[f"row{slug}"]):
            yield own, slug, value


def explore(start, order=with_words, *, guarded=True):
    """Every state reachable from `start`; the stale entries of the first one that has any."""
    waiting, known = [start], {start.renamed()}
    filled = 0
    while waiting:
        state = waiting.pop()
        filled += bool(state.entries)
        found = list(stale(state))
        if found:
            return found, filled
        following = [read(state, number, guarded=guarded) for number in range(len(state.readers))]
        following += [write(state, number, order) for number in range(len(WRITERS))]
        for after in (*following, *evict(state)):
            if after is not None and (seen := after.renamed()) not in known:
                known.add(seen)
                waiting.append(after)
    return [], filled


def begin(*writers, readers, evicted):
    """Nothing has happened yet, and nobody else writes."""
    idle = tuple(0 if name in writers else 9 for name in WRITERS)
    return State(readers=(Reader(),) * readers, steps=idle, evicted=evicted)


@pytest.mark.parametrize(
    "start",
    [
        begin("row", "move", "bulk", readers=1, evicted=True),
        begin("row", "move", readers=1, evicted=False),
        begin("by name", "move", readers=1, evicted=False),
        begin("row", readers=2, evicted=False),
    ],
    ids=["three writers", "eviction", "a row by its name", "two readers and an eviction"],
)
def test_no_order_of_steps_leaves_an_entry_that_is_older_than_an_invalidation(start):
    found, filled = explore(start)
    assert not found
    assert filled > 100, "entries were filled, and could have been stale"


def rows_first(tags):
    return tuple(reversed(with_words(tags)))


@pytest.mark.parametrize(("order", "guarded"), [(rows_first, True), (with_words, False)])
def test_without_the_order_of_writes_or_without_the_guard_there_is_a_stale_entry(order, guarded):
    found, _ = explore(begin("row", readers=1, evicted=True), order, guarded=guarded)
    assert found
