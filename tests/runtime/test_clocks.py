"""Clocks that were set, and clocks of machines that do not agree: an entry lives as long as it was given."""

from tests.runtime.driving import POLICY, answers, request

from cachewright.runtime.loads import Brought, Loads
from cachewright.runtime.settings import SteadyWall

HOUR = 3600.0


class Dial:
    """A clock that shows what it is set to."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def test_a_date_that_is_set_while_the_program_runs_changes_nothing():
    wall, clock = Dial(1_000_000.0), Dial(50.0)
    steady = SteadyWall(wall, clock)
    assert steady() == 1_000_000.0
    clock.now += 5
    for wall.now in (1_000_000.0 - HOUR, 1_000_000.0 + HOUR):
        assert steady() == 1_000_005.0


def brought(*bodies):
    answer = answers(*bodies)

    async def load() -> Brought:
        return Brought(await answer())

    return load


async def test_a_copy_of_an_entry_of_a_machine_that_is_ahead_lives_no_longer_than_it_was_given(
    make_cache, server, namespace
):
    here = Dial(1_000_000.0)
    ahead = await make_cache(wall=lambda: here.now + HOUR)
    cache = await make_cache(wall=here, l1_lease=0.0)
    await Loads(ahead).get_or_load(request(), POLICY, brought(b"old"))
    assert (await Loads(cache).get_or_load(request(), POLICY, brought(b"no"))).tier == "l2"
    assert server.unlink(f"{namespace}:1:e:tasks"), "where it ends by the server's own clock"
    here.now += POLICY.ttl - 1
    assert (await Loads(cache).get_or_load(request(), POLICY, brought(b"no"))).tier == "l1"
    here.now += 1
    assert (await Loads(cache).get_or_load(request(), POLICY, brought(b"new"))).payload == b"new"


async def test_an_acceptance_of_a_machine_that_is_ahead_holds_no_longer_than_it_was_given(make_cache):
    here = Dial(1_000_000.0)
    ahead = await make_cache(wall=lambda: here.now + HOUR)
    cache = await make_cache(wall=here, l1_lease=0.0)
    asked = request(needs_acceptance=True, credential="aa")
    found = await ahead.lookup(asked)
    await ahead.fill(
        found.ticket, b"x", loaded_at=ahead.now, lifetime=HOUR, acceptance_lifetime=POLICY.identity_ttl
    )
    seen = (await cache.lookup(asked)).seen
    assert seen.acceptance.expires_at == here.now + POLICY.identity_ttl
    assert seen.entry.expires_at == here.now + HOUR


async def test_an_entry_of_a_machine_that_is_behind_ends_early_and_never_late(make_cache):
    here = Dial(1_000_000.0)
    behind = await make_cache(wall=lambda: here.now - 30)
    cache = await make_cache(wall=here, l1_lease=0.0)
    await Loads(behind).get_or_load(request(), POLICY, brought(b"old"))
    assert (await Loads(cache).get_or_load(request(), POLICY, brought(b"no"))).tier == "l2"
    here.now += POLICY.ttl - 30
    assert (await Loads(cache).get_or_load(request(), POLICY, brought(b"new"))).payload == b"new"
