"""Tests, as text, in which two identities ask every cached route and each must get its own answer."""

from __future__ import annotations

from cachewright.spec.document import Document
from cachewright.spec.target import compile_plan

_HEAD = '''\
"""Two identities and nobody ask every cached route: each is answered as without a cache.

Written by `cachewright export SPEC two-identities` for the namespace {namespace}; write it anew when that changes.
It needs httpx and pytest, and in a conftest.py beside it these fixtures:

- cached, uncached: base URLs of the application with the cache and without (CACHEWRIGHT_MODE=off), on one database that
  nobody writes to meanwhile;
- identities: two mappings of headers (Authorization, Cookie, Host), for two who are answered differently;
- samples: URLs of the routes that have parameters, by route, such as {{"GET /notes/{{id}}": ["/notes/1", "/notes/2"]}};
  of a route without parameters, URLs with a query to ask besides.
"""

import httpx
import pytest

#: Every cached route and who may share its entries.
ROUTES = [
{routes}]
#: In the second round whoever was answered from an entry has met those that the others filled.
ROUNDS = 3
#: Headers that the cache may put on an answer, and the server's clock.
OWN = {{"date", "age", "cache-status", "surrogate-key", "cache-tag", "cdn-cache-control"}}


def urls(route, samples):
    path = route.partition(" ")[2]
    if "{{" not in path:
        return [path, *samples.get(route, ())]
    assert samples.get(route), f"the fixture samples has no URL for {{route}}"
    return samples[route]


def ask(client, url, identity):
    client.cookies.clear()
    answer = client.get(url, headers=identity)
    headers = sorted((name, value) for name, value in answer.headers.multi_items() if name not in OWN)
    return answer.status_code, headers, answer.content


@pytest.mark.parametrize(("route", "scope"), ROUTES, ids=[route for route, _ in ROUTES])
def test_each_is_answered_as_without_a_cache(route, scope, cached, uncached, identities, samples):
    askers = [*identities, {{}}]
    differ = False
    with (
        httpx.Client(base_url=cached, trust_env=False, timeout=30) as with_cache,
        httpx.Client(base_url=uncached, trust_env=False, timeout=30) as without,
    ):
        for url in urls(route, samples):
            expected = [ask(without, url, identity) for identity in askers]
            differ = differ or expected[0] != expected[1]
            for _ in range(ROUNDS):
                for identity, answer in zip(askers, expected, strict=True):
                    assert ask(with_cache, url, identity) == answer, f"{{url}} as {{sorted(identity)}}"
    assert differ or scope == "public", "both identities are answered alike: this shows nothing, take others"
'''


def two_identities(document: Document) -> str:
    """A module for pytest with one test for each target that is an endpoint."""
    targets = compile_plan(document).targets.values()
    routes = "".join(
        f"    ({f'{target.method} {target.template}'!r}, {target.scope.value!r}),\n" for target in targets
    )
    return _HEAD.format(namespace=document.spec.namespace, routes=routes)
