"""An HTTP hit beside a bare ASGI application that sends the same bytes, and beside others' hits: ratios of requests.

    python benchmarks/http_hit.py [--rounds 5] [--seconds 1.0] [--connections 16]

Uvicorn processes run on loopback, one at a time under load, in turn: they share whatever else the machine does
meanwhile. Others are decorators on the same endpoint, in memory; those that are not installed are left out. The
cached application is FastAPI with a bearer token, a scope for each user and 6 KB of JSON; every hit is answered only
because the application accepted that token before. The load comes from plain sockets.
"""

import argparse
import base64
import json
import os
import selectors
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

_ENVIRONMENT = "CACHEWRIGHT_BENCHMARK"
_START_SECONDS = 90.0
SPECIFICATION = {
    "caching_specification": {
        "namespace": "benchmark",
        "identity": {"user": "claim:sub"},
        "cache_targets": [
            {
                "endpoint": "GET /users/{user_id}/notes",
                "scope": "user",
                "cache_key_pattern": "user:{user_id}:notes:{path.user_id}:{page}",
                "depends_on": ["notes(user_id={path.user_id})"],
                "levels": ["l1", "l2"],
            }
        ],
    }
}


def token() -> str:
    """A JSON Web Token of user 7; nobody here checks its signature."""
    parts = ({"alg": "HS256"}, {"sub": "7", "exp": 4102444800})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return ".".join((*texts, "c2lnbmF0dXJl"))


def request() -> bytes:
    """The request that is sent again and again."""
    lines = (
        "GET /users/7/notes?page=2 HTTP/1.1",
        "Host: 127.0.0.1",
        "User-Agent: benchmark",
        "Accept: application/json",
        "Accept-Encoding: gzip, deflate",
        f"Authorization: Bearer {token()}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def application(decorate: Callable[[Any], Any] = lambda endpoint: endpoint) -> Any:
    """The application without our cache, its endpoint decorated."""
    from fastapi import Depends, FastAPI
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
    from sqlalchemy import create_engine, select
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

    class Base(DeclarativeBase):
        pass

    class Note(Base):
        __tablename__ = "notes"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int]
        text: Mapped[str]

    engine = create_engine(f"sqlite:///{os.environ[_ENVIRONMENT]}/notes.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Note(user_id=7, text=f"note {number} " + "x" * 40) for number in range(80))
        session.commit()
    app = FastAPI()
    bearer = HTTPBearer()

    def user(given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)]) -> str:
        payload = given.credentials.split(".")[1]
        return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"])

    @app.get("/users/{user_id}/notes")
    @decorate
    def notes(user_id: int, who: Annotated[str, Depends(user)], page: int = 1) -> dict[str, Any]:
        with Session(engine) as session:
            found = session.execute(select(Note.id, Note.text).where(Note.user_id == user_id))
            return {"user": who, "page": page, "notes": [{"id": i, "text": text} for i, text in found]}

    return app


def cached() -> Any:
    """The application with its cache, in memory."""
    from cachewright.integrations.install import Installed
    from cachewright.integrations.surroundings import Surroundings
    from cachewright.spec.document import loads_spec

    return Installed(application(), loads_spec(json.dumps(SPECIFICATION)), Surroundings(workers=1))


def with_fastapi_cache() -> Any:
    """The same under fastapi-cache2, in memory."""
    from fastapi_cache import FastAPICache
    from fastapi_cache.backends.inmemory import InMemoryBackend
    from fastapi_cache.decorator import cache

    FastAPICache.init(InMemoryBackend())
    return application(cache(expire=300))


def with_cashews() -> Any:
    """The same under cashews, in memory; it decorates coroutine functions only."""
    import functools

    from cashews import Cache

    cache = Cache()
    cache.setup("mem://")

    def decorate(endpoint: Any) -> Any:
        @functools.wraps(endpoint)
        async def notes(*args: Any, **kwargs: Any) -> Any:
            return endpoint(*args, **kwargs)

        return cache(ttl=300, key="notes:{user_id}:{who}:{page}")(notes)

    return application(decorate)


