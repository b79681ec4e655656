"""Recording an application in this process, or in several that write beside each other."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cachewright.cli.serving import Listening
from cachewright.errors import ApplicationError
from cachewright.evidence.recording import Recording


@dataclass(frozen=True, slots=True)
class Job:
    """What to record, and where. `worker` is 0 in the only process, else the number of the process from 1."""

    app: str
    factory: bool
    out: Path
    identity: Mapping[str, str]
    volatile: tuple[str, ...]
    sample: float
    rotate: int | None
    recording: Recording
    overwrite: bool = False
    worker: int = 0

    def orders(self, worker: int) -> str:
        """The orders of a worker; they hold the hashing key and belong into a pipe only."""
        return json.dumps(
            {
                "record": self.app,
                "factory": self.factory,
                "out": str(self.out),
                "identity": dict(self.identity),
                "volatile": self.volatile,
                "sample": self.sample,
                "rotate": self.rotate,
                "recording": self.recording.to_json(),
                "worker": worker,
            }
        )

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Job:
        """The inverse of `orders`."""
        return cls(
            app=told["record"],
            factory=told["factory"],
            out=Path(told["out"]),
            identity=told["identity"],
            volatile=tuple(told["volatile"]),
            sample=told["sample"],
            rotate=told["rotate"],
            recording=Recording.from_json(told["recording"]),
            worker=told["worker"],
        )


def record_here(
    job: Job, bound: Listening, options: Mapping[str, Any], *, on_ready: Callable[[], None] | None = None
) -> None:
    """Record in this process until SIGINT or SIGTERM. Raises `EvidenceError` and `ApplicationError`."""
    from cachewright.capture.appimport import import_app
    from cachewright.capture.asgi import Watched
    from cachewright.capture.database import DatabaseWatch
    from cachewright.cli.serving import serve_here
    from cachewright.evidence.recorder import Recorder

    application = import_app(job.app, factory=job.factory)
    recorder = Recorder(
        job.out,
        job.app,
        job.identity,
        time.monotonic_ns,
        job.recording,
        worker=job.worker,
        volatile=job.volatile,
        sample=job.sample,
        rotate=job.rotate,
        overwrite=job.overwrite,
    )
    watched = Watched(application, recorder, clock=time.monotonic_ns)
    watch = DatabaseWatch(recorder, time.monotonic_ns).open()
    try:
        serve_here(watched, bound, options, on_ready=on_ready)
    finally:
        watch.close()
        watched.close()
        recorder.add_routes(watched.routes)
        recorder.close()


def record_with(workers: int, job: Job, bound: Listening, options: Mapping[str, Any]) -> None:
    """Record in several processes until SIGINT or SIGTERM; then their files become one, unless they rotate.

    Raises `EvidenceError` and `ApplicationError`. A worker that is killed leaves its file, and so does a
    recording that is killed: whoever reads the trace reads the files beside it too.
    """
    from cachewright.cli.workers import serve_workers
    from cachewright.evidence.outputs import claim
    from cachewright.evidence.parts import all_parts, remove
    from cachewright.evidence.tracemerge import gather_parts

    claim(
        job.out,
        job.app,
        job.identity,
        job.recording,
        clock=time.monotonic_ns,
        sample=job.sample,
        overwrite=job.overwrite,
    )
    try:
        serve_workers(workers, bound, {}, options, job.orders)
    except ApplicationError:  # nothing was ever served
        for part in reversed(all_parts(job.out)):
            remove(part.path)
        raise
    if job.rotate is None:
        gather_parts(job.out)


def summary(trace: Path) -> list[str]:
    """What a finished recording holds, and what to do with it."""
    from cachewright.evidence.parts import all_parts
    from cachewright.spec.words import count

    files = [part.path for part in all_parts(trace)]
    counted = [_counts(file) for file in files]
    requests, statements, dropped, left_out = (sum(numbers) for numbers in zip(*counted, strict=True))
    routes = {place for file in files for place in _rows(file, _PLACES)}
    held = count(requests, "request"), count(len(routes), "route"), count(statements, "statement")
    size = sum(file.stat().st_size for file in files) / 1024
    beside = f" in {count(len(files), 'file')}" if len(files) > 1 else ""
    lines = [f"{trace}: {', '.join(held)}, {size:,.0f} KiB{beside}"]
    if left_out:
        lines.append(f"{count(left_out, 'request')} of other keys were left out of the sample")
    if dropped:
        lines.append(f"warning: {count(dropped, 'event')} could not be kept up with and are not in the trace")
    if requests:
        lines.append(f"next: cachewright design {trace} -o caching.yaml")
    else:
        lines.append("warning: nothing was recorded; send requests to it while it runs")
    return lines


_PLACES = "SELECT DISTINCT route.method, template FROM request JOIN route ON route.id = request.route"
_COUNTS = (
    "SELECT (SELECT count(*) FROM request), (SELECT count(*) FROM statement),"
    " (SELECT CAST(value AS integer) FROM meta WHERE name = 'dropped'),"
    " (SELECT CAST(value AS integer) FROM meta WHERE name = 'left_out')"
)


def _counts(file: Path) -> tuple[int, ...]:
    (found,) = _rows(file, _COUNTS)
    return found


def _rows(file: Path, query: str) -> Iterator[tuple[Any, ...]]:
    with closing(sqlite3.connect(file)) as rows:
        yield from rows.execute(query)
