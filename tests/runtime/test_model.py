"""Two processes, any order of lookups, slow loads, writes, holds and losses: never anything but a current answer."""

import asyncio
import time

import redis
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from tests.runtime.driving import POLICY, request, until
from tests.servers import unguarded

from cachewright.runtime.engine import Engine
from cachewright.runtime.settings import Settings, boottime
from cachewright.spec.semantics import Serve, decide

KEYS = st.sampled_from(["k0", "k1"])
SIDES = st.sampled_from([0, 1])


def asked(key):
    return request(key, "ns", "rows", f"rows(id={key})")


def machine(url, namespace, lease):
    class Caching(RuleBasedStateMachine):
        """The database is a number for each key; `due` is what a read must show at least."""

        def __init__(self):
            super().__init__()
            self.client = redis.Redis.from_url(unguarded(url))
            self.client.flushall()
            self.loop = asyncio.new_event_loop()
            calm = Settings(read_timeout=5.0, connect_timeout=5.0, l1_lease=lease, known_tags=12)
            self.caches = [Engine(namespace, redis_url=url, settings=calm) for _ in range(2)]
            for cache in self.caches:
                self.run(cache.start())
                self.run(until(lambda cache=cache: cache._core.heard(boottime())))
            self.database = {"k0": 0, "k1": 0}
            self.due = dict(self.database)
            self.loads = []
            self.holds = [[], []]

        def run(self, call):
            return self.loop.run_until_complete(call)

        def check(self, key, found):
            if isinstance(decide(POLICY, found.seen, time.time()), Serve):
                assert int(found.payload) >= self.due[key]

        @rule(side=SIDES, key=KEYS)
        def read(self, side, key):
            local = self.caches[side].lookup_local(asked(key))
            if local is not None:
                self.check(key, local)
            self.check(key, self.run(self.caches[side].lookup(asked(key))))

        @rule(side=SIDES, key=KEYS)
        def begin_load(self, side, key):
            found = self.run(self.caches[side].lookup(asked(key)))
            self.loads.append((side, found.ticket, self.database[key]))

        @rule(which=st.integers(0, 20))
        def end_load(self, which):
            if self.loads:
                side, ticket, number = self.loads.pop(which % len(self.loads))
                filling = self.caches[side].fill(
                    ticket, str(number).encode(), loaded_at=time.time(), lifetime=60.0
                )
                self.run(filling)

        @rule(side=SIDES, key=KEYS, portal=st.booleans())
        def write_row(self, side, key, portal):
            self.database[key] += 1
            self.invalidate(side, f"rows(id={key})", portal)
            self.due[key] = self.database[key]

        @rule(side=SIDES)
        def write_table(self, side):
            for key in self.database:
                self.database[key] += 1
            self.invalidate(side, "rows", False)
            self.due = dict(self.database)

        def invalidate(self, side, tag, portal):
            cache, other = self.caches[side], self.caches[1 - side]
            mark = other.tokens.mark()
            if portal:
                cache.portal.invalidate([tag])
            else:
                self.run(cache.invalidate([tag], raise_pending=True))
            if lease:
                # A copy in memory may lag by the word on the bus.
                self.run(until(lambda: other.tokens.mark() > mark))

        @rule(side=SIDES, key=KEYS)
        def hold(self, side, key):
            self.caches[side].hold([f"rows(id={key})"])
            self.holds[side].append(f"rows(id={key})")

        @rule(side=SIDES)
        def release(self, side):
            if self.holds[side]:
                self.caches[side].release([self.holds[side].pop()])

        @rule(tag=st.sampled_from(["ns", "rows", "rows(id=k0)"]))
        def lose_token(self, tag):
            self.client.unlink(f"{namespace}:1:v:{tag}")

        @rule(key=KEYS)
        def lose_entry(self, key):
            self.client.unlink(f"{namespace}:1:e:{key}")

        @rule()
        def lose_everything(self):
            self.client.flushall()

        @invariant()
        def no_error_happened(self):
            assert all(cache.stats.snapshot()["errors"] == 0 for cache in self.caches)

        def teardown(self):
            for cache in self.caches:
                self.run(cache.aclose())
            self.loop.close()
            self.client.close()

    return Caching


def test_copies_that_are_always_validated_are_always_current(valkey_url, namespace):
    run_state_machine_as_test(
        machine(valkey_url, namespace, 0.0), settings=settings(max_examples=40, stateful_step_count=40)
    )


def test_copies_under_a_lease_are_current_once_the_word_is_out(valkey_url, namespace):
    run_state_machine_as_test(
        machine(valkey_url, namespace, 30.0), settings=settings(max_examples=15, stateful_step_count=30)
    )