def bare() -> Any:
    """An application that sends the response that the other one gave."""
    status, headers, body = json.loads(Path(os.environ[_ENVIRONMENT], "answer.json").read_text())
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    data = body.encode("latin-1")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope, receive
        await send({"type": "http.response.start", "status": status, "headers": pairs})
        await send({"type": "http.response.body", "body": data})

    return app


@contextmanager
def served(name: str, directory: Path, script: str = __file__) -> Iterator[int]:
    """The application that `script` calls `name`, under uvicorn in a process of its own; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, _ENVIRONMENT: str(directory), "XDG_STATE_HOME": str(directory)}
    command = [sys.executable, script, "--serve", name, "--port", str(port)]
    process = subprocess.Popen(command, env=environment)  # noqa: S603 - a script of this directory
    try:
        _wait_for(port)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def _wait_for(port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def ask(port: int) -> bytes:
    """One whole response."""
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        connection.sendall(request())
        data = b""
        while not _is_whole(data):
            data += connection.recv(65536)
    return data


def _is_whole(data: bytes) -> bool:
    head, found, body = data.partition(b"\r\n\r\n")
    length = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(found) and len(body) >= int(length[0].partition(b":")[2])


def rate(port: int, seconds: float, connections: int) -> float:
    """Responses per second. Every one has the length of the first: they differ in the clock's seconds only."""
    length, data, done = len(ask(port)), request(), 0
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), 5))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(data)
            selector.register(connection, selectors.EVENT_READ, [0])
        began = time.perf_counter()
        while time.perf_counter() - began < seconds:
            for key, _ in selector.select(1.0):
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                key.data[0] += len(connection.recv(65536))
                if key.data[0] >= length:
                    assert key.data[0] == length, "a response of another length"
                    key.data[0] = 0
                    done += 1
                    connection.sendall(data)
        return done / (time.perf_counter() - began)


def measure(rounds: int, seconds: float, connections: int) -> None:
    """Print the rates of all, turn by turn, and the medians of their ratios."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        directory = Path(name)
        ports = {"hit": stack.enter_context(served("cached", directory))}
        head, _, body = [ask(ports["hit"]) for _ in range(3)][-1].partition(b"\r\n\r\n")
        lines = [line.decode("latin-1").split(": ", 1) for line in head.split(b"\r\n")]
        headers = [pair for pair in lines[1:] if pair[0] not in ("date", "server")]
        answer = [int(lines[0][0].split()[1]), headers, body.decode("latin-1")]
        (directory / "answer.json").write_text(json.dumps(answer))
        ports["bare"] = stack.enter_context(served("bare", directory))
        for other, module in (("fastapi-cache2", "fastapi_cache"), ("cashews", "cashews")):
            if find_spec(module) is not None:
                (directory / other).mkdir()
                ports[other] = stack.enter_context(served(other, directory / other))
        print(f"a response of {len(body)} bytes, {connections} connections")
        turns = []
        for number in range(rounds + 1):
            turn = {which: rate(port, seconds, connections) for which, port in ports.items()}
            if number:  # the first turn warms up
                turns.append(turn)
                print("   ".join(f"{which} {per_second:.0f}/s" for which, per_second in turn.items()))
        for which, bar in (("bare", 0.7), ("fastapi-cache2", 8), ("cashews", 5)):
            if which in ports:
                ratio = statistics.median(turn["hit"] / turn[which] for turn in turns)
                print(f"median ratio hit / {which} {ratio:.3f} ≥ {bar}")


_SERVERS: dict[str, Callable[[], Any]] = {
    "cached": cached,
    "bare": bare,
    "fastapi-cache2": with_fastapi_cache,
    "cashews": with_cashews,
}


def main() -> None:
    """Run the benchmark, or one of its servers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--serve", choices=tuple(_SERVERS), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is None:
        measure(given.rounds, given.seconds, given.connections)
        return
    import uvicorn

    uvicorn.run(_SERVERS[given.serve](), port=given.port, log_level="error", access_log=False, lifespan="off")


if __name__ == "__main__":
    main()
