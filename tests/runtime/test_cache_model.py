"""The cache as code uses it, in two processes and any order of steps: never anything but what a read must show."""

import asyncio

import pytest
import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.runtime.driving import until
from tests.servers import unguarded

from cachewright import MISSING, Cache
from cachewright.runtime.settings import Settings

KEYS = st.sampled_from(["user:1:k", "user:2:k", "plain"])
SIDES = st.sampled_from([0, 1])
OF = {"user:1:k": "rows(id=1)", "user:2:k": "rows(id=2)", "plain": "rows(id=3)"}


def machine(url, namespace, **how):
    """`due` is what a read of each key must show at least; what was `set` stands beside the database."""

    class Caching(RuleBasedStateMachine):
        def __init__(self):
            super().__init__()
            self.client = redis.Redis.from_url(unguarded(url))
            self.client.flushall()
            self.loop = asyncio.new_event_loop()
            calm = Settings(**{"read_timeout": 5.0, "connect_timeout": 5.0, "flight_patience": 0.05, **how})
            self.caches = [Cache(url, namespace=namespace, settings=calm) for _ in range(2)]
            self.mortal = Cache(url, namespace=namespace, settings=calm)
            for cache in (*self.caches, self.mortal):
                self.run(cache.__aenter__())
                self.run(until(lambda cache=cache: cache.engine.hears))
            self.database = dict.fromkeys(OF, 0)
            self.due = dict(self.database)
            self.loads = []
            self.announced = []

        def run(self, call):
            return self.loop.run_until_complete(call)

        def shows(self, key, number):
            assert number >= self.due[key], f"{key} shows {number}, due is {self.due[key]}"

        @rule(side=SIDES, key=KEYS)
        def get(self, side, key):
            found = self.run(self.caches[side].get(key))
            if found is not MISSING:
                self.shows(key, found)

        @rule(side=SIDES)
        def get_many(self, side):
            for key, number in self.run(self.caches[side].get_many(list(OF))).items():
                self.shows(key, number)

        @rule(side=SIDES, key=KEYS)
        def get_or_load(self, side, key):
            load = self.caches[side].get_or_load(
                key, lambda: self.database[key], ttl=60, tags=("rows", OF[key])
            )
            self.shows(key, self.run(load))

        @rule(side=SIDES, key=KEYS)
        def begin_load(self, side, key):
            """A load that reads the database now and comes back later."""
            gate, began = asyncio.Event(), asyncio.Event()

            async def load():
                number = self.database[key]
                began.set()
                await gate.wait()
                return number

            async def call():
                return await self.caches[side].get_or_load(key, load, ttl=60, tags=("rows", OF[key]))

            task, least = self.loop.create_task(call()), self.due[key]
            self.run(asyncio.wait({task, self.loop.create_task(began.wait())}, timeout=0.02))
            self.loads.append((task, gate, least))

        @rule(which=st.integers(0, 20))
        def end_load(self, which):
            if self.loads:
                task, gate, least = self.loads.pop(which % len(self.loads))
                gate.set()
                if not any(other is not task for other, _, _ in self.loads):
                    assert self.run(task) >= least

        @rule(side=SIDES, key=KEYS)
        def write_and_invalidate(self, side, key):
            self.database[key] += 1
            self.told(side, self.caches[side].invalidate(OF[key]))
            self.due[key] = self.database[key]

        @rule(side=SIDES, key=KEYS)
        def write_announced(self, side, key):
            """As a transaction that is crash-safe: nothing old is filled between its commit and its invalidation."""
            engine = self.caches[side].engine
            held = self.run(engine.announce([OF[key]]))
            self.database[key] += 1
            self.told(side, self.caches[side].invalidate(OF[key]))
            self.due[key] = self.database[key]
            if held is not None:
                self.run(engine.lift(held))

        @rule(key=KEYS)
        def write_and_die(self, key):
            """A third process, crash-safe, that committed and never came to invalidate: its hold ends by itself."""
            held = self.run(self.mortal.engine.announce([OF[key]]))
            if held is None:
                return
            self.database[key] += 1
            self.due[key] = self.database[key]
            for cache in self.caches:
                self.run(until(lambda cache=cache: cache.peek(key) in {MISSING, self.due[key]}))
            self.announced.append((self.mortal.engine, held))

        @rule()
        def holds_end(self):
            while self.announced:
                engine, held = self.announced.pop()
                self.run(engine.lift(held))

        @rule(side=SIDES, key=KEYS)
        def set_what_is_there(self, side, key):
            self.told(side, self.caches[side].set(key, self.database[key], tags=("rows", OF[key])))

        @rule(side=SIDES, key=KEYS)
        def delete(self, side, key):
            self.database[key] += 1
            self.told(side, self.caches[side].delete(key))
            self.due[key] = self.database[key]

        @rule(side=SIDES, how=st.sampled_from(["table", "all", "user"]))
        def invalidate_widely(self, side, how):
            cache, reached = self.caches[side], list(OF) if how != "user" else ["user:1:k"]
            for key in reached:
                self.database[key] += 1
            if how == "table":
                self.told(side, cache.invalidate("rows"))
            elif how == "all":
                self.told(side, cache.invalidate_all())
            else:
                self.told(side, cache.delete_user(1))
            for key in reached:
                self.due[key] = self.database[key]

        def told(self, side, call):
            """Word reaches the other process; in strict mode it has when the call returns."""
            other = self.caches[1 - side].engine
            mark = other.tokens.mark()
            self.run(call)
            if not other.settings.strict:
                self.settled(1 - side, lambda: other.tokens.mark() > mark)

        def settled(self, side, true):
            self.run(until(true))

        @rule(tag=st.sampled_from(["ns", "rows", "rows(id=1)", "user:1", "key:plain"]))
        def lose_token(self, tag):
            for key in self.client.scan_iter(f"{namespace}:*v:{tag}"):
                self.client.unlink(key)

        @rule()
        def lose_everything(self):
            if not self.announced:
                self.client.flushall()

        @invariant()
        def no_error_happened(self):
            assert all(cache.engine.stats.snapshot()["errors"] == 0 for cache in self.caches)

        def teardown(self):
            for task, gate, _ in self.loads:
                gate.set()
                self.run(asyncio.wait({task}))
            for cache in (*self.caches, self.mortal):
                self.run(cache.aclose())
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.run(asyncio.sleep(0))
            self.loop.close()
            self.client.close()

    return Caching


@pytest.mark.parametrize(
    ("how", "examples"),
    [
        ({"l1_lease": 0.0}, 30),
        ({"l1_lease": 30.0}, 30),
        ({"l1_lease": 2.0, "strict": True}, 30),
        ({"l1_lease": 30.0, "crash_safe": True}, 30),
        ({"l1_lease": 2.0, "strict": True, "crash_safe": True}, 30),
    ],
    ids=["validated", "leased", "strict", "crash-safe", "both"],
)
def test_no_order_of_steps_shows_what_was_before(valkey_url, namespace, how, examples):
    run_state_machine_as_test(
        machine(valkey_url, namespace, **how),
        settings=settings(max_examples=examples, stateful_step_count=25),
    )
