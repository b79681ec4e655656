"""How long an answer stands: as long as `decide` says so."""

from hypothesis import given
from hypothesis import strategies as st

from cachewright.spec.semantics import Acceptance, EntryMeta, Policy, Seen, Serve, decide, serves_until

TOKENS = {"tasks": b"1"}
TIMES = st.integers(0, 20)


@given(
    ends=st.none() | TIMES,
    soft=st.none() | st.integers(1, 20),
    accepted=st.none() | TIMES,
    needs=st.booleans(),
    idle=st.none() | st.integers(1, 20),
    early=st.sampled_from([0.0, 1.0]),
    now=TIMES,
)
def test_what_is_served_stands_exactly_until_then(ends, soft, accepted, needs, idle, early, now):
    policy = Policy(ttl=None, identity_ttl=300, soft_ttl=soft, early=early)
    entry = EntryMeta(0.0, ends, TOKENS, None, 1.0, idle)
    acceptance = None if accepted is None else Acceptance(0.0, accepted, TOKENS)
    seen = Seen(entry, TOKENS, ("tasks",), needs, acceptance)
    served = decide(policy, seen, now) == Serve(now)
    until = serves_until(policy, seen)
    if idle is not None or early > 0:
        assert until == float("-inf")
    else:
        assert (now < until) == served
