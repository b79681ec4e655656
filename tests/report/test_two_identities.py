"""The generated tests of two identities, run by pytest against real servers: they pass a right cache and fail a wrong one."""

import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from tests.servers import serve_app

from cachewright.report.two_identities import two_identities
from cachewright.spec.document import loads_spec

SPEC = """
caching_specification:
  namespace: letters
  cache_targets:
  - {endpoint: GET /letters, scope: credential, cache_key_pattern: "cred:{cred}:letters", depends_on: [letters]}
  - endpoint: GET /letters/{number}
    scope: credential
    cache_key_pattern: "cred:{cred}:letters:{number}"
    depends_on: [letters]
"""
CONFTEST = """
import pytest

@pytest.fixture
def cached(): return {cached!r}

@pytest.fixture
def uncached(): return {uncached!r}

@pytest.fixture
def identities(): return [{{"authorization": "Bearer {one}"}}, {{"authorization": "Bearer {other}"}}]

@pytest.fixture
def samples(): return {samples!r}
"""
SAMPLES = {"GET /letters/{number}": ["/letters/7"]}


async def letters(request):
    bearer = request.headers.get("authorization")
    if bearer is None:
        return JSONResponse({"detail": "who?"}, 401)
    return JSONResponse({"to": bearer, "number": request.path_params.get("number")})


def application():
    return Starlette(routes=[Route("/letters", letters), Route("/letters/{number}", letters)])


def forgetful():
    """A cache that forgets who asked, around the same application."""
    answers = {}

    async def keep(request):
        path = request.url.path
        if path not in answers:
            answer = await letters(request)
            if answer.status_code != 200:
                return answer
            answers[path] = answer
        return answers[path]

    return Starlette(routes=[Route("/letters", keep), Route("/letters/{number}", keep)])


@pytest.fixture
def run(tmp_path):
    """The generated tests against a cached application: what pytest said."""

    def run(app, *, one="ada", other="bob", samples=SAMPLES):
        (tmp_path / "test_generated.py").write_text(two_identities(loads_spec(SPEC)))
        with serve_app(app) as cached, serve_app(application()) as uncached:
            text = CONFTEST.format(cached=cached, uncached=uncached, one=one, other=other, samples=samples)
            (tmp_path / "conftest.py").write_text(text)
            argv = [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "--rootdir",
                str(tmp_path),
            ]
            done = subprocess.run(
                [*argv, str(tmp_path)], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
            )
        return done.stdout

    return run


def test_an_application_that_tells_them_apart_passes(run):
    assert "2 passed" in run(application())


def test_a_cache_that_forgets_who_asked_fails(run):
    assert "2 failed" in run(forgetful())


def test_identities_that_show_nothing_and_routes_without_a_sample_fail(run):
    said = run(application(), other="ada", samples={})
    assert "2 failed" in said
    assert "both identities are answered alike" in said
    assert "the fixture samples has no URL for GET /letters/{number}" in said
