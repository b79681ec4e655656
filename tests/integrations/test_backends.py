"""Five backends of different shapes, each GET of them cached that can be: no answer differs, none is another's."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from random import Random

import httpx
import pytest
from tests.integrations.backends import BACKENDS, document
from tests.servers import serve_app

from cachewright.integrations.edge import UNCACHED
from cachewright.integrations.install import Installed
from cachewright.integrations.surroundings import Surroundings
from cachewright.verify.run import build_twin


def served(backend, tmp_path):
    url = f"sqlite:///{tmp_path / 'app.db'}"
    backend.module.seed(url)
    return backend.module.build(url)


def without_cache(app):
    """The same installed application, its cache left out."""

    async def plain(scope, receive, send):
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        await app({**scope, UNCACHED: True}, receive, send)

    return plain


class EnoughError(Exception):
    """So many requests were made."""


class Visitor(httpx.Client):
    """A client that stops after some requests."""

    left = 80

    def request(self, *arguments, **named):
        self.left -= 1
        if self.left < 0:
            raise EnoughError
        return super().request(*arguments, **named)


def exercised(base, backend) -> None:
    """The beginning of the backend's own exercise, which raises where a status is not the expected one."""
    with Visitor(base_url=base, timeout=30) as client, contextlib.suppress(EnoughError):
        backend.module.exercise(client)


def interleaved(base: str, backend, *, turns: int = 4, threads: int = 3) -> None:
    """Several clients at once, each with all identities in turn: four reads for each write."""

    def work(number: int) -> None:
        rng = Random(number)
        with httpx.Client(base_url=base, timeout=30) as client:
            for _ in range(turns):
                headers = rng.choice(backend.identities)
                for _ in range(4):
                    answer = client.get(rng.choice(backend.reads), headers=headers)
                    assert answer.status_code < 500, answer.text
                    client.cookies.clear()
                method, url, body = rng.choice(backend.writes)
                client.request(method, url, headers=headers, json=body)
                client.cookies.clear()

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, number) for number in range(threads)]:
            done.result()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.requirement("#5", "#354")
def test_no_answer_differs_from_that_of_the_application(backend, tmp_path, valkey_url):
    twin = build_twin(
        served(backend, tmp_path), document(backend), Surroundings(redis_url=valkey_url, secret=b"s")
    )
    with serve_app(twin) as base:
        exercised(base, backend)
        alone = twin.tally.hits
        interleaved(base, backend)

    assert twin.tally.differences == 0, twin.tally.details
    assert {detail["route"] for detail in twin.tally.details} <= backend.unsteady
    assert 0 < alone < twin.tally.hits


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
@pytest.mark.requirement("#160")
def test_no_answer_of_one_identity_reaches_another(backend, tmp_path, valkey_url):
    """Every read by every identity in turn, cached and warm, then compared with what the application says to each."""
    installed = Installed(
        served(backend, tmp_path), document(backend), Surroundings(redis_url=valkey_url, secret=b"s")
    )
    plain = without_cache(installed)
    with serve_app(installed) as cached, serve_app(plain) as uncached:
        reads = [url for url in backend.reads if not any(url.endswith(end) for end in backend.moving)][:7]
        with (
            httpx.Client(base_url=cached, timeout=30) as one,
            httpx.Client(base_url=uncached, timeout=30) as other,
        ):
            for _ in range(2):
                for url in reads:
                    for headers in backend.identities:
                        got = one.get(url, headers=headers)
                        one.cookies.clear()
                        assert got.status_code < 500
            for url in reads:
                for headers in backend.identities:
                    got, want = one.get(url, headers=headers), other.get(url, headers=headers)
                    one.cookies.clear()
                    other.cookies.clear()
                    assert (got.status_code, got.content) == (want.status_code, want.content), (url, headers)
    targets = installed.figures()["targets"].values()
    assert sum(sum(target["hits"].values()) for target in targets) > len(reads)
