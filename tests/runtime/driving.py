"""A caller of the cache as small as can be: what the ASGI edge does, without HTTP."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from cachewright.runtime.engine import Engine
from cachewright.runtime.flight import Follow, Lead
from cachewright.runtime.questions import LookupRequest
from cachewright.spec.semantics import Load, Policy, Serve, decide

POLICY = Policy(ttl=60.0, identity_ttl=30.0, jitter=0.0)


def request(key: str = "tasks", *tags: str, **options) -> LookupRequest:
    return LookupRequest("GET /tasks", key, tags or ("ns", "tasks", f"tasks(key={key})"), **options)


@dataclass(frozen=True)
class Got:
    payload: bytes
    source: str


async def get(
    cache: Engine,
    asked: LookupRequest,
    load: Callable[[], Awaitable[bytes]],
    policy: Policy = POLICY,
    learned: Collection[str] = (),
) -> Got:
    """Serve from a tier, from another's flight, or load and fill with the tags that the load has `learned` too."""
    local = cache.lookup_local(asked)
    if local is not None and isinstance(decide(policy, local.seen, time.time()), Serve):
        return Got(local.payload, "local")
    found = await cache.lookup(asked)
    decision = decide(policy, found.seen, time.time())
    if isinstance(decision, Serve):
        return Got(found.payload, found.tier)
    assert isinstance(decision, Load)
    match await cache.flights.join_or_lead(found.flight, may_follow=found.may_follow(time.time())):
        case Follow(payload):
            return Got(payload, "shared")
        case Lead() as lead:
            with lead:
                payload = await _load(cache, found, load, policy, learned)
                if payload.filled:
                    lead.land(payload.body)
                else:
                    lead.decline()
                return Got(payload.body, "load")
        case _:
            return Got((await _load(cache, found, load, policy, learned)).body, "load")


@dataclass(frozen=True)
class _Loaded:
    body: bytes
    filled: bool


async def _load(cache, found, load, policy, learned) -> _Loaded:
    began = time.time()
    body = await load()
    filled = await cache.fill(
        found.ticket,
        body,
        loaded_at=began,
        lifetime=policy.ttl,
        acceptance_lifetime=policy.identity_ttl if found.seen.needs_acceptance else None,
        learned=learned,
    )
    return _Loaded(body, filled)


def answers(*bodies: bytes) -> Callable[[], Awaitable[bytes]]:
    """A load that answers with each body in turn, and with the last one from then on."""
    left = list(bodies)

    async def load() -> bytes:
        return left.pop(0) if len(left) > 1 else left[0]

    return load


async def until(true: Callable[[], object], *, patience: float = 20.0) -> None:
    """Wait until something holds; a hang is a failure."""
    deadline = time.monotonic() + patience
    while not true():
        assert time.monotonic() < deadline, "it never came to hold"
        await asyncio.sleep(0.01)
