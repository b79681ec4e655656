"""Five backends of different shapes, each GET of them cached that can be: no answer differs, none is another's."""

import threading
from concurrent.futures import ThreadPoolExecutor
from random import Random

import httpx
import pytest
from tests.apps import async_sqlmodel, header_lang, path_user, roles, traps
from tests.integrations.backends import BACKENDS, document
from tests.servers import serve_app

from cachewright.integrations.install import Installed, Surroundings
from cachewright.verify.run import build_twin


def served(backend, tmp_path):
    url = f"sqlite:///{tmp_path / 'app.db'}"
    backend.module.seed(url)
    return backend.module.build(url)


def interleaved(base: str, backend, *, turns: int = 40, threads: int = 4) -> None:
    """Several clients at once, each with all identities in turn: four reads for each write."""

    def work(number: int) -> None:
        rng = Random(number)
        with httpx.Client(base_url=base, timeout=30) as client:
            for _ in range(turns):
                client.cookies.clear()
                headers = rng.choice(backend.identities(client))
                client.cookies.clear()
                for _ in range(4):
                    answer = client.get(rng.choice(backend.reads), headers=headers)
                    assert answer.status_code < 500, answer.text
                method, url, body = rng.choice(backend.writes)
                answer = client.request(method, url, headers=headers, json=body)
                assert answer.status_code < 500, answer.text

    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, number) for number in range(threads)]:
            done.result()


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_no_answer_differs_from_that_of_the_application(backend, tmp_path, valkey_url):
    twin = build_twin(
        served(backend, tmp_path), document(backend), Surroundings(redis_url=valkey_url, secret=b"s")
    )
    with serve_app(twin) as base:
        with httpx.Client(base_url=base, timeout=30) as client:
            backend.module.exercise(client)
        alone = twin.tally.hits
        interleaved(base, backend)

    assert twin.tally.differences == 0, twin.tally.details
    assert twin.tally.undecided == 0, twin.tally.details
    assert alone > 0
    assert twin.tally.hits > alone
