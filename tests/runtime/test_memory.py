import threading

from hypothesis import given
from hypothesis import strategies as st

from cachewright.runtime.codec import Entry
from cachewright.runtime.stores.memory import MemoryStore, weight


def entry(key, *tags, size=10):
    return Entry.of(
        key,
        loaded_at=0.0,
        expires_at=None,
        tokens=dict.fromkeys(tags, b"t"),
        variant=None,
        payload=b"x" * size,
    )


def test_the_least_recently_used_item_leaves_first():
    store = MemoryStore(items=2, limit=1_000_000)
    for name in "ab":
        store.put(name, entry(name), 1.0)
    store.get("a")
    store.put("c", entry("c"), 1.0)
    assert [store.get(name) is not None for name in "abc"] == [True, False, True]


def test_the_bound_of_bytes_holds_too():
    store = MemoryStore(items=1000, limit=20_000)
    for number in range(100):
        store.put(str(number), entry(str(number), size=1000), 1.0)
        assert store.size <= 20_000
    assert 5 < len(store) < 20


def test_an_item_too_large_for_its_share_is_not_held_and_pushes_nothing_out():
    store = MemoryStore(items=1000, limit=20_000)
    store.put("a", entry("a"), 1.0)
    store.put("big", entry("big"), 1.0)
    assert not store.put("big", entry("big", size=5000), 1.0)
    assert store.get("big") is None
    assert store.get("a") is not None


def test_dropping_a_tag_drops_what_depends_on_it_and_nothing_else():
    store = MemoryStore(items=10, limit=1_000_000)
    store.put("a", entry("a", "x", "y"), 1.0)
    store.put("b", entry("b", "y"), 1.0)
    store.drop(["x", "unknown"])
    assert store.get("a") is None
    assert store.get("b") is not None


def test_a_lease_is_renewed_only_for_the_very_record_it_was_checked_for():
    store = MemoryStore(items=10, limit=1_000_000)
    old, new = entry("a"), entry("a")
    store.put("a", new, 1.0)
    store.renew("a", old, 9.0)
    assert store.get("a").lease == 1.0
    store.renew("a", new, 9.0)
    assert store.get("a").lease == 9.0


NAMES = st.sampled_from("abcdef")
TAGS = st.sets(st.sampled_from("xyz"))


@given(
    st.lists(
        st.tuples(st.just("put"), NAMES, TAGS, st.integers(0, 900))
        | st.tuples(st.just("drop"), TAGS)
        | st.tuples(st.just("discard"), NAMES)
        | st.tuples(st.just("get"), NAMES),
        max_size=60,
    )
)
def test_its_weight_and_index_are_always_those_of_what_it_holds(steps):
    store = MemoryStore(items=4, limit=9000)
    for step in steps:
        match step:
            case ("put", name, tags, size):
                store.put(name, entry(name, *tags, size=size), 1.0)
            case ("drop", tags):
                store.drop(tags)
                assert not any(tags & set(item.record.tokens) for item in store._items.values())
            case ("discard", name):
                store.discard(name)
            case ("get", name):
                store.get(name)
        held = {name: item.record for name, item in store._items.items()}
        assert len(held) <= 4
        assert store.size == sum(weight(name, record) for name, record in held.items()) <= 9000
        assert {(tag, name) for tag, names in store._names.items() for name in names} == {
            (tag, name) for name, record in held.items() for tag in record.tokens
        }
        assert all(store._names.values())


def test_many_threads_leave_it_consistent():
    store = MemoryStore(items=20, limit=1_000_000)

    def work(seed):
        for number in range(400):
            name = str((number * seed) % 37)
            store.put(name, entry(name, name, "all"), 1.0)
            store.get(name)
            if number % 50 == 0:
                store.drop(["all"])

    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store) <= 20
    store.drop(["all"])
    assert (len(store), store.size, store._names) == (0, 0, {})
