"""What recording costs: one application unrecorded and recorded, request by request in turn.

    python benchmarks/recording.py [--pairs 400] [--connections 4]

Two uvicorn processes run on loopback over copies of one SQLite file. First one client asks them in turn, so that each
pair of requests shares whatever else the machine does meanwhile: the ratio of the medians is what a user waits longer.
Then many connections keep each of them busy, in turn, which shows the writer's thread too. The DB-bound route runs
three statements, one of them over a table of 40,000 rows; the plain one runs one, by primary key.
"""

import argparse
import base64
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Annotated, Any

_DATABASE = "CACHEWRIGHT_BENCHMARK_DATABASE"
_START_SECONDS = 30.0
_ROWS, _USERS = 40_000, 40
_NAMES = ("unrecorded", "recorded")
ROUTES = {"DB-bound": "/users/{user}/summary?limit=20", "plain": "/users/{user}"}


def application() -> Any:
    """A FastAPI application over SQLAlchemy; it fills its database where that is empty."""
    from fastapi import Depends, FastAPI
    from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
    from sqlalchemy import create_engine, func, select
    from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

    class Base(DeclarativeBase):
        pass

    class User(Base):
        __tablename__ = "users"
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str]

    class Task(Base):
        __tablename__ = "tasks"
        id: Mapped[int] = mapped_column(primary_key=True)
        user_id: Mapped[int]
        status: Mapped[str]
        title: Mapped[str]

    engine = create_engine(f"sqlite:///{os.environ[_DATABASE]}", connect_args={"check_same_thread": False})
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        if not session.scalar(select(func.count(User.id))):
            session.add_all(User(id=number, name=f"user {number}") for number in range(1, _USERS + 1))
            session.add_all(
                Task(user_id=1 + number % _USERS, status=f"s{number % 3}", title=f"task {number}")
                for number in range(_ROWS)
            )
            session.commit()
    app = FastAPI()
    bearer = HTTPBearer()

    def opened() -> Iterator[Session]:
        with Session(engine) as session:
            yield session

    def user(
        given: Annotated[HTTPAuthorizationCredentials, Depends(bearer)],
        session: Annotated[Session, Depends(opened)],
    ) -> User | None:
        payload = given.credentials.split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
        return session.get(User, int(subject))

    @app.get("/users/{user_id}/summary")
    def summary(
        user_id: int,
        who: Annotated[User, Depends(user)],
        session: Annotated[Session, Depends(opened)],
        limit: int = 20,
    ) -> dict[str, Any]:
        counted = session.execute(
            select(Task.status, func.count(Task.id)).where(Task.user_id == user_id).group_by(Task.status)
        )
        found = session.execute(select(Task.id, Task.title).where(Task.user_id == user_id).limit(limit))
        return {
            "user": who.name,
            "statuses": {row.status: row[1] for row in counted},
            "tasks": [{"id": number, "title": title} for number, title in found],
        }

    @app.get("/users/{user_id}")
    def one(user_id: int, session: Annotated[Session, Depends(opened)]) -> dict[str, Any]:
        found = session.get(User, user_id)
        return {"name": None if found is None else found.name}

    return app


def serve(port: int, trace: Path | None) -> None:
    """Serve the application in this process, recorded into `trace` where there is one."""
    import uvicorn

    options: dict[str, Any] = {"port": port, "log_level": "error", "access_log": False, "lifespan": "off"}
    app = application()
    if trace is None:
        uvicorn.run(app, **options)
        return
    from cachewright.capture.asgi import Watched
    from cachewright.capture.database import DatabaseWatch
    from cachewright.evidence.recorder import Recorder

    recorder = Recorder(trace, "benchmark:app", {}, time.monotonic_ns)
    watch = DatabaseWatch(recorder, time.monotonic_ns).open()
    try:
        uvicorn.run(Watched(app, recorder, clock=time.monotonic_ns), **options)
    finally:
        watch.close()
        recorder.close()


@contextmanager
def served(name: str, directory: Path) -> Iterator[int]:
    """The application under uvicorn in a process of its own; its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    database = directory / f"{name}.db"
    if (directory / "unrecorded.db").exists():
        shutil.copyfile(directory / "unrecorded.db", database)
    command = [sys.executable, __file__, "--serve", "--port", str(port)]
    if name == "recorded":
        command += ["--trace", str(directory / "benchmark.trace")]
    process = subprocess.Popen(command, env={**os.environ, _DATABASE: str(database)})  # noqa: S603 - this very script
    try:
        _wait_for(port)
        yield port
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(20)


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


def authorization(user: int) -> str:
    """A bearer token of this user; nobody here checks its signature."""
    parts = ({"alg": "HS256"}, {"sub": str(user), "exp": 4102444800})
    texts = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
    return f"Bearer {'.'.join((*texts, 'c2lnbmF0dXJl'))}"


def ask(connection: http.client.HTTPConnection, route: str, user: int) -> float:
    """Milliseconds until the answer was whole."""
    headers = {"Authorization": authorization(user)}
    began = time.perf_counter()
    connection.request("GET", ROUTES[route].format(user=user), headers=headers)
    answer = connection.getresponse()
    body = answer.read()
    took = time.perf_counter() - began
    if answer.status != 200:
        raise RuntimeError(f"{answer.status}: {body!r}")
    return took * 1000


def in_turn(ports: tuple[int, ...], route: str, pairs: int) -> list[float]:
    """The median time (ms) of each of the servers."""
    times: list[list[float]] = [[] for _ in ports]
    with ExitStack() as stack:
        opened = [
            stack.enter_context(closing(http.client.HTTPConnection("127.0.0.1", port))) for port in ports
        ]
        for number in range(pairs + 20):
            order = range(len(ports)) if number % 2 else reversed(range(len(ports)))
            for at in order:
                took = ask(opened[at], route, 1 + number % _USERS)
                if number >= 20:  # the first ones warm up
                    times[at].append(took)
    return [statistics.median(found) for found in times]


def rate(port: int, route: str, connections: int, requests: int) -> float:
    """Answers per second to `connections` clients that each send `requests`."""

    def client(_: int) -> None:
        with closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            for number in range(requests):
                ask(connection, route, 1 + number % _USERS)

    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        list(pool.map(client, range(connections)))
    return connections * requests / (time.perf_counter() - began)


def measure(pairs: int, connections: int) -> None:
    """Print both comparisons for both routes."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        ports = tuple(stack.enter_context(served(each, Path(name))) for each in _NAMES)
        for route in ROUTES:
            plain, recorded = in_turn(ports, route, pairs)
            print(
                f"{route:<9} one client     {plain:8.3f} ms    {recorded:8.3f} ms"
                f"    +{(recorded - plain) * 1000:4.0f} µs   ratio {recorded / plain:.3f}"
            )
            requests = max(10, pairs // (2 * connections))
            rates = [[rate(port, route, connections, requests) for port in ports] for _ in range(5)]
            plain, recorded = (statistics.median(found) for found in zip(*rates, strict=True))
            ratio = statistics.median(one / other for one, other in rates)
            print(
                f"{route:<9} {connections} connections {plain:8.0f} /s    {recorded:8.0f} /s    ratio {ratio:.3f}"
            )


def main() -> None:
    """Run the benchmark, or one of its servers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=400)
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--trace", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.port, given.trace)
    else:
        measure(given.pairs, given.connections)


if __name__ == "__main__":
    main()
