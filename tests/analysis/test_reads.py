"""What a route reads of a request, and where it goes."""

from tests.analysis.builder import NEWS, Call, TraceBuilder

from cachewright.analysis.exchanges import gather
from cachewright.analysis.identity import Identity
from cachewright.analysis.reads import reads_of_route

AUTHORIZED = frozenset({"header:authorization"})


def _reads(
    *,
    reads=frozenset(),
    outer=frozenset(),
    values=lambda _: {},
    claims=True,
    requests=40,
    params=(),
    credentials=(),
    carrier=lambda _: "header:authorization",
):
    build = TraceBuilder()
    route = build.route("GET", "/x", *params, credentials=credentials)
    for n in range(requests):
        token = {"sub": str(n % 4)} if claims else {}
        build.add(
            Call(
                route,
                values=values(n),
                claims=token,
                credential="c",
                sql=[(NEWS, [])],
                reads=reads,
                outer_reads=outer,
                carrier=carrier(n),
            )
        )
    return reads_of_route(gather(build.build()).routes[0], Identity("claim.sub", "claim:sub"))


def test_a_header_the_route_reads_goes_into_the_key():
    found = _reads(reads=AUTHORIZED | {"header:accept-language"})
    assert found.keyed == ("header.accept-language",)
    assert not found.private


def test_a_declared_header_goes_into_the_key_read_or_not():
    assert _reads(params=(("header", "x-mode", "str"),)).keyed == ("header.x-mode",)


def test_the_token_is_accounted_for_and_a_second_carrier_is_not():
    assert _reads(reads=AUTHORIZED).private == ()
    assert _reads(reads=AUTHORIZED | {"header:x-api-key"}).private == ("header:x-api-key",)
    assert _reads(reads=AUTHORIZED | {"session"}).private == ("session",)


def test_a_plain_cookie_beside_a_token_goes_into_the_key():
    found = _reads(reads=AUTHORIZED | {"cookie:theme"})
    assert found.keyed == ("cookie.theme",)
    assert not found.private


def test_a_cookie_that_may_hold_the_token_is_never_in_the_key():
    found = _reads(reads=frozenset({"cookie:ident"}))
    assert found.keyed == ()
    assert found.credential


def test_a_cookie_that_held_the_token_is_accounted_for():
    found = _reads(
        reads=frozenset({"cookie:session", "header:x-api-key"}), carrier=lambda _: "cookie:session"
    )
    assert found.private == ("header:x-api-key",)
    assert found.credential


def test_a_carrier_that_held_no_token_is_not_accounted_for():
    """The only carrier the route reads is not where the token stood: its claims say nothing of it."""
    assert _reads(reads=frozenset({"cookie:session"})).private == ("cookie:session",)


def test_of_two_places_where_tokens_stood_only_the_header_is_accounted_for():
    found = _reads(
        reads=AUTHORIZED | {"cookie:session"},
        carrier=lambda n: "cookie:session" if n % 2 else "header:authorization",
    )
    assert found.private == ("cookie:session",)


def test_what_no_key_can_hold_is_named():
    assert _reads(reads=frozenset({"url", "client"})).unkeyable == ("client", "url")


def test_middleware_may_read_to_log():
    found = _reads(outer=frozenset({"header:user-agent", "client"}))
    assert found.doubtful == ("client", "header:user-agent")
    assert not found.unkeyable


def test_middleware_may_log_the_url_but_neither_it_nor_the_route_may_read_all_headers():
    """Which of them it looks at cannot be known, so no number of requests shows that none of them matters."""
    found = _reads(outer=frozenset({"url", "headers"}))
    assert found.doubtful == ("url",)
    assert found.unkeyable == ("headers",)
    own = _reads(outer=frozenset({"url"}), reads=frozenset({"url"}))
    assert own.doubtful == ()
    assert own.unkeyable == ("url",)


def test_all_headers_may_hold_a_credential():
    assert _reads(outer=frozenset({"headers"}), claims=False).credential
    assert not _reads(outer=frozenset({"url"}), claims=False).credential


def test_an_unusual_header_read_by_middleware_needs_values_to_be_ignored():
    same = _reads(outer=frozenset({"header:x-mode"}), values=lambda _: {"header.x-mode": "a"})
    assert (same.doubtful, same.outer_keyed) == ((), ("header.x-mode",))
    several = _reads(outer=frozenset({"header:x-mode"}), values=lambda n: {"header.x-mode": str(n % 3)})
    assert several.doubtful == ("header:x-mode",)


def test_few_requests_ignore_nothing():
    found = _reads(outer=frozenset({"header:user-agent", "client", "headers", "url"}), requests=20)
    assert found.outer_keyed == ("header.user-agent",)
    assert found.unkeyable == ("client", "headers", "url")
